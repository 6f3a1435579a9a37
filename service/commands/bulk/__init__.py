"""Many photographs at once: people enrolled, pairs verified."""
