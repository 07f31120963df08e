"""Media types of object bodies beside JSON and YAML. A codec is registered once and then negotiated like the others."""

from __future__ import annotations

from typing import Protocol

from podwright.api.objects import Object
from podwright.api.resources import Resource
from podwright.apiserver.codecs.protobuf import ProtobufCodec


class Codec(Protocol):
    """One binary form. Both directions raise ValueError for what they cannot say; a kind the codec does not know
    (custom resources in protobuf) is refused with `handles`."""

    media_type: str
    watch_type: str
    """Content-Type of a watch, such as application/vnd.kubernetes.protobuf;stream=watch."""

    def handles(self, row: Resource | None) -> bool: ...

    def encode(self, obj: Object) -> bytes: ...

    def decode(self, data: bytes) -> Object: ...

    def frame(self, type: str, obj: Object) -> bytes:
        """One watch event, with its length prefix."""


_codecs: dict[str, Codec] = {codec.media_type: codec for codec in (ProtobufCodec(),)}


def find(media_type: str) -> Codec | None:
    return _codecs.get(media_type)


def media_types() -> list[str]:
    return list(_codecs)
