"""Ablations: a recipe as it is, and with one lever changed at a time, under one short budget."""
