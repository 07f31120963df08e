"""Dynamic resource allocation: who may have devices that others use (KEP-5018), and since when a device is tainted
(KEP-5055)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from podwright.api import objects
from podwright.api.objects import Object, labels, namespace
from podwright.api.resources import NAMESPACES
from podwright.api.status import FieldError
from podwright.api.validation.field_errors import forbidden, internal
from podwright.apiserver.registry.registry import Registry
from podwright.apiserver.registry.strategies import Strategy, Undo

ADMIN_LABEL = "resource.kubernetes.io/admin-access"


def _devices(holder: Object | None) -> Object:
    return (holder or {}).get("devices") or {}


def _results(claim: Object) -> Sequence[Object]:
    return _devices((claim.get("status") or {}).get("allocation")).get("results") or ()


def _first(choices: Iterable[Object | None]) -> int | None:
    """Which of them asks for administrative access first."""
    return next((i for i, choice in enumerate(choices) if choice and choice.get("adminAccess")), None)


class Claims(Strategy):
    """ResourceClaims. Their specs do not change, nor do allocations, so only what is new is asked for."""

    def errors(self, registry: Registry, obj: Object, old: Object | None, subresource: str) -> Sequence[FieldError]:
        path, choices = "", list[Object | None]()
        if old is None:
            path = "spec.devices.requests"
            choices = [request.get("exactly") for request in _devices(self._spec(obj)).get("requests") or ()]
        elif subresource == "status" and _first(_results(old)) is None:
            path, choices = "status.allocation.devices.results", list(_results(obj))
        at = _first(choices)
        return () if at is None else _refusal(registry, obj, f"{path}[{at}].adminAccess")

    def _spec(self, obj: Object) -> Object | None:
        return obj.get("spec")


class ClaimTemplates(Claims):
    def _spec(self, obj: Object) -> Object | None:
        return (obj.get("spec") or {}).get("spec")


def _refusal(registry: Registry, obj: Object, field: str) -> Sequence[FieldError]:
    found = registry.cache(NAMESPACES).get(namespace(obj))
    if found is None:
        said = f'could not retrieve namespace to verify admin access: namespaces "{namespace(obj)}" not found'
        return (internal(field, said),)
    if labels(found.object).get(ADMIN_LABEL) == "true":
        return ()
    said = f"admin access to devices requires the `{ADMIN_LABEL}: true` label on the containing namespace"
    return (forbidden(field, said),)


class _Tainting(Strategy):
    """Taints that do not say since when hold since they are written."""

    def _taints(self, obj: Object) -> Iterable[Object]:
        raise NotImplementedError

    async def begin_create(self, registry: Registry, obj: Object, dry_run: bool) -> list[Undo]:
        for taint in self._taints(obj):
            if not taint.get("timeAdded"):
                taint["timeAdded"] = objects.format_time(registry.now())
        return []

    async def begin_update(self, registry: Registry, obj: Object, old: Object, dry_run: bool) -> list[Undo]:
        return await self.begin_create(registry, obj, dry_run)


class Slices(_Tainting):
    def _taints(self, obj: Object) -> Iterable[Object]:
        for device in (obj.get("spec") or {}).get("devices") or ():
            yield from device.get("taints") or ()


class TaintRules(_Tainting):
    unconditional_update = False

    def _taints(self, obj: Object) -> Iterable[Object]:
        taint = (obj.get("spec") or {}).get("taint")
        return (taint,) if taint else ()

    async def begin_update(self, registry: Registry, obj: Object, old: Object, dry_run: bool) -> list[Undo]:
        """Another effect is a new taint, from which tolerations count: its time is that of the change."""
        for new, before in zip(self._taints(obj), self._taints(old), strict=False):
            if new.get("effect") != before.get("effect") and new.get("timeAdded") == before.get("timeAdded"):
                new.pop("timeAdded", None)
        return await super().begin_update(registry, obj, old, dry_run)
