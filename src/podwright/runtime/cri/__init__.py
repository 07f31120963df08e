"""Containers by somebody else's runtime: containerd, CRI-O, or whatever else serves the Container Runtime Interface v1
on a Unix socket."""

SCHEME = "cri://"
"""Begins a runtime's name that is the path of a socket."""
