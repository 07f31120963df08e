"""What the runtime is told about a sandbox and about each container, made from the Pod's spec."""
