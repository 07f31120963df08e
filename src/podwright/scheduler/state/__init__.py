"""What the scheduler knows of the cluster: columns of numbers with one row a node, and the Pods on it."""
