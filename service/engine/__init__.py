"""Photographs in, decisions out, free of web and storage details."""
