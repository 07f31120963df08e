"""Protobuf as a negotiated media type, for every built-in kind."""

from __future__ import annotations

from podwright.api.objects import Object
from podwright.api.protobuf import envelope
from podwright.api.resources import Resource


class ProtobufCodec:
    media_type = envelope.MEDIA_TYPE
    watch_type = envelope.WATCH_TYPE

    def handles(self, row: Resource | None) -> bool:
        return row is None or row.protobuf

    def encode(self, obj: Object) -> bytes:
        return envelope.encode(obj)

    def decode(self, data: bytes) -> Object:
        return envelope.decode(data)

    def frame(self, type: str, obj: Object) -> bytes:
        return envelope.watch_frame(type, obj)
