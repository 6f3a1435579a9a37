"""How fast the service is on this machine, against what its own parts allow; run by `facet bench`."""
