"""API objects as plain dicts, and the few accessors that every component needs."""

import copy
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import orjson

Object = dict[str, Any]
"""A JSON object as the API spells it. Shared objects are never changed: use :func:`deepcopy` first."""


_STRICT = orjson.OPT_PASSTHROUGH_SUBCLASS | orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_DATACLASS


def deepcopy(obj: Object) -> Object:
    """A copy whose dicts and lists may be changed freely. A deep-frozen input gives plain dicts and lists."""
    try:
        # Through its bytes and back is ten times as fast as step by step.
        copied: Object = orjson.loads(orjson.dumps(obj, option=_STRICT))
        return copied
    except (TypeError, ValueError):
        # A frozen dict, a number of more than 64 bits, half a surrogate pair.
        return {k: _copy(v) for k, v in obj.items()}


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _copy(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_copy(v) for v in value]
    if value is None or isinstance(value, str | int | float | bool):
        return value
    return copy.deepcopy(value)


def name(obj: Object) -> str:
    return str((obj.get("metadata") or {}).get("name") or "")


def namespace(obj: Object) -> str:
    """The namespace, or "" for a cluster-scoped object."""
    return str((obj.get("metadata") or {}).get("namespace") or "")


def uid(obj: Object) -> str:
    return str((obj.get("metadata") or {}).get("uid") or "")


def key(obj: Object) -> str:
    """"namespace/name", or "name" for a cluster-scoped object: how caches and work queues call an object."""
    ns = namespace(obj)
    return f"{ns}/{name(obj)}" if ns else name(obj)


def split_key(key: str) -> tuple[str, str]:
    """The (namespace, name) of a :func:`key`; namespace "" if it has none."""
    ns, sep, nm = key.rpartition("/")
    return (ns, nm) if sep else ("", key)


def labels(obj: Object) -> dict[str, str]:
    return (obj.get("metadata") or {}).get("labels") or {}


def annotations(obj: Object) -> dict[str, str]:
    return (obj.get("metadata") or {}).get("annotations") or {}


def is_deleting(obj: Object) -> bool:
    return bool((obj.get("metadata") or {}).get("deletionTimestamp"))


def controller_of(obj: Object) -> Object | None:
    """The ownerReference that has controller: true, if there is one."""
    for ref in (obj.get("metadata") or {}).get("ownerReferences") or []:
        if ref.get("controller"):
            return dict(ref)
    return None


def owner_reference(owner: Object, *, block_owner_deletion: bool = True) -> Object:
    """The reference by which `owner` controls another object."""
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": name(owner),
        "uid": uid(owner),
        "controller": True,
        "blockOwnerDeletion": block_owner_deletion,
    }


def condition(obj: Object, kind: str) -> Object | None:
    """The entry of status.conditions whose type is `kind`."""
    for cond in (obj.get("status") or {}).get("conditions") or []:
        if cond.get("type") == kind:
            return dict(cond)
    return None


def condition_is_true(obj: Object, kind: str) -> bool:
    cond = condition(obj, kind)
    return cond is not None and cond.get("status") == "True"


def format_time(seconds: float) -> str:
    """metav1.Time: RFC 3339 in UTC with whole seconds."""
    return _second(int(seconds))


@lru_cache(maxsize=64)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def format_micro_time(seconds: float) -> str:
    """metav1.MicroTime: RFC 3339 in UTC with six decimals."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse_time(text: str) -> float:
    """Seconds since the epoch of an RFC 3339 time.

    Raises:
        ValueError: the text is no RFC 3339 time.
    """
    parsed = datetime.fromisoformat(text)
    if parsed.tzinfo is None:
        raise ValueError(f"time has no zone: {text!r}")
    return parsed.timestamp()
