"""OpenAPI v2 and v3 from the schema definitions and the resource table, made when asked for and kept as bytes."""
