"""What is shipped beside a network so that its rates hold for every kind of face: normalisation, recognisability."""
