"""EventRateLimit: Events are refused (429) where there are too many of them."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

from podwright.api.objects import Object
from podwright.api.status import FieldError, too_many_requests
from podwright.api.validation.field_errors import invalid, not_supported
from podwright.apiserver.admission.chain import Plugin
from podwright.apiserver.admission.configuration import Settings
from podwright.apiserver.requests import AdmissionRequest

_TYPES = ("Server", "Namespace", "User", "SourceAndObject")
_LIMIT = {"type": str, "qps": int, "burst": int, "cacheSize": int}
_REMEMBERED = 4096


def _errors(given: Object) -> list[FieldError]:
    errs: list[FieldError] = []
    limits = given.get("limits") or []
    if not limits:
        errs.append(invalid("limits", None, "must not be empty"))
    for i, limit in enumerate(limits):
        kind = limit.get("type") or ""
        if kind not in _TYPES:
            errs.append(not_supported(f"limits[{i}].type", kind, _TYPES))
        for field in ("burst", "qps"):
            if (value := limit.get(field) or 0) <= 0:
                errs.append(invalid(f"limits[{i}].{field}", value, "must be positive"))
        if kind != "Server" and (size := limit.get("cacheSize") or 0) < 0:
            errs.append(invalid(f"limits[{i}].cacheSize", size, "must not be negative"))
    return errs


def _key(kind: str, request: AdmissionRequest) -> str:
    """Whose Event it is, as a limit of this type counts."""
    if kind == "Namespace":
        return request.namespace
    if kind == "User":
        return request.user.name
    if kind == "Server":
        return ""
    event = request.object or {}
    source, involved = event.get("source") or {}, event.get("involvedObject") or {}
    parts = [source.get(field) for field in ("component", "host")]
    parts += [involved.get(field) for field in ("kind", "namespace", "name", "uid", "apiVersion")]
    return "".join(part or "" for part in parts)


class _Limit:
    """Token buckets by key; those that were not used for longest are forgotten."""

    def __init__(self, limit: Object, monotonic: Callable[[], float]) -> None:
        self.type: str = limit["type"]
        self._rate, self._burst = float(limit["qps"]), float(limit["burst"])
        self._size = limit.get("cacheSize") or _REMEMBERED
        self._monotonic = monotonic
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, key: str) -> bool:
        now = self._monotonic()
        left, since = self._buckets.pop(key, (self._burst, now))
        left = min(left + (now - since) * self._rate, self._burst)
        taken = left >= 1
        self._buckets[key] = (left - taken, now)
        if len(self._buckets) > self._size:
            self._buckets.popitem(last=False)
        return taken


class EventRateLimit(Plugin):
    name = "EventRateLimit"

    def __init__(self, settings: Settings, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Raises OSError; ValueError for a configuration that is refused, and for none."""
        kinds = {"Configuration": ("eventratelimit.admission.k8s.io/v1alpha1",)}
        given = settings.of(self.name, kinds, {"limits": [_LIMIT]})
        if given is None:
            raise ValueError("EventRateLimit: no config specified")
        settings.refuse(_errors(given))
        self._limits = [_Limit(limit, monotonic) for limit in given["limits"]]

    def handles(self, request: AdmissionRequest) -> bool:
        return request.resource.kind == "Event" and request.operation in ("CREATE", "UPDATE")

    async def validate(self, request: AdmissionRequest) -> None:
        if (request.requested or request.resource).group:
            return  # upstream's plugin knows the core group's only
        refused = [(limit.type, key) for limit in self._limits if not limit.take(key := _key(limit.type, request))]
        if refused:
            kind, key = refused[-1]
            raise too_many_requests(f"limit reached on type {kind} for key {key}")
