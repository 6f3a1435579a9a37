"""What every route shares: bodies, keys, limits, problem details, the OpenAPI document."""
