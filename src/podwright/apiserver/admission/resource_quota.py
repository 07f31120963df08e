"""ResourceQuota: nothing is admitted beyond what a namespace may use, however many ask at once.

The truth is counted, not read from ``status``: per quota, the sum over the objects in the cache plus reservations,
one for each admitted object that the cache has not shown yet. A reservation is made and checked in one step of the
event loop, given back if the write fails, and ends when the object appears. ``status.used`` follows at once by a write
that all requests waiting in the namespace share; deletions reach it by the quota controller.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from decimal import Decimal

from podwright.api import quantity
from podwright.api.objects import Object, deepcopy, name, namespace, uid
from podwright.api.quota_usage import (
    ZERO,
    Amounts,
    in_scope,
    names_resource,
    scopes_of,
    selected,
    unnamed_compute,
    usage,
)
from podwright.api.resources import RESOURCEQUOTAS, Resource
from podwright.api.status import ApiError, failure
from podwright.api.validation.field_errors import required
from podwright.apiserver.admission.chain import Plugin
from podwright.apiserver.admission.configuration import Settings
from podwright.apiserver.admission.refusals import forbidden
from podwright.apiserver.requests import AdmissionRequest, Objects, Writer

_SKIPPED_SUBRESOURCES = frozenset(
    {"status", "scale", "binding", "eviction", "ephemeralcontainers", "token", "finalize", "approval"}
)
_Key = tuple[str, str, str]


class _Ledger:
    """One quota: what the cache holds of it, what is reserved. Amounts are kept for the quota's own names only."""

    def __init__(self, quota: Object) -> None:
        self.quota = quota
        self.hard: dict[str, Decimal] = {k: quantity.parse(v) for k, v in (quota["spec"].get("hard") or {}).items()}
        self.counted: dict[_Key, Amounts] = {}
        self.reserved: dict[_Key, Amounts] = {}
        self.used: Amounts = dict.fromkeys(self.hard, ZERO)
        self.known: set[str] = set()
        """Names whose objects are counted here: of the others only the controller can tell."""

    def learn(self, resource: Resource) -> None:
        self.known |= {key for key in self.hard if names_resource((key,), resource)}

    def charge(self, resource: Resource, obj: Object) -> Amounts:
        """What an object would use of this quota."""
        if not in_scope(self.quota, resource, obj):
            return {}
        return {k: v for k, v in usage(resource, obj).items() if k in self.hard}

    def add(self, amounts: Amounts, sign: int = 1) -> None:
        for key, amount in amounts.items():
            self.used[key] += amount * sign

    def put(self, into: dict[_Key, Amounts], key: _Key, amounts: Amounts) -> None:
        self.drop(into, key)
        if amounts:
            into[key] = amounts
            self.add(amounts)

    def drop(self, out_of: dict[_Key, Amounts], key: _Key) -> None:
        before = out_of.pop(key, None)
        if before:
            self.add(before, -1)


def _key(resource: Resource, obj: Object) -> _Key:
    return resource.qualified, namespace(obj), uid(obj) or name(obj)


def _texts(amounts: Amounts, like: dict[str, str]) -> str:
    return ",".join(f"{k}={_text(v, like.get(k, '1'))}" for k, v in sorted(amounts.items()))


def _text(amount: Decimal, like: str) -> str:
    return quantity.format(amount, quantity.format_of(like))


_CONFIGURATIONS = {
    "ResourceQuotaConfiguration": ("apiserver.config.k8s.io/v1",),
    "Configuration": tuple(f"resourcequota.admission.k8s.io/{version}" for version in ("v1beta1", "v1alpha1")),
}
_SCOPE = {"scopeName": str, "operator": str, "values": [str]}
_LIMITED = {"apiGroup": str, "resource": str, "matchContains": [str], "matchScopes": [_SCOPE]}


def limited_resources(settings: Settings) -> Sequence[Object]:
    """Of the plugin's configuration. Raises OSError, ValueError."""
    found = settings.of("ResourceQuota", _CONFIGURATIONS, {"limitedResources": [_LIMITED]}) or {}
    listed: Sequence[Object] = found.get("limitedResources") or ()
    names = [limited.get("resource") for limited in listed]
    settings.refuse([required(f"limitedResources[{i}].resource") for i, name in enumerate(names) if not name])
    return listed


