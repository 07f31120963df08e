"""metadata.managedFields of ordinary writes: who set what, for server-side apply to find."""

from __future__ import annotations

from podwright.api import apply as server_side_apply
from podwright.api import objects
from podwright.api.apply.field_sets import FieldSet
from podwright.api.objects import Object
from podwright.api.resources import Resource
from podwright.apiserver.exchange import Request
from podwright.apiserver.registry.options import WriteOptions
from podwright.apiserver.registry.registry import Registry


def reset(row: Resource, subresource: str) -> FieldSet | None:
    """Fields that a write to a custom resource does not own, because it cannot change them: the status of the main
    resource, if it has that subresource. None: as for built-in kinds."""
    return {"f:status": {}} if row.custom and not subresource and row.subresource("status") is not None else None


def track(
    registry: Registry, request: Request, row: Resource, old: Object | None, new: Object, options: WriteOptions,
    subresource: str, *, apply: bool,
) -> None:
    """Brings metadata.managedFields of `new` up to date. Server-side apply has brought its own.

    To be called before admission and before the server allocates anything: nobody owns what these fill in, as with
    upstream. Else an apply that does not repeat a ServiceAccount's volume or a cluster IP would take it away."""
    if apply:
        return
    _, stored = registry.storage(row)
    metadata = new["metadata"]
    entries = server_side_apply.track_update(
        registry.schema(stored),
        old,
        new,
        manager=options.manager,
        api_version=stored.api_version,
        operation="Update",
        subresource=subresource,
        now=objects.format_time(registry.now()),
        reset=reset(stored, subresource),
    )
    if entries:
        metadata["managedFields"] = entries
    else:
        metadata.pop("managedFields", None)
