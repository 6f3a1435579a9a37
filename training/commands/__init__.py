"""The commands of `facet-train`: options in, one call, results printed."""
