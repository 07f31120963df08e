"""JSON merge patch (RFC 7386)."""

from __future__ import annotations

from typing import Any

from podwright.api import status
from podwright.api.objects import Object


def apply(doc: Object, patch: Any) -> Object:
    """The document with the patch merged in: null removes a field, objects merge, everything else replaces. The result
    shares the untouched parts of both.

    Raises:
        ApiError: 400 if the patch is no object.
    """
    if not isinstance(patch, dict):
        raise status.bad_request("invalid JSON document")
    return _merge(doc, patch)


def _merge(doc: Any, patch: Object) -> Object:
    merged: Object = dict(doc) if isinstance(doc, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        elif isinstance(value, dict):
            merged[name] = _merge(merged.get(name), value)
        else:
            merged[name] = value
    return merged
