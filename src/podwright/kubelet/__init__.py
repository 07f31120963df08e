"""The kubelet: runs the Pods bound to its node through the container runtime, and tells how they are."""
