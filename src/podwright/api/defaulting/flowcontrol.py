"""Defaults of the flowcontrol.apiserver.k8s.io group."""

from __future__ import annotations

from podwright.api.objects import Object

GROUP = "flowcontrol.apiserver.k8s.io"


def flow_schema(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    if not spec.get("matchingPrecedence"):
        spec["matchingPrecedence"] = 1000


def priority_level(obj: Object) -> None:
    spec = obj.get("spec") or {}
    if (exempt := spec.get("exempt")) is not None:
        exempt.setdefault("nominalConcurrencyShares", 0)
        exempt.setdefault("lendablePercent", 0)
    if (limited := spec.get("limited")) is not None:
        limited.setdefault("nominalConcurrencyShares", 30)
        limited.setdefault("lendablePercent", 0)
        queuing = (limited.get("limitResponse") or {}).get("queuing")
        if queuing is not None:
            for name, value in (("handSize", 8), ("queues", 64), ("queueLengthLimit", 50)):
                if not queuing.get(name):
                    queuing[name] = value


DEFAULTERS = {(GROUP, "", "FlowSchema"): flow_schema, (GROUP, "", "PriorityLevelConfiguration"): priority_level}
