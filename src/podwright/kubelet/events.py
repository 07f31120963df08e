"""The fieldPath by which an event about a container says which one it is about."""

from __future__ import annotations

from podwright.api.objects import Object


def container_field_path(pod: Object, name: str) -> str:
    """For example "spec.containers{web}"; "" for a container that the Pod does not have."""
    for kind in ("containers", "initContainers", "ephemeralContainers"):
        if any(c["name"] == name for c in pod["spec"].get(kind) or ()):
            return f"spec.{kind}{{{name}}}"
    return ""
