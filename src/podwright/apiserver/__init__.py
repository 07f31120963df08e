"""The API server: HTTP → authentication → authorization → admission → validation → store, and back by watch."""
