"""The steps by which the schema came about, run at every start."""
