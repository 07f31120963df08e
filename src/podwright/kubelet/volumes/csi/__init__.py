"""Volumes that a driver of the Container Storage Interface serves over its socket on this node."""
