"""Device plugins, v1beta1 (Kubernetes documentation, "Device Plugins"): devices that a program of the node's offers to
containers by an extended resource's name."""
