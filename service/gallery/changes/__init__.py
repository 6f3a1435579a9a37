"""Changes of the database, each a function of a transaction: it either happens whole or leaves no trace."""
