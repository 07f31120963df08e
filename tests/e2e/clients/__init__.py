"""Clients of others, unmodified, at real work on one live cluster."""
