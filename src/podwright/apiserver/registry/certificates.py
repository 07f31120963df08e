"""CertificateSigningRequests and PodCertificateRequests: who asked, since when a condition holds, and certificates that
begin now."""

from __future__ import annotations

from collections.abc import Sequence

from podwright.api import objects
from podwright.api.objects import Object
from podwright.api.status import FieldError
from podwright.api.validation.field_errors import invalid
from podwright.apiserver.registry.registry import Registry
from podwright.apiserver.registry.strategies import Strategy
from podwright.apiserver.requests import UserInfo

_SKEW = 300.0
"""Seconds between the server's clock and a certificate's beginning."""


def _conditions(obj: Object) -> list[Object]:
    return (obj.get("status") or {}).get("conditions") or []


def _keep(new: Object, old: Object, kinds: Sequence[str]) -> None:
    """Conditions of these types stay as they were, unless there are more or fewer."""
    listed = _conditions(new)
    for kind in kinds:
        before = [condition for condition in _conditions(old) if condition.get("type") == kind]
        places = [i for i, condition in enumerate(listed) if condition.get("type") == kind]
        if len(before) == len(places):
            for i, condition in zip(places, before, strict=True):
                listed[i] = dict(condition)


def _date(new: Object, old: Object, now: str, *, updated: bool) -> None:
    """Conditions that do not say since when hold since they are written, or since they were."""
    since = {(c.get("type"), c.get("status")): c.get("lastTransitionTime") for c in reversed(_conditions(old))}
    for condition in _conditions(new):
        if updated and not condition.get("lastUpdateTime"):
            condition["lastUpdateTime"] = now
        if not condition.get("lastTransitionTime"):
            condition["lastTransitionTime"] = since.get((condition.get("type"), condition.get("status"))) or now


class SigningRequests(Strategy):
    """Whoever approves or signs goes by the one who asked, so nobody may say that it was another."""

    def made_by(self, obj: Object, user: UserInfo) -> None:
        spec = obj.setdefault("spec", {})
        for field in ("username", "uid", "groups", "extra"):
            spec.pop(field, None)
        said = {"username": user.name, "uid": user.uid, "groups": list(user.groups),
                "extra": {key: list(values) for key, values in user.extra.items()}}
        spec.update({field: value for field, value in said.items() if value})

    def prepare(self, registry: Registry, obj: Object, old: Object, subresource: str) -> None:
        if subresource == "status":
            _keep(obj, old, ("Approved", "Denied"))
        if subresource:
            _date(obj, old, objects.format_time(registry.now()), updated=True)


class PodCertificateRequests(Strategy):
    unconditional_update = False

    def prepare(self, registry: Registry, obj: Object, old: Object, subresource: str) -> None:
        if subresource == "status":
            _keep(obj, old, ("Issued", "Denied", "Failed"))
            _date(obj, old, objects.format_time(registry.now()), updated=False)

    def errors(self, registry: Registry, obj: Object, old: Object | None, subresource: str) -> Sequence[FieldError]:
        status, before = obj.get("status") or {}, (old or {}).get("status") or {}
        begins = status.get("notBefore")
        if subresource != "status" or not begins or begins == before.get("notBefore"):
            return ()
        try:
            near = abs(objects.parse_time(begins) - registry.now()) < _SKEW
        except ValueError:
            return ()  # told by its type
        said = "must be set to within 5 minutes of kube-apiserver's current time"
        return () if near else (invalid("status.notBefore", begins, said),)
