"""The embedded container runtime: conmon, crun or runc, overlayfs."""

from podwright.runtime.oci.runtime import OciRuntime

__all__ = ["OciRuntime"]
