"""The most expensive things that a client can send, and whether others are served meanwhile."""
