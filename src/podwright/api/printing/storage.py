"""The rows of the storage.k8s.io group."""

from __future__ import annotations

from podwright.api.objects import Object
from podwright.api.printing.tables import (
    AGE,
    NAME,
    Cells,
    Column,
    Printer,
    Printers,
    age,
    boolean,
    integer,
    meta,
    name,
    spec,
    status,
    text,
)

_DEFAULTS = ("storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class")
_DEFAULT_ATTRIBUTES = ("volumeattributesclass.alpha.kubernetes.io/is-default-class",)


def _class_name(obj: Object, marks: tuple[str, ...]) -> str:
    annotations = meta(obj).get("annotations") or {}
    return name(obj) + (" (default)" if any(annotations.get(mark) == "true" for mark in marks) else "")


def _storage_class(obj: Object, now: float) -> Cells:
    return [
        _class_name(obj, _DEFAULTS), obj.get("provisioner") or "",
        obj.get("reclaimPolicy") or "Delete", obj.get("volumeBindingMode") or "Immediate",
        bool(obj.get("allowVolumeExpansion")), age(obj, now),
    ]


def _attributes_class(obj: Object, now: float) -> Cells:
    return [_class_name(obj, _DEFAULT_ATTRIBUTES), obj.get("driverName") or "", age(obj, now)]


def _attachment(obj: Object, now: float) -> Cells:
    attachment = spec(obj)
    return [
        name(obj),
        attachment.get("attacher") or "",
        (attachment.get("source") or {}).get("persistentVolumeName") or "",
        attachment.get("nodeName") or "",
        bool(status(obj).get("attached")),
        age(obj, now),
    ]


def _node(obj: Object, now: float) -> Cells:
    return [name(obj), len(spec(obj).get("drivers") or ()), age(obj, now)]


def _driver(obj: Object, now: float) -> Cells:
    driver = spec(obj)
    tokens = driver.get("tokenRequests")
    return [
        name(obj),
        driver.get("attachRequired") is not False,
        bool(driver.get("podInfoOnMount")),
        bool(driver.get("storageCapacity")),
        "<unset>" if tokens is None else ",".join(t.get("audience") or "" for t in tokens),
        bool(driver.get("requiresRepublish")),
        ",".join(driver.get("volumeLifecycleModes") or ()) or "<none>",
        age(obj, now),
    ]


def _capacity(obj: Object, _now: float) -> Cells:
    capacity = obj.get("capacity")
    return [name(obj), obj.get("storageClassName") or "", "<unset>" if capacity is None else capacity]


_GROUP = "storage.k8s.io"
PRINTERS: Printers = {
    (_GROUP, "CSIDriver"): Printer(
        (
            NAME, boolean("AttachRequired"), boolean("PodInfoOnMount"), boolean("StorageCapacity"),
            *text("TokenRequests"), boolean("RequiresRepublish"), *text("Modes"), AGE,
        ),
        _driver,
    ),
    (_GROUP, "CSINode"): Printer((NAME, integer("Drivers"), AGE), _node),
    (_GROUP, "CSIStorageCapacity"): Printer((NAME, *text("StorageClassName", "Capacity")), _capacity),
    (_GROUP, "StorageClass"): Printer(
        (NAME, *text("Provisioner", "ReclaimPolicy", "VolumeBindingMode", "AllowVolumeExpansion"), AGE), _storage_class
    ),
    (_GROUP, "VolumeAttachment"): Printer(
        (NAME, Column("Attacher", format="name"), *text("PV", "Node"), boolean("Attached"), AGE), _attachment
    ),
    (_GROUP, "VolumeAttributesClass"): Printer((NAME, *text("DriverName"), AGE), _attributes_class),
}
