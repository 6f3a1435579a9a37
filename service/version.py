"""The version of this service, as in pyproject.toml."""

VERSION = "0.1.0"
