"""NetworkPolicies on a node: which Pods are isolated, what may reach them and what they may reach, and the task that
keeps this in the kernel's nftables."""
