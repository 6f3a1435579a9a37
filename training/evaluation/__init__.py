"""Protocols, rates, thresholds and reports."""
