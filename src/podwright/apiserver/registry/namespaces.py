"""Namespaces: they go in two steps, when their finalizers (spec) and metadata.finalizers are both done."""

from __future__ import annotations

from podwright.api.objects import Object
from podwright.api.resources import NAMESPACES, Resource
from podwright.apiserver.exchange import One, Request
from podwright.apiserver.registry.bodies import body_object, checked
from podwright.apiserver.registry.options import write_options
from podwright.apiserver.registry.registry import Registry
from podwright.apiserver.registry.strategies import Strategy, Undo
from podwright.apiserver.registry.updating import Update, apply_update, expect_name

FINALIZER = "kubernetes"
NAME_LABEL = "kubernetes.io/metadata.name"


class NamespaceStrategy(Strategy):
    async def begin_create(self, registry: Registry, obj: Object, dry_run: bool) -> list[Undo]:
        spec = obj.setdefault("spec", {})
        finalizers = spec.get("finalizers") or []
        if FINALIZER not in finalizers:
            spec["finalizers"] = [*finalizers, FINALIZER]
        obj["status"] = {"phase": "Active"}
        _label(obj["metadata"])
        return []

    async def begin_update(self, registry: Registry, obj: Object, old: Object, dry_run: bool) -> list[Undo]:
        spec = (old.get("spec") or {}).get("finalizers")
        obj["spec"] = {**(obj.get("spec") or {}), "finalizers": spec} if spec else {}
        _label(obj["metadata"])
        return []

    def begin_delete(self, obj: Object, now: str) -> bool:
        if not obj["metadata"].get("deletionTimestamp"):
            obj["metadata"]["deletionTimestamp"] = now
        if not self.may_go(obj):
            obj.setdefault("status", {})["phase"] = "Terminating"
            return True
        return False

    def may_go(self, obj: Object) -> bool:
        return not (obj.get("spec") or {}).get("finalizers")


def _label(metadata: Object) -> None:
    if metadata.get("name"):
        metadata["labels"] = {**(metadata.get("labels") or {}), NAME_LABEL: metadata["name"]}


async def finalize(registry: Registry, request: Request, row: Resource) -> One:
    """PUT to namespaces/NAME/finalize: only spec.finalizers changes; the last one gone, the namespace goes."""
    name = request.info.name
    options = write_options(request, "UpdateOptions")
    wanted = await body_object(request, row)
    wanted = checked(registry.schema(row), request, row.kind, row.version, wanted, options)
    expect_name(wanted, row, "", name)
    finalizers = (wanted.get("spec") or {}).get("finalizers") or []

    def change(live: Object) -> Object:
        live["spec"] = {**(live.get("spec") or {}), "finalizers": list(finalizers)} if finalizers else {}
        version = wanted["metadata"].get("resourceVersion")
        if version:
            live["metadata"]["resourceVersion"] = version
        else:
            live["metadata"].pop("resourceVersion", None)
        return live

    update = Update(request, NAMESPACES, "", name, "finalize", options, change, validates=False, prepares=False)
    result = await apply_update(registry, update)
    return One.of(row, result)
