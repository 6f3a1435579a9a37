"""Many photographs at once: people enrolled from folders and lists, pairs verified, interrupted and gone on with."""
