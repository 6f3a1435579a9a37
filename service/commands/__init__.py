"""The subcommands of `facet`, one module each."""
