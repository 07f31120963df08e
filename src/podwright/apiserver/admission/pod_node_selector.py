"""PodNodeSelector: the Pods of a namespace run on the nodes that are for it."""

from __future__ import annotations

from collections.abc import Mapping

from podwright.api import objects
from podwright.api.resources import NAMESPACES
from podwright.api.status import internal, not_found
from podwright.api.validation import names
from podwright.apiserver import config_files
from podwright.apiserver.admission.chain import PodPlugin
from podwright.apiserver.admission.configuration import Settings
from podwright.apiserver.admission.refusals import forbidden
from podwright.apiserver.requests import AdmissionRequest, Objects

ANNOTATION = "scheduler.alpha.kubernetes.io/node-selector"
_DEFAULT = "clusterDefaultNodeSelector"
_KEY = "podNodeSelectorPluginConfig"


def _selector(text: str) -> dict[str, str]:
    """Of "key=value,key=value". Raises ValueError."""
    found: dict[str, str] = {}
    for term in filter(None, (part.strip() for part in text.split(","))):
        key, equals, value = (part.strip() for part in term.partition("="))
        if not equals:
            raise ValueError(f"invalid selector: {text}")
        if problems := (*names.qualified_name(key), *names.label_value(value)):
            raise ValueError("; ".join(problems))
        found[key] = value
    return found


def selectors_of(settings: Settings) -> Mapping[str, Mapping[str, str]]:
    """By namespace what Pods may ask for, and the default. Raises OSError, ValueError."""
    given = (settings.of("PodNodeSelector", {}, {_KEY: None}) or {}).get(_KEY) or {}
    config_files.check(settings.path, given, dict.fromkeys(given, str))
    return {name: _selector(text or "") for name, text in given.items()}


class PodNodeSelector(PodPlugin):
    name = "PodNodeSelector"
    operations = ("CREATE",)

    def __init__(self, cache: Objects, selectors: Mapping[str, Mapping[str, str]]) -> None:
        self._objects = cache
        self._selectors = selectors

    async def admit(self, request: AdmissionRequest) -> None:
        if request.object is None:
            return
        wanted, spec = self._wanted(request), request.object["spec"]
        if merged := {**wanted, **(spec.get("nodeSelector") or {})}:
            spec["nodeSelector"] = merged
        await self.validate(request)

    async def validate(self, request: AdmissionRequest) -> None:
        own = ((request.object or {}).get("spec") or {}).get("nodeSelector") or {}
        if any(own.get(key, value) != value for key, value in self._wanted(request).items()):
            raise forbidden(request, "pod node label selector conflicts with its namespace node label selector")
        allowed = self._selectors.get(request.namespace)
        if allowed and any(allowed.get(key) != value for key, value in own.items()):
            raise forbidden(request, "pod node label selector labels conflict with its namespace whitelist")

    def _wanted(self, request: AdmissionRequest) -> Mapping[str, str]:
        namespace = self._objects.get(NAMESPACES, "", request.namespace)
        if namespace is None:
            raise not_found("", "namespaces", request.namespace)
        said = objects.annotations(namespace).get(ANNOTATION)
        if said is None:
            return self._selectors.get(_DEFAULT, {})
        try:
            return _selector(said)
        except ValueError as wrong:
            raise internal(str(wrong)) from None
