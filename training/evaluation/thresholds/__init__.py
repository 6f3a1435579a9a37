"""Which score gives which false match rate: counted, extrapolated, and between two models."""
