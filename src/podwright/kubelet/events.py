"""Events about Pods and containers: which container one is about, and when it is sent."""

from __future__ import annotations

import asyncio

from podwright.api.objects import Object
from podwright.client.events import EventRecorder

_PATIENCE = 0.1


class PatientRecorder(EventRecorder):
    """Hands events over a tenth of a second late, in order: what the kubelet is doing for a Pod at this moment is more
    urgent than telling of it. (With the API server in the same process, writing an event takes the time of a
    namespace.)"""

    def event(self, about: Object, kind: str, reason: str, message: str, *, field_path: str = "") -> None:
        def later() -> None:
            super(PatientRecorder, self).event(about, kind, reason, message, field_path=field_path)

        asyncio.get_running_loop().call_later(_PATIENCE, later)


def container_field_path(pod: Object, name: str) -> str:
    """For example "spec.containers{web}"; "" for a container that the Pod does not have."""
    for kind in ("containers", "initContainers", "ephemeralContainers"):
        if any(c["name"] == name for c in pod["spec"].get(kind) or ()):
            return f"spec.{kind}{{{name}}}"
    return ""
