"""Ending Pods before the node runs out of memory, disk or process ids (documentation page "Node-pressure Eviction")."""
