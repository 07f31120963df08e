"""The codec against bytes made by hand from the wire format, and against itself over every built-in kind."""

from __future__ import annotations

import base64
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podwright.api import schema
from podwright.api.protobuf import envelope, messages
from podwright.api.protobuf.special import CODECS
from podwright.api.protobuf.wire import Malformed, read_varint, signed, varint
from podwright.api.resources import TABLE, Resource

NOT_NUMBERED = {"runningInUserNamespace", "derivedAttributes", "compatibilityGroups"}
"""Fields of 1.37's schema that the public .proto files at hand do not number yet."""


def field(number: int, value: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(value)) + value


def test_a_config_map_by_hand() -> None:
    meta = field(1, b"n") + field(3, b"ns") + field(11, field(1, b"k") + field(2, b"v"))
    raw = field(1, meta) + field(2, field(1, b"a") + field(2, b"1"))
    wire = b"k8s\0" + field(1, field(1, b"v1") + field(2, b"ConfigMap")) + field(2, raw) + field(3, b"") + field(4, b"")
    obj = {
        "kind": "ConfigMap", "apiVersion": "v1", "data": {"a": "1"},
        "metadata": {"name": "n", "namespace": "ns", "labels": {"k": "v"}},
    }  # fmt: skip
    assert envelope.decode(wire) == obj
    metadata_first = {k: obj[k] for k in ("kind", "apiVersion", "metadata", "data")}
    assert envelope.encode(metadata_first) == wire


@pytest.mark.parametrize(
    ("message", "value", "wire"),
    [
        ("k8s.io.apimachinery.pkg.util.intstr.IntOrString", 80, b"\x08\x00\x10\x50\x1a\x00"),
        ("k8s.io.apimachinery.pkg.util.intstr.IntOrString", "http", b"\x08\x01\x10\x00\x1a\x04http"),
        ("k8s.io.apimachinery.pkg.api.resource.Quantity", "100m", b"\x0a\x04100m"),
        ("k8s.io.apimachinery.pkg.apis.meta.v1.Time", "1970-01-01T00:00:05Z", b"\x08\x05\x10\x00"),
        ("k8s.io.apimachinery.pkg.apis.meta.v1.FieldsV1", {"f:a": {}}, b'\x0a\x0a{"f:a":{}}'),
        ("k8s.io.api.core.v1.HTTPHeader", {"name": "a", "value": "b"}, b"\x0a\x01a\x12\x01b"),
    ],
)
def test_special_messages_by_hand(message: str, value: Any, wire: bytes) -> None:
    assert messages.encode(message, value) == wire
    assert messages.decode(message, wire) == value


def test_zero_values_are_told_apart_as_go_does() -> None:
    replicas = "k8s.io.api.apps.v1.DeploymentSpec"
    assert messages.decode(replicas, b"\x08\x00")["replicas"] == 0, "a pointer to zero is something"
    assert "minReadySeconds" not in messages.decode(replicas, b"\x28\x00"), "a plain zero is nothing"
    status = messages.decode("k8s.io.api.core.v1.ContainerStatus", field(1, b"c"))
    assert status["ready"] is False and status["restartCount"] == 0, "JSON always has these"


def sample(node: schema.Schema, depth: int = 0) -> Any:
    """A value with every field of the schema, a few levels deep."""
    kind = node.kind
    if kind == "object":
        if node.name.endswith("JSONSchemaProps") and depth > 8:
            return {"type": "string"}  # It contains itself.
        # The type of an object inside another is not on the wire: the field says it.
        typed = {"kind", "apiVersion"} if "metadata" in node.properties else set()
        fields = [k for k in node.properties if k not in typed and k not in NOT_NUMBERED]
        return {k: sample(node.properties[k], depth + 1) for k in fields}
    if kind == "array":
        return [sample(node.items, depth + 1)]
    if kind == "map":
        return {"key": sample(node.values, depth + 1)}
    if kind == "scalar":
        texts = {"date-time": "2026-01-02T03:04:05Z", "micro-date-time": "2026-01-02T03:04:05.000006Z", "byte": "eA=="}
        return {"string": texts.get(node.format, "text"), "integer": 7, "boolean": True, "number": 1.5}[node.type]
    return {"quantity": "5", "int_or_string": 80, "any": {"type": "object"}}[kind]


def round_trip(row: Resource) -> None:
    node = schema.for_resource(row)
    obj = {**sample(node), "kind": row.kind, "apiVersion": row.api_version}
    assert envelope.decode(envelope.encode(obj)) == obj


@pytest.mark.parametrize("row", TABLE, ids=lambda r: f"{r.api_version}.{r.kind}")
def test_every_kind_has_a_message_with_the_schemas_fields(row: Resource) -> None:
    message = envelope.message_of(row.api_version, row.kind)
    assert (message is not None) == row.protobuf
    if message is not None and not row.legacy:
        assert_same_fields(message, schema.for_resource(row), set())
        round_trip(row)


def assert_same_fields(message: str, node: schema.Schema, seen: set[str]) -> None:
    if message in seen or message in CODECS or node.kind != "object":
        return
    seen.add(message)
    wire = {}
    pending = [message]
    while pending:
        one = pending.pop()
        for _, name, kind, flags in messages._table(one)[one]:
            if "n" in flags:
                pending.append(kind[1:])
            else:
                wire[name] = (kind, flags)
    missing = set(node.properties) - set(wire) - {"kind", "apiVersion"} - NOT_NUMBERED
    assert not missing, f"{message} has no number for {missing}"
    for name, child in node.properties.items():
        kind, _ = wire.get(name, ("", ""))
        if child.kind == "array":
            child = child.items
        elif child.kind == "map":
            child = child.values
        name = kind.lstrip("M")
        if name.startswith("m"):
            assert_same_fields(name[1:], child, seen)


@given(st.integers(min_value=-(2**63), max_value=2**63 - 1))
def test_varints(value: int) -> None:
    wire = varint(value)
    assert (signed(read_varint(wire, 0, len(wire))[0]), read_varint(wire, 0, len(wire))[1]) == (value, len(wire))


@given(st.binary(max_size=200))
def test_nonsense_is_malformed_and_nothing_worse(data: bytes) -> None:
    for wire in (data, b"k8s\0" + data, envelope.wrap("v1", "Pod", data)):
        try:
            envelope.decode(wire)
        except (Malformed, envelope.NoSuchMessage):
            pass


def test_a_watch_frame_has_its_length_first() -> None:
    secret = {"kind": "Secret", "apiVersion": "v1", "data": {"a": base64.b64encode(b"\xff").decode()}}
    frame = envelope.watch_frame("ADDED", secret)
    (length,) = struct.unpack("!I", frame[:4])
    assert length == len(frame) - 4
    event = messages.decode("k8s.io.apimachinery.pkg.apis.meta.v1.WatchEvent", b"\x0a\x05ADDED")
    assert event == {"type": "ADDED"}
    assert frame[4:11] == b"\x0a\x05ADDED"
