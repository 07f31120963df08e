"""Objects of one version of a kind as objects of another. Only what differs between versions is said; the rest of an
object, and its metadata, is the same."""

from __future__ import annotations

from collections.abc import Callable

from podwright.api.conversion import autoscaling, discovery, events, policy
from podwright.api.objects import Object
from podwright.api.resources import Resource

Converter = Callable[[str, str, Object], Object]
"""(source version, target version, object) → object. Versions are with the group: "autoscaling/v1"."""

_CONVERTERS: dict[tuple[str, str], Converter] = {
    ("autoscaling", "HorizontalPodAutoscaler"): autoscaling.horizontal_pod_autoscaler,
    ("", "Event"): events.event,
    ("events.k8s.io", "Event"): events.event,
    ("discovery.k8s.io", "EndpointSlice"): discovery.endpoint_slice,
    ("policy", "PodDisruptionBudget"): policy.pod_disruption_budget,
}


def convert(source: Resource, target: Resource, obj: Object) -> Object:
    """An object of the row `source` as one of the row `target`, a version of the same kind. `obj` is not changed; the
    result may share parts with it.

    Raises:
        ApiError: 400 if the object carries what cannot be read back (a broken round-trip annotation).
    """
    if source.api_version == target.api_version:
        return obj
    converter = _CONVERTERS.get((source.group, source.kind))
    converted = obj if converter is None else converter(source.api_version, target.api_version, obj)
    return {**converted, "apiVersion": target.api_version, "kind": target.kind}
