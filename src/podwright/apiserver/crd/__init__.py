"""CustomResourceDefinitions: their rows, schemas and rules, installed the moment a definition is established."""
