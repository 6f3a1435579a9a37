"""`facet import compreface`: the people of a CompreFace service, from its API or from a dump of its database."""
