"""The steps by which the schema came about: Alembic runs what a database lacks at every start."""
