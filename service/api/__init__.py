"""HTTP: routes, schemas, problems, keys and limits. It decides nothing about faces."""
