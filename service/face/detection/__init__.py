"""Faces found in a photograph: the network, its views, and the search from coarse to fine."""
