"""The offline half: distils, evaluates, calibrates, exports and publishes the models that `service` runs."""
