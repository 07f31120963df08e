"""The container runtime: CRI's own vocabulary as a Python protocol (:mod:`podwright.runtime.protocol`) and its
backends. The kubelet is its only user."""
