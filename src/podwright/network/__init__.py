"""Networking between Pods: routes, Services, DNS and network policy of one node."""
