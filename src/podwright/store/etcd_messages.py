"""The messages of etcd's v3 gRPC API that a store needs, and their protobuf form.

Field numbers as in etcd's api/etcdserverpb/rpc.proto and api/mvccpb/kv.proto. Fields that we neither send nor read are
left out: protobuf skips what it does not know. A handful of messages by hand costs less than a protobuf runtime and
generated code would.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any, ClassVar, TypeVar

from grpclib.encoding.base import CodecBase


class Kind(Enum):
    """How a field is written."""

    INT = auto()
    BYTES = auto()
    TEXT = auto()


@dataclass(frozen=True, slots=True)
class Field:
    """`number` on the wire, `name` of the attribute. `kind` is a Kind or the class of a message."""

    number: int
    name: str
    kind: Kind | type[Message]
    repeated: bool = False


class Message:
    """Base of the messages. A field that has its default is not written."""

    __slots__ = ()
    FIELDS: ClassVar[tuple[Field, ...]] = ()


_M = TypeVar("_M", bound=Message)


@dataclass(slots=True)
class KeyValue(Message):
    key: bytes = b""
    mod_revision: int = 0
    value: bytes = b""
    FIELDS = (Field(1, "key", Kind.BYTES), Field(3, "mod_revision", Kind.INT), Field(5, "value", Kind.BYTES))


@dataclass(slots=True)
class ResponseHeader(Message):
    cluster_id: int = 0
    member_id: int = 0
    revision: int = 0
    FIELDS = (Field(1, "cluster_id", Kind.INT), Field(2, "member_id", Kind.INT), Field(3, "revision", Kind.INT))


@dataclass(slots=True)
class RangeRequest(Message):
    key: bytes = b""
    range_end: bytes = b""
    limit: int = 0
    revision: int = 0
    count_only: bool = False
    FIELDS = (
        Field(1, "key", Kind.BYTES), Field(2, "range_end", Kind.BYTES), Field(3, "limit", Kind.INT),
        Field(4, "revision", Kind.INT), Field(9, "count_only", Kind.INT),
    )


@dataclass(slots=True)
class RangeResponse(Message):
    header: ResponseHeader = field(default_factory=ResponseHeader)
    kvs: list[KeyValue] = field(default_factory=list)
    more: int = 0
    count: int = 0
    FIELDS = (
        Field(1, "header", ResponseHeader), Field(2, "kvs", KeyValue, repeated=True), Field(3, "more", Kind.INT),
        Field(4, "count", Kind.INT),
    )


@dataclass(slots=True)
class PutRequest(Message):
    key: bytes = b""
    value: bytes = b""
    FIELDS = (Field(1, "key", Kind.BYTES), Field(2, "value", Kind.BYTES))


@dataclass(slots=True)
class DeleteRangeRequest(Message):
    key: bytes = b""
    prev_kv: bool = False
    FIELDS = (Field(1, "key", Kind.BYTES), Field(3, "prev_kv", Kind.INT))


@dataclass(slots=True)
class DeleteRangeResponse(Message):
    header: ResponseHeader = field(default_factory=ResponseHeader)
    deleted: int = 0
    prev_kvs: list[KeyValue] = field(default_factory=list)
    FIELDS = (
        Field(1, "header", ResponseHeader), Field(2, "deleted", Kind.INT),
        Field(3, "prev_kvs", KeyValue, repeated=True),
    )


@dataclass(slots=True)
class RequestOp(Message):
    """One of the three."""

    range: RangeRequest | None = None
    put: PutRequest | None = None
    delete_range: DeleteRangeRequest | None = None
    FIELDS = (
        Field(1, "range", RangeRequest), Field(2, "put", PutRequest), Field(3, "delete_range", DeleteRangeRequest),
    )


@dataclass(slots=True)
class ResponseOp(Message):
    """One of the two that we read."""

    range: RangeResponse | None = None
    delete_range: DeleteRangeResponse | None = None
    FIELDS = (Field(1, "range", RangeResponse), Field(3, "delete_range", DeleteRangeResponse))


COMPARE_EQUAL = 0
COMPARE_MOD_REVISION = 2


@dataclass(slots=True)
class Compare(Message):
    """Holds if the key was last written at `mod_revision`; 0 if it must not exist."""

    key: bytes = b""
    mod_revision: int = 0
    result: int = COMPARE_EQUAL
    target: int = COMPARE_MOD_REVISION
    FIELDS = (
        Field(1, "result", Kind.INT), Field(2, "target", Kind.INT), Field(3, "key", Kind.BYTES),
        Field(6, "mod_revision", Kind.INT),
    )


@dataclass(slots=True)
class TxnRequest(Message):
    compare: list[Compare] = field(default_factory=list)
    success: list[RequestOp] = field(default_factory=list)
    failure: list[RequestOp] = field(default_factory=list)
    FIELDS = (
        Field(1, "compare", Compare, repeated=True), Field(2, "success", RequestOp, repeated=True),
        Field(3, "failure", RequestOp, repeated=True),
    )


@dataclass(slots=True)
class TxnResponse(Message):
    header: ResponseHeader = field(default_factory=ResponseHeader)
    succeeded: int = 0
    responses: list[ResponseOp] = field(default_factory=list)
    FIELDS = (
        Field(1, "header", ResponseHeader), Field(2, "succeeded", Kind.INT),
        Field(3, "responses", ResponseOp, repeated=True),
    )


@dataclass(slots=True)
class CompactionRequest(Message):
    revision: int = 0
    FIELDS = (Field(1, "revision", Kind.INT),)


@dataclass(slots=True)
class CompactionResponse(Message):
    header: ResponseHeader = field(default_factory=ResponseHeader)
    FIELDS = (Field(1, "header", ResponseHeader),)


@dataclass(slots=True)
class WatchCreateRequest(Message):
    key: bytes = b""
    range_end: bytes = b""
    start_revision: int = 0
    progress_notify: bool = False
    prev_kv: bool = False
    FIELDS = (
        Field(1, "key", Kind.BYTES), Field(2, "range_end", Kind.BYTES), Field(3, "start_revision", Kind.INT),
        Field(4, "progress_notify", Kind.INT), Field(6, "prev_kv", Kind.INT),
    )


@dataclass(slots=True)
class WatchRequest(Message):
    create_request: WatchCreateRequest | None = None
    FIELDS = (Field(1, "create_request", WatchCreateRequest),)


EVENT_DELETE = 1


@dataclass(slots=True)
class Event(Message):
    type: int = 0
    kv: KeyValue = field(default_factory=KeyValue)
    prev_kv: KeyValue | None = None
    FIELDS = (Field(1, "type", Kind.INT), Field(2, "kv", KeyValue), Field(3, "prev_kv", KeyValue))


@dataclass(slots=True)
class WatchResponse(Message):
    header: ResponseHeader = field(default_factory=ResponseHeader)
    watch_id: int = 0
    created: int = 0
    canceled: int = 0
    compact_revision: int = 0
    cancel_reason: str = ""
    events: list[Event] = field(default_factory=list)
    FIELDS = (
        Field(1, "header", ResponseHeader), Field(2, "watch_id", Kind.INT), Field(3, "created", Kind.INT),
        Field(4, "canceled", Kind.INT), Field(5, "compact_revision", Kind.INT), Field(6, "cancel_reason", Kind.TEXT),
        Field(11, "events", Event, repeated=True),
    )


@dataclass(slots=True)
class StatusRequest(Message):
    FIELDS = ()


@dataclass(slots=True)
class StatusResponse(Message):
    header: ResponseHeader = field(default_factory=ResponseHeader)
    version: str = ""
    db_size: int = 0
    leader: int = 0
    FIELDS = (
        Field(1, "header", ResponseHeader), Field(2, "version", Kind.TEXT), Field(3, "db_size", Kind.INT),
        Field(4, "leader", Kind.INT),
    )


def encode(message: Message) -> bytes:
    """The protobuf form."""
    out = bytearray()
    for at in message.FIELDS:
        value = getattr(message, at.name)
        if at.kind is Kind.INT:
            if value:
                _put_varint(out, at.number << 3)
                _put_varint(out, int(value) & 0xFFFFFFFFFFFFFFFF)
            continue
        for item in value if at.repeated else (value,):
            if isinstance(item, Message):
                content = encode(item)
            elif item:
                content = item.encode() if at.kind is Kind.TEXT else item
            else:
                continue
            _put_varint(out, at.number << 3 | 2)
            _put_varint(out, len(content))
            out += content
    return bytes(out)


def _put_varint(out: bytearray, number: int) -> None:
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)


def decode(kind: type[_M], data: bytes, at: int = 0, end: int | None = None) -> _M:
    """Reads a message of that class. Raises ValueError on what is no protobuf."""
    message = kind()
    fields = _by_number(kind)
    end = len(data) if end is None else end
    while at < end:
        tag, at = _varint(data, at)
        wire, known = tag & 7, fields.get(tag >> 3)
        if wire == 0:
            number, at = _varint(data, at)
            if known is not None:
                setattr(message, known.name, number - (1 << 64) if number >> 63 else number)
            continue
        if wire == 2:
            size, at = _varint(data, at)
        elif wire in (1, 5):
            size, known = (8 if wire == 1 else 4), None
        else:
            raise ValueError(f"protobuf: wire type {wire}")
        if at + size > end:
            raise ValueError("protobuf: cut short")
        if known is not None:
            _set(message, known, data, at, at + size)
        at += size
    return message


def _set(message: Message, known: Field, data: bytes, at: int, end: int) -> None:
    value: object
    if known.kind is Kind.BYTES:
        value = data[at:end]
    elif known.kind is Kind.TEXT:
        value = data[at:end].decode()
    elif isinstance(known.kind, Kind):
        raise ValueError(f"protobuf: {known.name} is not a number")
    else:
        value = decode(known.kind, data, at, end)
    if known.repeated:
        getattr(message, known.name).append(value)
    else:
        setattr(message, known.name, value)


_FIELDS_BY_NUMBER: dict[type[Message], dict[int, Field]] = {}


def _by_number(kind: type[Message]) -> dict[int, Field]:
    fields = _FIELDS_BY_NUMBER.get(kind)
    if fields is None:
        fields = _FIELDS_BY_NUMBER[kind] = {at.number: at for at in kind.FIELDS}
    return fields


def _varint(data: bytes, at: int) -> tuple[int, int]:
    try:
        byte = data[at]
        if byte < 0x80:
            return byte, at + 1
        number, shift = byte & 0x7F, 7
        while True:
            at += 1
            byte = data[at]
            number |= (byte & 0x7F) << shift
            if byte < 0x80:
                return number, at + 1
            shift += 7
    except IndexError:
        raise ValueError("protobuf: cut short") from None


class Codec(CodecBase):
    """For grpclib."""

    __content_subtype__ = "proto"

    def encode(self, message: Any, message_type: Any) -> bytes:
        return encode(message)

    def decode(self, data: bytes, message_type: type[_M]) -> _M:
        return decode(message_type, data)
