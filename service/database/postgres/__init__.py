"""A database server: PostgreSQL, shared by any number of processes."""
