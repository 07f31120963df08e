"""ControllerRevisions: the templates that a DaemonSet or StatefulSet has had, numbered."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from podwright.api import objects
from podwright.api.objects import Object, deepcopy
from podwright.api.resources import CONTROLLERREVISIONS
from podwright.api.status import ApiError
from podwright.client.client import Client
from podwright.controllers import pods
from podwright.controllers.deployment.revisions import template_hash
from podwright.controllers.frame import ignore_not_found

HASH_LABEL = "controller-revision-hash"


def data_of(owner: Object) -> Object:
    """The strategic merge patch that takes a set back to this template: what kubectl rollout undo sends."""
    return {"spec": {"template": {**deepcopy(owner["spec"]["template"]), "$patch": "replace"}}}


def new_revision(owner: Object, number: int, collisions: int) -> Object:
    data = data_of(owner)
    hash_value = template_hash(data, collisions)
    labels = {**((owner["spec"].get("template") or {}).get("metadata", {}).get("labels") or {}), HASH_LABEL: hash_value}
    return {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": {
            "name": f"{objects.name(owner)[:223]}-{hash_value}",
            "namespace": objects.namespace(owner),
            "labels": labels,
            "annotations": {
                k: v for k, v in objects.annotations(owner).items()
                if k != "kubectl.kubernetes.io/last-applied-configuration"
            },
            "ownerReferences": [objects.owner_reference(owner)],
        },
        "data": data,
        "revision": number,
    }  # fmt: skip


def ordered(revisions: Iterable[Object]) -> list[Object]:
    """Oldest first."""
    return sorted(revisions, key=lambda r: (int(r.get("revision") or 0), pods.creation_time(r), objects.name(r)))


def hash_of(revision: Object) -> str:
    return str(objects.labels(revision).get(HASH_LABEL) or "")


def equal(revision: Object, owner: Object) -> bool:
    return bool(_clean(revision.get("data")) == _clean(data_of(owner)))


def _clean(value: object) -> object:
    if isinstance(value, dict):
        return {k: c for k, v in value.items() if (c := _clean(v)) not in (None, [], "", {})}
    if isinstance(value, list | tuple):
        return [_clean(v) for v in value]
    return value


async def current(client: Client, owner: Object, history: Sequence[Object], collisions: int) -> tuple[Object, int]:
    """(the revision of the owner's template, the collision count): found, moved to the end of the history, or made.

    Raises:
        ApiError: a write was refused.
    """
    found = [r for r in ordered(history) if equal(r, owner)]
    number = max((int(r.get("revision") or 0) for r in history), default=0) + 1
    if found:
        newest = found[-1]
        if int(newest.get("revision") or 0) == number - 1:
            return newest, collisions
        moved = {**deepcopy(newest), "revision": number}
        return await client.update(CONTROLLERREVISIONS, moved), collisions
    while True:
        wanted = new_revision(owner, number, collisions)
        try:
            return await client.create(CONTROLLERREVISIONS, wanted), collisions
        except ApiError as refused:
            if refused.reason != "AlreadyExists":
                raise
        standing = await client.get(CONTROLLERREVISIONS, objects.name(wanted), namespace=objects.namespace(owner))
        if equal(standing, owner) and (objects.controller_of(standing) or {}).get("uid") == objects.uid(owner):
            return standing, collisions
        collisions += 1


async def truncate(client: Client, history: Sequence[Object], in_use: set[str], limit: int) -> None:
    """Keeps `limit` revisions beside those whose name is in use."""
    idle = [r for r in ordered(history) if objects.name(r) not in in_use]
    for revision in idle[: max(0, len(idle) - limit)]:
        await ignore_not_found(client.delete(
            CONTROLLERREVISIONS, objects.name(revision), namespace=objects.namespace(revision),
            uid=objects.uid(revision),
        ))  # fmt: skip
