"""The cluster's DNS, served on every node: names of Services and Pods by Kubernetes' DNS specification 1.1, everything
else from the host's resolvers."""
