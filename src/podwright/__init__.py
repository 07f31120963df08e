"""Podwright: a complete Kubernetes Pod system in Python."""

__version__ = "0.1.0"

KUBERNETES_VERSION = "v1.37.0"
"""The Kubernetes release whose API Podwright serves."""
