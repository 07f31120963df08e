"""Which volume suits a claim: the smallest that is large enough and has all that the claim asks for."""

from __future__ import annotations

from collections.abc import Iterable

from podwright.api import objects, quantity
from podwright.api.objects import Object
from podwright.controllers import selection

BETA_CLASS = "volume.beta.kubernetes.io/storage-class"
DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"
BIND_COMPLETED = "pv.kubernetes.io/bind-completed"
BOUND_BY_CONTROLLER = "pv.kubernetes.io/bound-by-controller"
PROVISIONED_BY = "pv.kubernetes.io/provisioned-by"
PROVISIONER = "volume.kubernetes.io/storage-provisioner"
BETA_PROVISIONER = "volume.beta.kubernetes.io/storage-provisioner"
SELECTED_NODE = "volume.kubernetes.io/selected-node"
LOCAL_PATH = "podwright.io/local-path"


def class_of(obj: Object) -> str:
    """Of a claim or a volume; "" for none."""
    annotated = objects.annotations(obj).get(BETA_CLASS)
    return annotated if annotated is not None else str((obj.get("spec") or {}).get("storageClassName") or "")


def requested(claim: Object) -> int:
    return quantity.value(((claim["spec"].get("resources") or {}).get("requests") or {}).get("storage", "0"))


def capacity(volume: Object) -> int:
    return quantity.value((volume["spec"].get("capacity") or {}).get("storage", "0"))


def mode(obj: Object) -> str:
    return str((obj.get("spec") or {}).get("volumeMode") or "Filesystem")


def is_claimed_by(volume: Object, claim: Object) -> bool:
    """Its claimRef names this very claim, or this name with no uid yet (pre-bound)."""
    ref = (volume.get("spec") or {}).get("claimRef")
    if not ref or ref.get("name") != objects.name(claim) or ref.get("namespace") != objects.namespace(claim):
        return False
    return not ref.get("uid") or ref["uid"] == objects.uid(claim)


def mismatch(volume: Object, claim: Object) -> str:
    """Why the volume cannot be the claim's, "" if it can."""
    if capacity(volume) < requested(claim):
        return "requested PV is too small"
    if class_of(volume) != class_of(claim):
        return "storageClassName does not match"
    if mode(volume) != mode(claim):
        return "incompatible volumeMode"
    if not set(claim["spec"].get("accessModes") or ()) <= set(volume["spec"].get("accessModes") or ()):
        return "incompatible accessMode"
    wanted, has = (o["spec"].get("volumeAttributesClassName") or "" for o in (claim, volume))
    if wanted != has:
        return "volumeAttributesClassName does not match"
    return ""


def best(volumes: Iterable[Object], claim: Object) -> Object | None:
    """A volume reserved for the claim wins; else the smallest free one, of equals the first by name."""
    selector = claim["spec"].get("selector")
    matches = selection.from_label_selector(selector) if selector is not None else selection.everything
    chosen: Object | None = None
    for volume in sorted(volumes, key=objects.name):
        if objects.is_deleting(volume) or mismatch(volume, claim):
            continue
        if (volume["spec"].get("claimRef")) is not None:
            if is_claimed_by(volume, claim):
                return volume
            continue
        if (volume.get("status") or {}).get("phase") not in (None, "", "Pending", "Available"):
            continue
        if matches(objects.labels(volume)) and (chosen is None or capacity(volume) < capacity(chosen)):
            chosen = volume
    return chosen
