"""An embedded database: one SQLite file, one process, one thread that writes."""
