"""Plugins of the node: programs that register themselves by a socket and are called over another (KEP-595)."""
