"""Detector networks and their first weights."""
