"""The persistent volume claims of a Pod."""

from __future__ import annotations

from typing import NamedTuple

from podwright.api import objects
from podwright.api.objects import Object


class PodClaim(NamedTuple):
    """`owned`: of a generic ephemeral volume, made for the Pod."""

    name: str
    owned: bool


def claims_of(pod: Object) -> list[PodClaim]:
    found = []
    for volume in (pod.get("spec") or {}).get("volumes") or ():
        if volume.get("persistentVolumeClaim"):
            found.append(PodClaim(str(volume["persistentVolumeClaim"].get("claimName") or ""), False))
        elif volume.get("ephemeral"):
            found.append(PodClaim(f"{objects.name(pod)}-{volume.get('name')}", True))
    return found


def is_claimed_by(pod: Object, claim: Object) -> bool:
    names = {c.name for c in claims_of(pod)}
    return objects.namespace(claim) == objects.namespace(pod) and objects.name(claim) in names


def class_of(claim: Object) -> str:
    """The storage class that a claim names; the annotation of old is looked at first."""
    old = objects.annotations(claim).get("volume.beta.kubernetes.io/storage-class")
    return str(old if old is not None else (claim.get("spec") or {}).get("storageClassName") or "")
