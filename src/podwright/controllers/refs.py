"""Children and their controller: which objects belong to an owner, adopting orphans that match its selector and
releasing children that no longer do, as the Kubernetes page "Garbage Collection: owners and dependents" has it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from podwright.api import objects
from podwright.api.objects import Object
from podwright.api.resources import Resource
from podwright.api.status import ApiError, not_found
from podwright.client.client import Client
from podwright.client.informers import Informer
from podwright.controllers.selection import Predicate

CHILDREN = "controller"
"""Name of the index by :func:`by_controller_or_orphan`."""


def orphans_of(namespace: str) -> str:
    return f"/{namespace}"


def by_controller_or_orphan(obj: Object) -> Iterable[str]:
    """Index function: the controlling owner's uid, or for an orphan ``/namespace``."""
    for ref in (obj.get("metadata") or {}).get("ownerReferences") or ():
        if ref.get("controller"):
            return (ref["uid"],)
    return (orphans_of(objects.namespace(obj)),)


def by_namespace(obj: Object) -> Iterable[str]:
    return (objects.namespace(obj),)


def by_node(pod: Object) -> Iterable[str]:
    node = (pod.get("spec") or {}).get("nodeName")
    return (node,) if node else ()


def owned(informer: Informer, owner: Object) -> Sequence[Object]:
    return informer.by_index(CHILDREN, objects.uid(owner))


def controller_key(obj: Object, kind: str, api_group: str) -> tuple[str, str] | None:
    """The (key, uid) of the controlling owner if it is of that kind."""
    ref = objects.controller_of(obj)
    if ref is None or ref.get("kind") != kind or ref.get("apiVersion", "").rpartition("/")[0] != api_group:
        return None
    return f"{objects.namespace(obj)}/{ref['name']}", ref["uid"]


async def claim(
    client: Client, *, owner: Object, owner_resource: Resource, resource: Resource, informer: Informer,
    selector: Predicate, finalizers: Sequence[str] = (),
) -> list[Object]:
    """The owner's children after adopting and releasing.

    Adoption first reads the owner anew: a stale cache must not adopt for an owner that is gone, recreated under the
    same name, or being deleted.

    Raises:
        ApiError: a patch or the recheck was refused (other than that the child is gone).
    """
    uid = objects.uid(owner)
    mine: list[Object] = []
    for child in owned(informer, owner):
        if selector(objects.labels(child)):
            mine.append(child)
        elif not objects.is_deleting(owner):
            await release(client, resource, child, uid, without_finalizers=finalizers)
    if objects.is_deleting(owner):
        return mine
    checked = False
    for orphan in informer.by_index(CHILDREN, orphans_of(objects.namespace(owner))):
        if objects.is_deleting(orphan) or not selector(objects.labels(orphan)):
            continue
        if not checked:
            await recheck(client, owner_resource, owner)
            checked = True
        adopted = await adopt(client, resource, orphan, owner, finalizers=finalizers)
        if adopted is not None:
            mine.append(adopted)
    return mine


async def recheck(client: Client, resource: Resource, owner: Object) -> None:
    """Raises ApiError (404) unless the very owner still stands and is not being deleted."""
    fresh = await client.get(resource, objects.name(owner), namespace=objects.namespace(owner))
    if objects.uid(fresh) != objects.uid(owner) or objects.is_deleting(fresh):
        raise not_found(resource.group, resource.plural, objects.name(owner))


async def adopt(
    client: Client, resource: Resource, child: Object, owner: Object, *, finalizers: Sequence[str] = ()
) -> Object | None:
    """The child with `owner` as its controller; None if it is gone, or has become another's meanwhile."""
    meta = child["metadata"]
    changed: Object = {
        "uid": objects.uid(child),
        "resourceVersion": meta.get("resourceVersion"),
        "ownerReferences": [*(meta.get("ownerReferences") or ()), objects.owner_reference(owner)],
    }
    if finalizers:
        present = meta.get("finalizers") or ()
        changed["finalizers"] = [*present, *(f for f in finalizers if f not in present)]
    return await _patch(client, resource, child, changed)


async def release(
    client: Client, resource: Resource, child: Object, owner_uid: str, *, without_finalizers: Sequence[str] = ()
) -> Object | None:
    """The child without its reference to the owner; None if it is gone."""
    meta = child["metadata"]
    changed: Object = {
        "uid": objects.uid(child),
        "resourceVersion": meta.get("resourceVersion"),
        "ownerReferences": [r for r in meta.get("ownerReferences") or () if r.get("uid") != owner_uid] or None,
    }
    if without_finalizers:
        changed["finalizers"] = [f for f in meta.get("finalizers") or () if f not in without_finalizers] or None
    return await _patch(client, resource, child, changed)


async def _patch(client: Client, resource: Resource, child: Object, metadata: Object) -> Object | None:
    try:
        return await client.patch(
            resource, objects.name(child), {"metadata": metadata}, namespace=objects.namespace(child)
        )
    except ApiError as refused:
        if refused.code == 404 or refused.reason == "Invalid":
            return None
        raise
