"""Whole objects: Kubernetes' envelope (four magic bytes and runtime.Unknown) around a kind's message."""

from __future__ import annotations

import struct
from functools import cache

from podwright.api.objects import Object
from podwright.api.protobuf import messages
from podwright.api.protobuf.special import scalars
from podwright.api.protobuf.wire import BYTES, Malformed, key, varint

MAGIC = b"k8s\0"
MEDIA_TYPE = "application/vnd.kubernetes.protobuf"
WATCH_TYPE = MEDIA_TYPE + ";stream=watch"
_META = "k8s.io.apimachinery.pkg.apis.meta.v1"
_META_KINDS = frozenset(
    """
    Status DeleteOptions CreateOptions UpdateOptions PatchOptions ListOptions GetOptions APIVersions APIGroup
    APIGroupList APIResourceList PartialObjectMetadata PartialObjectMetadataList List
    """.split()  # noqa: SIM905
)
_PACKAGES = {
    "apiextensions.k8s.io": "k8s.io.apiextensions_apiserver.pkg.apis.apiextensions",
    "apiregistration.k8s.io": "k8s.io.kube_aggregator.pkg.apis.apiregistration",
}


class NoSuchMessage(ValueError):
    """The kind has no protobuf form (a custom resource, a Table)."""


@cache
def message_of(api_version: str, kind: str) -> str | None:
    """The message of a kind, or None if it has none."""
    group, _, version = api_version.rpartition("/")
    candidates = []
    if kind in _META_KINDS:
        candidates.append(f"{_META}.{kind}")
    package = _PACKAGES.get(group) or f"k8s.io.api.{group.split('.')[0] or 'core'}"
    candidates.append(f"{package}.{version}.{kind}")
    return next((c for c in candidates if messages.known(c)), None)


def encode(obj: Object) -> bytes:
    """The object in its envelope. Raises NoSuchMessage, ValueError."""
    api_version, kind = obj.get("apiVersion") or "", obj.get("kind") or ""
    message = message_of(api_version, kind)
    if message is None:
        raise NoSuchMessage(f"{api_version} {kind} has no protobuf form")
    return wrap(api_version, kind, messages.encode(message, obj))


def wrap(api_version: str, kind: str, raw: bytes) -> bytes:
    types = _bytes(1, api_version.encode()) + _bytes(2, kind.encode())
    return MAGIC + _bytes(1, types) + _bytes(2, raw) + _bytes(3, b"") + _bytes(4, b"")


def decode(data: bytes) -> Object:
    """The object of an envelope, with apiVersion and kind. Raises NoSuchMessage, Malformed."""
    if not data.startswith(MAGIC):
        raise Malformed("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]")
    outer = scalars(data[len(MAGIC) :])
    types = outer.get(1, b"")
    raw = outer.get(2, b"")
    if not isinstance(types, bytes) or not isinstance(raw, bytes):
        raise Malformed("wrong wireType in the envelope")
    names = scalars(types)
    api_version, kind = (v.decode() if isinstance(v := names.get(n, b""), bytes) else "" for n in (1, 2))
    message = message_of(api_version, kind)
    if message is None:
        raise NoSuchMessage(f'no kind "{kind}" is registered for version "{api_version}"')
    obj = messages.decode(message, raw)
    return {"kind": kind, "apiVersion": api_version, **obj}


def watch_frame(event_type: str, obj: Object) -> bytes:
    """One event of a watch: four bytes of length, then a WatchEvent whose object is in an envelope of its own."""
    body = _bytes(1, event_type.encode()) + _bytes(2, _bytes(1, encode(obj)))
    return struct.pack("!I", len(body)) + body


def _bytes(number: int, value: bytes) -> bytes:
    return key(number, BYTES) + varint(len(value)) + value