class ResourceQuota(Plugin):
    name = "ResourceQuota"

    def __init__(self, objects: Objects, writer: Writer, limited: Sequence[Object] = ()) -> None:
        """`limited` are the limitedResources of the plugin's configuration: what nobody has without a quota."""
        self._limited = limited
        self._objects = objects
        self._writer = writer
        self._ledgers: dict[str, dict[str, _Ledger]] = {}
        self._followed: dict[tuple[str, str], Resource] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        objects.subscribe(RESOURCEQUOTAS, self._quota_changed)

    def handles(self, request: AdmissionRequest) -> bool:
        return (
            request.resource.namespaced
            and request.operation in ("CREATE", "UPDATE")
            and request.subresource not in _SKIPPED_SUBRESOURCES
        )

    async def validate(self, request: AdmissionRequest) -> None:
        ledgers = self._ledgers.get(request.namespace)
        if self._limited and request.object is not None:
            self._need_quotas(request, request.object, [ledger.quota for ledger in (ledgers or {}).values()])
        if not ledgers or request.object is None:
            return
        resource = request.resource
        if (resource.group, resource.plural) not in self._followed:
            if not any(names_resource(ledger.hard, resource) for ledger in ledgers.values()):
                return
            self._follow(resource)
        charged = self._check(request, list(ledgers.values()))
        if charged and not request.dry_run:
            self._reserve(request, charged)
            await self._write_status(request.namespace)

    def _check(self, request: AdmissionRequest, ledgers: list[_Ledger]) -> list[tuple[_Ledger, Amounts]]:
        """The amounts to reserve with each quota. Raises ApiError (403) if one has not that much left."""
        obj, old = request.object, request.old_object if request.operation == "UPDATE" else None
        assert obj is not None
        is_pod = request.resource.plural == "pods" and not request.resource.group
        charged = []
        for ledger in ledgers:
            called = name(ledger.quota)
            if is_pod and request.operation == "CREATE" and in_scope(ledger.quota, request.resource, obj):
                if problem := unnamed_compute(obj, ledger.hard):
                    raise forbidden(request, f"failed quota: {called}: {problem}")
            wanted = ledger.charge(request.resource, obj)
            if not wanted:
                continue
            before = ledger.charge(request.resource, old) if old is not None else {}
            delta = {k: v - before.get(k, ZERO) for k, v in wanted.items()}
            grown = {k: v for k, v in delta.items() if v > 0}
            over = {k for k, v in grown.items() if ledger.used[k] + v > ledger.hard[k]}
            if over:
                like = ledger.quota["spec"]["hard"]
                requested = _texts({k: grown[k] for k in over}, like)
                used = _texts({k: ledger.used[k] for k in over}, like)
                limited = _texts({k: ledger.hard[k] for k in over}, like)
                raise forbidden(
                    request, f"exceeded quota: {called}, requested: {requested}, used: {used}, limited: {limited}"
                )
            if grown:
                charged.append((ledger, grown))
        return charged

    def _need_quotas(self, request: AdmissionRequest, obj: Object, quotas: Sequence[Object]) -> None:
        """Raises ApiError (403) if what is limited by default is used more and no quota speaks of it."""
        resource = request.resource
        used = usage(resource, obj)
        if request.old_object is not None and request.operation == "UPDATE":
            before = usage(resource, request.old_object)
            if all(amount == before.get(key, ZERO) for key, amount in used.items()):
                return
        named = (resource.group, resource.plural)
        own = [limited for limited in self._limited if (limited.get("apiGroup") or "", limited["resource"]) == named]
        needed = {
            key for key, amount in used.items()
            if amount > 0 and any(part in key for limited in own for part in limited.get("matchContains") or ())
        }  # fmt: skip
        covered = {key for quota in quotas if in_scope(quota, resource, obj) for key in quota["spec"].get("hard") or ()}
        if missing := sorted(needed - covered):
            raise forbidden(request, f"insufficient quota to consume: {','.join(missing)}")
        scopes = [scope for limited in self._limited for scope in limited.get("matchScopes") or ()]
        spoken = {
            scope.get("scopeName")
            for quota in quotas
            for scope in scopes_of(quota)
            if selected(resource, obj, scope)
        }
        uncovered = [s for s in scopes if selected(resource, obj, s) and s.get("scopeName") not in spoken]
        if uncovered:
            listed = " ".join(
                f"{{{s.get('scopeName')} {s.get('operator')} [{' '.join(s.get('values') or ())}]}}" for s in uncovered
            )
            raise failure(403, "Forbidden", f"insufficient quota to match these scopes: [{listed}]")

    def _reserve(self, request: AdmissionRequest, charged: list[tuple[_Ledger, Amounts]]) -> None:
        assert request.object is not None
        key = _key(request.resource, request.object)
        for ledger, amounts in charged:
            before = ledger.reserved.get(key, {})
            merged = {k: before.get(k, ZERO) + amounts.get(k, ZERO) for k in {**before, **amounts}}
            ledger.put(ledger.reserved, key, merged)

        def give_back() -> None:
            for ledger, _ in charged:
                ledger.drop(ledger.reserved, key)

        request.undo.append(give_back)

    async def _write_status(self, ns: str) -> None:
        """Writes the usage of every quota of the namespace whose status does not say it yet. A write that another
        writer overtakes is left to that writer: the usage counted here does not depend on it."""
        lock = self._locks.setdefault(ns, asyncio.Lock())
        async with lock:
            for ledger in list(self._ledgers.get(ns, {}).values()):
                present = self._objects.get(RESOURCEQUOTAS, ns, name(ledger.quota)) or ledger.quota
                hard = present["spec"].get("hard") or {}
                told = (present.get("status") or {}).get("used") or {}
                used = {k: _text(ledger.used[k], v) if k in ledger.known else told.get(k) for k, v in hard.items()}
                status = {"hard": dict(hard), "used": {k: v for k, v in used.items() if v is not None}}
                if (present.get("status") or {}) == status:
                    continue
                changed = deepcopy(present)
                changed["status"] = status
                try:
                    await self._writer.update(RESOURCEQUOTAS, changed)
                except ApiError as error:
                    if error.code not in (404, 409):
                        raise

    def _quota_changed(self, old: Object | None, new: Object | None) -> None:
        if new is None:
            assert old is not None
            ns = namespace(old)
            ledgers = self._ledgers.get(ns, {})
            ledgers.pop(name(old), None)
            if not ledgers:
                self._ledgers.pop(ns, None)
                self._locks.pop(ns, None)
            return
        ledgers = self._ledgers.setdefault(namespace(new), {})
        present = ledgers.get(name(new))
        if present is not None and present.quota["spec"] == new["spec"]:
            present.quota = new
            return
        ledger = _Ledger(new)
        ledgers[name(new)] = ledger
        for resource in self._followed.values():
            self._count(ledger, resource)
        if present is not None:
            for key, amounts in present.reserved.items():
                ledger.put(ledger.reserved, key, {k: v for k, v in amounts.items() if k in ledger.hard})

    def _count(self, ledger: _Ledger, resource: Resource) -> None:
        if names_resource(ledger.hard, resource):
            ledger.learn(resource)
            for obj in self._objects.list(resource, namespace(ledger.quota)):
                ledger.put(ledger.counted, _key(resource, obj), ledger.charge(resource, obj))

    def _follow(self, resource: Resource) -> None:
        """Counts a resource from now on, in every namespace that has a quota."""
        def changed(old: Object | None, new: Object | None) -> None:
            obj = new or old
            assert obj is not None
            ledgers = self._ledgers.get(namespace(obj))
            if not ledgers:
                return
            key = _key(resource, obj)
            for ledger in ledgers.values():
                if new is None:
                    ledger.drop(ledger.counted, key)
                else:
                    ledger.put(ledger.counted, key, ledger.charge(resource, new))
                ledger.drop(ledger.reserved, key)
                ledger.drop(ledger.reserved, (key[0], key[1], name(obj)))

        self._followed[resource.group, resource.plural] = resource
        for ledgers in self._ledgers.values():
            for ledger in ledgers.values():
                ledger.learn(resource)
        self._objects.subscribe(resource, changed)

