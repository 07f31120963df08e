"""The stable identity of a StatefulSet's Pod: name, host name, labels and claims by its ordinal."""

from __future__ import annotations

import re
from collections.abc import Mapping

from podwright.api import objects
from podwright.api.objects import Object, deepcopy
from podwright.controllers import pods
from podwright.controllers.controller_revisions import HASH_LABEL

POD_NAME = "statefulset.kubernetes.io/pod-name"
POD_INDEX = "apps.kubernetes.io/pod-index"
_NAME = re.compile(r"(.*)-([0-9]+)")


def start_ordinal(owner: Object) -> int:
    return int((owner["spec"].get("ordinals") or {}).get("start") or 0)


def replicas(owner: Object) -> int:
    value = owner["spec"].get("replicas")
    return 1 if value is None else int(value)


def ordinal_of(owner: Object, pod: Object) -> int:
    """-1 if the Pod's name is not one of the set's."""
    match = _NAME.fullmatch(objects.name(pod))
    return int(match.group(2)) if match and match.group(1) == objects.name(owner) else -1


def in_range(owner: Object, ordinal: int) -> bool:
    return start_ordinal(owner) <= ordinal < start_ordinal(owner) + replicas(owner)


def claims(owner: Object, ordinal: int) -> dict[str, Object]:
    """The claims of the Pod, by the name of their template."""
    found: dict[str, Object] = {}
    for template in owner["spec"].get("volumeClaimTemplates") or ():
        claim = deepcopy(template)
        name = objects.name(template)
        meta = claim.setdefault("metadata", {})
        meta["name"] = f"{name}-{objects.name(owner)}-{ordinal}"
        meta["namespace"] = objects.namespace(owner)
        labels = (owner["spec"].get("selector") or {}).get("matchLabels") or {}
        meta["labels"] = {**(meta.get("labels") or {}), **labels}
        claim["apiVersion"], claim["kind"] = "v1", "PersistentVolumeClaim"
        claim.pop("status", None)
        found[name] = claim
    return found


def new_pod(owner: Object, template: Object, ordinal: int, hash_value: str) -> Object:
    name = f"{objects.name(owner)}-{ordinal}"
    pod = pods.from_template(template, owner, name=name)
    pod["metadata"]["labels"] = {**objects.labels(pod), HASH_LABEL: hash_value}
    stamp_identity(owner, pod, ordinal)
    pod["spec"]["hostname"] = name
    if owner["spec"].get("serviceName"):
        pod["spec"]["subdomain"] = owner["spec"]["serviceName"]
    stamp_storage(owner, pod, ordinal)
    return pod


def stamp_identity(owner: Object, pod: Object, ordinal: int) -> None:
    name = f"{objects.name(owner)}-{ordinal}"
    pod["metadata"]["labels"] = {**objects.labels(pod), POD_NAME: name, POD_INDEX: str(ordinal)}


def stamp_storage(owner: Object, pod: Object, ordinal: int) -> None:
    wanted = claims(owner, ordinal)
    kept = [v for v in pod["spec"].get("volumes") or () if v.get("name") not in wanted]
    made = [
        {"name": name, "persistentVolumeClaim": {"claimName": objects.name(claim)}} for name, claim in wanted.items()
    ]
    if made or kept:
        pod["spec"]["volumes"] = [*made, *kept]


def matches_identity(owner: Object, pod: Object) -> bool:
    labels = objects.labels(pod)
    return labels.get(POD_NAME) == objects.name(pod) and labels.get(POD_INDEX) == str(ordinal_of(owner, pod))


def retention(owner: Object) -> Mapping[str, str]:
    policy = owner["spec"].get("persistentVolumeClaimRetentionPolicy") or {}
    return {"whenDeleted": policy.get("whenDeleted", "Retain"), "whenScaled": policy.get("whenScaled", "Retain")}


def claim_owners(owner: Object, pod: Object | None, claim: Object, *, condemned: bool) -> list[Object]:
    """The claim's ownerReferences as the retention policy wants them: whenDeleted ties it to the set, whenScaled ties
    that of a Pod which is scaled away to the Pod."""
    mine = {objects.uid(owner)} | ({objects.uid(pod)} if pod is not None else set())
    refs = [
        r for r in claim["metadata"].get("ownerReferences") or ()
        if r.get("uid") not in mine and not (r.get("kind") == "Pod" and r.get("name") == _pod_of(owner, claim))
    ]  # fmt: skip
    policy = retention(owner)
    if condemned and policy["whenScaled"] == "Delete" and pod is not None:
        refs.append(_reference(pod, "v1", "Pod"))
    elif policy["whenDeleted"] == "Delete":
        refs.append(_reference(owner, "apps/v1", "StatefulSet"))
    return refs


def _pod_of(owner: Object, claim: Object) -> str:
    return f"{objects.name(owner)}-{objects.name(claim).rpartition('-')[2]}"


def _reference(obj: Object, api_version: str, kind: str) -> Object:
    return {"apiVersion": api_version, "kind": kind, "name": objects.name(obj), "uid": objects.uid(obj),
            "controller": kind == "StatefulSet"}  # fmt: skip
