"""A Deployment's ReplicaSets as its history: which is the new one, what it is called, and its revision number."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import orjson

from podwright.api import objects
from podwright.api.objects import Object, deepcopy
from podwright.controllers.deployment.arithmetic import DESIRED_REPLICAS, MAX_REPLICAS, by_creation

HASH_LABEL = "pod-template-hash"
REVISION = "deployment.kubernetes.io/revision"
REVISION_HISTORY = "deployment.kubernetes.io/revision-history"
ROLLBACK_TO = "deprecated.deployment.rollback.to"
_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_OWN = {_LAST_APPLIED, REVISION, REVISION_HISTORY, DESIRED_REPLICAS, MAX_REPLICAS, ROLLBACK_TO}
_HISTORY_CHARACTERS = 2000
_SAFE = "bcdfghjklmnpqrstvwxz2456789"


def template_hash(template: Object, collisions: int | None) -> str:
    """FNV-1a over the template and the collision count, spelled without vowels."""
    value = 0x811C9DC5
    data = orjson.dumps(template, option=orjson.OPT_SORT_KEYS)
    if collisions is not None:
        data += collisions.to_bytes(8, "little", signed=True)
    for byte in data:
        value = ((value ^ byte) * 0x01000193) & 0xFFFFFFFF
    return "".join(_SAFE[ord(digit) % len(_SAFE)] for digit in str(value))


def templates_equal(first: Object, second: Object) -> bool:
    """Equal but for the hash label (and for what is absent in one and empty in the other)."""
    return bool(_without_hash(first) == _without_hash(second))


def _without_hash(template: Object) -> Any:
    metadata = dict(template.get("metadata") or {})
    metadata["labels"] = {k: v for k, v in (metadata.get("labels") or {}).items() if k != HASH_LABEL}
    metadata.pop("creationTimestamp", None)
    return _without_empty({**template, "metadata": metadata})


def _without_empty(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: c for k, v in value.items() if (c := _without_empty(v)) not in (None, [], "")}
    if isinstance(value, list | tuple):
        return [_without_empty(v) for v in value]
    return value


def find_new(deployment: Object, sets: Iterable[Object]) -> Object | None:
    """The oldest ReplicaSet with the Deployment's template."""
    wanted = _without_hash(deployment["spec"]["template"])
    return next((rs for rs in by_creation(sets) if _without_hash(rs["spec"]["template"]) == wanted), None)


def revision(obj: Object) -> int:
    try:
        return int(objects.annotations(obj).get(REVISION) or 0)
    except ValueError:
        return 0


def max_revision(sets: Iterable[Object]) -> int:
    return max((revision(rs) for rs in sets), default=0)


def last_revision(sets: Sequence[Object]) -> int:
    """The second highest: what a rollback to "the one before" means; 0 if there is none."""
    numbers = sorted((revision(rs) for rs in sets), reverse=True)
    return numbers[1] if len(numbers) > 1 else 0


def new_set_annotations(deployment: Object, current: dict[str, str], number: int, *, exists: bool) -> dict[str, str]:
    """The annotations that the new ReplicaSet shall have: the Deployment's (but for bookkeeping) and the revision."""
    wanted = dict(current)
    wanted.update({k: v for k, v in objects.annotations(deployment).items() if k not in _OWN})
    try:
        old = int(current.get(REVISION) or 0)
    except ValueError:
        return wanted
    if old < number:
        wanted[REVISION] = str(number)
        if exists and current.get(REVISION):
            wanted[REVISION_HISTORY] = _history(current.get(REVISION_HISTORY, ""), current[REVISION])
    return wanted


def _history(known: str, old: str) -> str:
    numbers = [n for n in known.split(",") if n]
    if old in numbers:
        return known
    numbers.append(old)
    while len(numbers) > 1 and len(",".join(numbers)) > _HISTORY_CHARACTERS:
        numbers.pop(0)
    return ",".join(numbers)


def new_set(deployment: Object, hash_value: str) -> Object:
    """The new ReplicaSet, without annotations and size."""
    spec = deployment["spec"]
    template = deepcopy(spec["template"])
    template.setdefault("metadata", {})
    template["metadata"]["labels"] = {**(template["metadata"].get("labels") or {}), HASH_LABEL: hash_value}
    selector = deepcopy(spec.get("selector") or {})
    selector["matchLabels"] = {**(selector.get("matchLabels") or {}), HASH_LABEL: hash_value}
    made: Object = {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": f"{objects.name(deployment)}-{hash_value}", "namespace": objects.namespace(deployment),
            "labels": dict(template["metadata"]["labels"]), "ownerReferences": [objects.owner_reference(deployment)],
        },
        "spec": {"selector": selector, "template": template},
    }
    if spec.get("minReadySeconds"):
        made["spec"]["minReadySeconds"] = spec["minReadySeconds"]
    return made
