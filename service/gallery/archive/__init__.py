"""A gallery as a file: written, read back, inspected."""
