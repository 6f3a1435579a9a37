"""The methods of the papers, each beside its control, under one budget: what is run, measured, compared and written."""
