"""Marks ValidatingAdmissionPolicies as seen. Their expressions are compiled, and so checked, by the API server when
they are written; no further warnings are found here."""

from __future__ import annotations

from podwright.api import objects
from podwright.api.objects import Object
from podwright.api.resources import BUILTIN
from podwright.controllers.frame import Context, Controller

_POLICIES = BUILTIN.by_path("admissionregistration.k8s.io", "v1", "validatingadmissionpolicies")


class AdmissionPolicyStatusController(Controller):
    name = "validatingadmissionpolicy-status-controller"
    account = "validatingadmissionpolicy-status-controller"
    workers = 1

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        assert _POLICIES is not None
        self._resource = _POLICIES
        self.policies = self.informer(_POLICIES, self._changed)

    def _changed(self, old: Object | None, new: Object | None) -> None:
        if new is not None and not _is_seen(new):
            self.enqueue(old, new)

    async def reconcile(self, key: str) -> None:
        policy = self.policies.get(key)
        if policy is None or _is_seen(policy):
            return
        status = {**(policy.get("status") or {}), "observedGeneration": policy["metadata"].get("generation", 0)}
        status.setdefault("typeChecking", {})
        await self.client.update_status(self._resource, {**policy, "status": status})


def _is_seen(policy: Object) -> bool:
    seen = (policy.get("status") or {}).get("observedGeneration", 0)
    return bool(seen >= policy["metadata"].get("generation", 0)) or objects.is_deleting(policy)
