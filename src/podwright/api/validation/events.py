"""Events. Those of core/v1 are checked loosely, as upstream does for old clients; those of events.k8s.io fully."""

from __future__ import annotations

from podwright.api.objects import Object
from podwright.api.status import FieldError
from podwright.api.validation import metadata, names
from podwright.api.validation.field_errors import formed, invalid, required
from podwright.api.validation.rules import Kinds, Rules

_LIMITS = {"action": 128, "reason": 128, "message": 1024}
_INSTANCE = 128
_KEPT = (
    ("regarding", "involvedObject"),
    ("reason", "reason"),
    ("note", "message"),
    ("deprecatedSource", "source"),
    ("deprecatedFirstTimestamp", "firstTimestamp"),
    ("deprecatedLastTimestamp", "lastTimestamp"),
    ("deprecatedCount", "count"),
    ("type", "type"),
    ("eventTime", "eventTime"),
    ("action", "action"),
    ("related", "related"),
    ("reportingController", "reportingController"),
    ("reportingInstance", "reportingInstance"),
)


def _event(errs: list[FieldError], obj: Object, about: Object, controller: str, message: str) -> None:
    namespace = (obj.get("metadata") or {}).get("namespace") or ""
    other = about.get("namespace") or ""
    mismatch = invalid("involvedObject.namespace", other, "does not match event.namespace")
    if not obj.get("eventTime"):
        if (not other and namespace not in ("", "default")) or (other and other != namespace):
            errs.append(mismatch)
        return
    if not other and namespace not in ("default", "kube-system"):
        errs.append(mismatch)
    name = obj.get(controller) or ""
    if not name:
        errs.append(required(controller))
    formed(errs, name, controller, names.qualified_name)
    instance = obj.get("reportingInstance") or ""
    if not instance:
        errs.append(required("reportingInstance"))
    if len(instance) > _INSTANCE:
        errs.append(invalid("reportingInstance", "", f"can have at most {_INSTANCE} characters"))
    for field in ("action", "reason"):
        if not obj.get(field):
            errs.append(required(field))
        if len(obj.get(field) or "") > _LIMITS[field]:
            errs.append(invalid(field, "", f"can have at most {_LIMITS[field]} characters"))
    if len(obj.get(message) or "") > _LIMITS["message"]:
        errs.append(invalid("message", "", f"can have at most {_LIMITS['message']} characters"))


def core_event(errs: list[FieldError], obj: Object) -> None:
    _event(errs, obj, obj.get("involvedObject") or {}, "reportingComponent", "message")


def event(errs: list[FieldError], obj: Object) -> None:
    _event(errs, obj, obj.get("regarding") or {}, "reportingController", "note")
    if not obj.get("eventTime"):
        errs.append(required("eventTime"))
    _series(errs, obj)
    kind = obj.get("type") or ""
    if kind not in ("Normal", "Warning"):
        errs.append(invalid("type", "", f"has invalid value: {kind}"))
    for field, said_as in (
        ("deprecatedFirstTimestamp", "firstTimestamp"),
        ("deprecatedLastTimestamp", "lastTimestamp"),
        ("deprecatedCount", "count"),
        ("deprecatedSource", "source"),
    ):
        if obj.get(field):
            errs.append(invalid(said_as, "", "needs to be unset"))


def _series(errs: list[FieldError], obj: Object) -> None:
    if (series := obj.get("series")) is None:
        return
    if (series.get("count") or 0) < 2:
        errs.append(invalid("series.count", "", "should be at least 2"))
    if not series.get("lastObservedTime"):
        errs.append(required("series.lastObservedTime"))


def _event_update(errs: list[FieldError], new: Object, old: Object) -> None:
    _event(errs, new, new.get("regarding") or {}, "reportingController", "note")
    if new.get("series") != old.get("series"):
        _series(errs, new)
    for field, said_as in _KEPT:
        metadata.same(errs, new.get(field), old.get(field), said_as)


CORE_EVENT = Rules(name=names.path_segment_name, create=core_event)
KINDS: Kinds = {("events.k8s.io", "Event"): Rules(create=event, update=_event_update)}
