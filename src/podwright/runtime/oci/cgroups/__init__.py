"""Control groups of both versions behind one small interface. Paths are below each controller's root, as the
cgroupfs driver has them: "/podwright/NAME/NODE/…"."""

from podwright.runtime.oci.cgroups.interface import Cgroups, detect

__all__ = ["Cgroups", "detect"]
