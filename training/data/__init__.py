"""Prepared sets of crops, and how a run samples and augments them."""
