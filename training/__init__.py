"""Offline: distil, evaluate, calibrate, export and publish the models that the service runs."""
