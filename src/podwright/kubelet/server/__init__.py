"""The kubelet's HTTPS server: logs, exec, attach, port-forward, and what the node tells of itself."""
