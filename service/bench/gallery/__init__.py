"""Measurements of the gallery: speed and recall by engine, and what a crash loses."""

import service.index.embedded  # noqa: F401 - before faiss is loaded: it says with how many threads faiss works
