"""PodTolerationRestriction: what the Pods of a namespace tolerate by default, and what they may tolerate."""

from __future__ import annotations

from collections.abc import Sequence

import orjson

from podwright.api import objects, pods, taints
from podwright.api.objects import Object
from podwright.api.resources import NAMESPACES
from podwright.api.status import failure, internal, not_found
from podwright.apiserver.admission.chain import PodPlugin
from podwright.apiserver.admission.configuration import Settings
from podwright.apiserver.requests import AdmissionRequest, Objects

DEFAULTS = "scheduler.alpha.kubernetes.io/defaultTolerations"
ALLOWED = "scheduler.alpha.kubernetes.io/tolerationsWhitelist"
_TOLERATION = {"key": str, "operator": str, "value": str, "effect": str, "tolerationSeconds": int}
_MEMORY = {"key": taints.MEMORY_PRESSURE, "operator": "Exists", "effect": taints.NO_SCHEDULE}


class PodTolerationRestriction(PodPlugin):
    name = "PodTolerationRestriction"

    def __init__(self, cache: Objects, settings: Settings) -> None:
        """Raises OSError, ValueError."""
        self._objects = cache
        kinds = {"Configuration": ("podtolerationrestriction.admission.k8s.io/v1alpha1",)}
        given = settings.of(self.name, kinds, {"default": [_TOLERATION], "whitelist": [_TOLERATION]}) or {}
        self._default: Sequence[Object] = given.get("default") or ()
        self._allowed: Sequence[Object] = given.get("whitelist") or ()

    async def admit(self, request: AdmissionRequest) -> None:
        pod = request.object
        if pod is None:
            return
        more: list[Object] = []
        if request.operation == "CREATE":
            named = self._named(request, DEFAULTS)
            more += self._default if named is None else named
        if pods.compute_qos_class(pod) != "BestEffort":
            more.append(_MEMORY)
        if more:
            pod["spec"]["tolerations"] = _merged([*(pod["spec"].get("tolerations") or ()), *more])

    async def validate(self, request: AdmissionRequest) -> None:
        tolerations = ((request.object or {}).get("spec") or {}).get("tolerations") or ()
        if not tolerations:
            return
        named = self._named(request, ALLOWED)
        allowed = self._allowed if named is None else named
        if allowed and not all(any(_covers(one, toleration) for one in allowed) for toleration in tolerations):
            said = "pod tolerations (possibly merged with namespace default tolerations) conflict with its namespace"
            raise failure(403, "Forbidden", f"{said} whitelist")

    def _named(self, request: AdmissionRequest, key: str) -> Sequence[Object] | None:
        """What the namespace says; None if it says nothing."""
        namespace = self._objects.get(NAMESPACES, "", request.namespace)
        if namespace is None:
            raise not_found("", "namespaces", request.namespace)
        said = objects.annotations(namespace).get(key)
        if not said:
            return None if said is None else ()
        try:
            found = orjson.loads(said)
        except orjson.JSONDecodeError as wrong:
            raise internal(f"{key}: {wrong}") from None
        if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
            raise internal(f"{key}: no list of tolerations")
        return found


def _merged(tolerations: Sequence[Object]) -> list[Object]:
    """Without those that others cover."""
    kept: list[Object] = []
    for i, one in enumerate(tolerations):
        later = (other for other in tolerations[i + 1 :] if other != one)
        if not any(_covers(other, one) for other in kept) and not any(_covers(other, one) for other in later):
            kept.append(dict(one))
    return kept


def _covers(wider: Object, one: Object) -> bool:
    """Whether `wider` tolerates whatever `one` does."""
    if wider == one:
        return True

    def of(toleration: Object, field: str) -> str:
        return toleration.get(field) or ""

    exists = of(wider, "operator") == "Exists"
    if of(one, "key") != of(wider, "key") and (of(wider, "key") or not exists):
        return False
    if of(wider, "effect") not in ("", of(one, "effect")):
        return False
    most, seconds = wider.get("tolerationSeconds"), one.get("tolerationSeconds")
    if of(wider, "effect") == taints.NO_EXECUTE and most is not None and (seconds is None or seconds > most):
        return False
    if of(wider, "operator") in ("Equal", ""):
        return of(one, "operator") in ("Equal", "") and of(one, "value") == of(wider, "value")
    return exists
