"""Which model answers: models compared, live decisions compared, templates made again."""
