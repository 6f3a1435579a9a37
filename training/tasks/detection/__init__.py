"""The detector student: scenes and composites, a dense teacher, its own network, and how it is measured."""
