"""Pixels to decision. Knows no web and no database.

image -> detect -> align -> quality -> preprocess -> embed -> score, with `manifest` and `registry` saying
which model does what. A stage knows nothing of the one after it.
"""
