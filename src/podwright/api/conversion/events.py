"""Events of core/v1 and of events.k8s.io, which are one storage."""

from __future__ import annotations

from podwright.api.objects import Object

_TO_EVENTS = {
    "involvedObject": "regarding",
    "message": "note",
    "reportingComponent": "reportingController",
    "source": "deprecatedSource",
    "firstTimestamp": "deprecatedFirstTimestamp",
    "lastTimestamp": "deprecatedLastTimestamp",
    "count": "deprecatedCount",
}
_TO_CORE = {theirs: ours for ours, theirs in _TO_EVENTS.items()}


def event(source: str, target: str, obj: Object) -> Object:
    if (source == "v1") == (target == "v1"):
        return obj
    names = _TO_CORE if target == "v1" else _TO_EVENTS
    return {names.get(field, field): value for field, value in obj.items()}
