"""What the node and its Pods use, and the pages that tell of it."""
