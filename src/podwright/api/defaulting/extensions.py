"""Defaults of CustomResourceDefinitions and APIServices."""

from __future__ import annotations

from podwright.api.objects import Object


def custom_resource_definition(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    names(spec.get("names"))
    conversion = spec.get("conversion")
    if conversion is None:
        spec["conversion"] = {"strategy": "None"}
    else:
        service = ((conversion.get("webhook") or {}).get("clientConfig") or {}).get("service")
        if service is not None:
            service.setdefault("port", 443)


def names(names: Object | None) -> None:
    """The singular is the kind in lower case, the list kind the kind with "List"."""
    if names is None:
        return
    kind = names.get("kind") or ""
    if kind and not names.get("singular"):
        names["singular"] = kind.lower()
    if kind and not names.get("listKind"):
        names["listKind"] = kind + "List"


def api_service(obj: Object) -> None:
    service = (obj.get("spec") or {}).get("service")
    if service is not None:
        service.setdefault("port", 443)


DEFAULTERS = {
    ("apiextensions.k8s.io", "", "CustomResourceDefinition"): custom_resource_definition,
    ("apiregistration.k8s.io", "", "APIService"): api_service,
}
