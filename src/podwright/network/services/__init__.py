"""Services on a node: which rules send a Service's address to its endpoints, and the task that keeps them in the
kernel's nftables."""
