"""Crops to templates: what the network is fed, what it gives, and how its scores are read."""
