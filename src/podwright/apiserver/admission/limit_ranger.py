"""LimitRanger: defaults and bounds for what Pods, containers and claims ask for (Kubernetes documentation, "Limit
Ranges")."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from podwright.api import quantity
from podwright.api.objects import Object
from podwright.api.pods import total
from podwright.api.quantity import parse
from podwright.api.resources import LIMITRANGES
from podwright.apiserver.admission.chain import Plugin
from podwright.apiserver.admission.refusals import aggregated, forbidden
from podwright.apiserver.requests import AdmissionRequest, Objects

ANNOTATION = "kubernetes.io/limit-ranger"
Quantities = Mapping[str, str]


class LimitRanger(Plugin):
    name = "LimitRanger"

    def __init__(self, objects: Objects) -> None:
        self._ranges: dict[str, dict[str, Object]] = {}
        objects.subscribe(LIMITRANGES, self._changed)

    def handles(self, request: AdmissionRequest) -> bool:
        resource = request.resource
        if resource.group:
            return False
        if resource.plural == "pods":
            if request.subresource == "resize":
                return request.operation == "UPDATE"
            return request.operation == "CREATE" and not request.subresource
        return (
            resource.plural == "persistentvolumeclaims"
            and not request.subresource
            and request.operation in ("CREATE", "UPDATE")
        )

    async def admit(self, request: AdmissionRequest) -> None:
        ranges = self._ranges.get(request.namespace)
        if ranges and request.object is not None and request.operation == "CREATE":
            if request.resource.plural == "pods":
                for limit_range in ranges.values():
                    _default_pod(request.object, limit_range)

    async def validate(self, request: AdmissionRequest) -> None:
        ranges = self._ranges.get(request.namespace)
        if not ranges or request.object is None or (request.object["metadata"].get("deletionTimestamp")):
            return
        for limit_range in ranges.values():
            problems: list[str] = []
            for limit in limit_range["spec"].get("limits") or ():
                if request.resource.plural == "pods":
                    problems += _pod_problems(request.object, limit)
                elif limit.get("type") == "PersistentVolumeClaim":
                    problems += _claim_problems(request.object, limit)
            if problems:
                raise forbidden(request, aggregated(problems))

    def _changed(self, old: Object | None, new: Object | None) -> None:
        if old is not None:
            ns = old["metadata"]["namespace"]
            ranges = self._ranges.get(ns, {})
            ranges.pop(old["metadata"]["name"], None)
            if not ranges:
                self._ranges.pop(ns, None)
        if new is not None:
            self._ranges.setdefault(new["metadata"]["namespace"], {})[new["metadata"]["name"]] = new


def _default_pod(pod: Object, limit_range: Object) -> None:
    limits: dict[str, str] = {}
    requests: dict[str, str] = {}
    for limit in limit_range["spec"].get("limits") or ():
        if limit.get("type") == "Container":
            limits |= limit.get("default") or {}
            requests |= {**(limit.get("default") or {}), **(limit.get("defaultRequest") or {})}
            for key, value in (limit.get("max") or {}).items():
                limits.setdefault(key, value)
                requests.setdefault(key, limits[key])
    done: list[str] = []
    for part, called in (("containers", "container"), ("initContainers", "init container")):
        for container in pod["spec"].get(part) or ():
            done += _default_container(container, called, limits, requests)
    if done:
        metadata = pod["metadata"]
        metadata["annotations"] = {
            **(metadata.get("annotations") or {}), ANNOTATION: "LimitRanger plugin set: " + "; ".join(done),
        }


def _default_container(container: Object, called: str, limits: Quantities, requests: Quantities) -> list[str]:
    done = []
    resources = container.get("resources") or {}
    had_limits = dict(resources.get("limits") or {})
    for field, defaults in (("requests", requests), ("limits", limits)):
        have = resources.get(field) or {}
        missing = {k: v for k, v in defaults.items() if k not in have}
        if field == "requests":
            # A container's own limit is its request where it gives none.
            missing = {k: had_limits.get(k, v) for k, v in missing.items()}
        if missing:
            resources = {**resources, field: {**have, **missing}}
            done.append(f"{', '.join(sorted(missing))} {field[:-1]} for {called} {container['name']}")
    if done:
        container["resources"] = resources
    return done


def _pod_problems(pod: Object, limit: Object) -> list[str]:
    problems: list[str] = []
    kind = limit.get("type") or ""
    if kind == "Container":
        for part in ("containers", "initContainers"):
            for container in pod["spec"].get(part) or ():
                resources = container.get("resources") or {}
                requests = {k: parse(v) for k, v in (resources.get("requests") or {}).items()}
                limits = {k: parse(v) for k, v in (resources.get("limits") or {}).items()}
                problems += _bounds(limit, kind, requests, limits)
    elif kind == "Pod":
        problems += _bounds(limit, kind, total(pod, "requests"), total(pod, "limits"))
    return problems


def _bounds(limit: Object, kind: str, requests: Mapping[str, Decimal], limits: Mapping[str, Decimal]) -> list[str]:
    problems = []
    for key, text in (limit.get("min") or {}).items():
        bound, start = parse(text), f"minimum {key} usage per {kind} is {text}"
        if key not in requests:
            problems.append(f"{start}.  No request is specified")
        elif requests[key] < bound:
            problems.append(f"{start}, but request is {_text(requests[key], text)}")
        elif key in limits and limits[key] < bound:
            problems.append(f"{start}, but limit is {_text(limits[key], text)}")
    for key, text in (limit.get("max") or {}).items():
        bound, start = parse(text), f"maximum {key} usage per {kind} is {text}"
        if key not in limits:
            problems.append(f"{start}.  No limit is specified")
        elif limits[key] > bound:
            problems.append(f"{start}, but limit is {_text(limits[key], text)}")
        elif key in requests and requests[key] > bound:
            problems.append(f"{start}, but request is {_text(requests[key], text)}")
    for key, text in (limit.get("maxLimitRequestRatio") or {}).items():
        start = f"{key} max limit to request ratio per {kind} is {text}, but"
        if not requests.get(key):
            problems.append(f"{start} no request is specified or request is 0")
        elif not limits.get(key):
            problems.append(f"{start} no limit is specified or limit is 0")
        elif limits[key] / requests[key] > parse(text):
            problems.append(f"{start} provided ratio is {limits[key] / requests[key]:.6f}")
    return problems


def _claim_problems(claim: Object, limit: Object) -> list[str]:
    requests = ((claim["spec"].get("resources") or {}).get("requests")) or {}
    problems = []
    for bound_field, word in (("min", "minimum"), ("max", "maximum")):
        for key, text in (limit.get(bound_field) or {}).items():
            start = f"{word} {key} usage per PersistentVolumeClaim is {text}"
            if key not in requests:
                problems.append(f"{start}.  No request is specified")
                continue
            asked, bound = parse(requests[key]), parse(text)
            if (asked < bound) if bound_field == "min" else (asked > bound):
                problems.append(f"{start}, but request is {requests[key]}")
    return problems


def _text(amount: Decimal, like: str) -> str:
    return quantity.format(amount, quantity.format_of(like))
