"""The protobuf form of etcd's messages."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podwright.store.etcd_keys import Keys, end_of_prefix
from podwright.store.etcd_messages import (
    Compare,
    Event,
    KeyValue,
    PutRequest,
    RangeRequest,
    RequestOp,
    ResponseHeader,
    TxnRequest,
    WatchResponse,
    decode,
    encode,
)


def test_a_message_as_protoc_would_write_it() -> None:
    request = RangeRequest(key=b"a", range_end=b"b", limit=300, count_only=True)
    assert encode(request) == bytes.fromhex("0a0161 120162 18ac02 4801")
    assert decode(RangeRequest, encode(request)) == request


def test_nested_messages() -> None:
    request = TxnRequest([Compare(b"k", 5)], [RequestOp(put=PutRequest(b"k", b"v"))])
    assert encode(request) == bytes.fromhex("0a07 1002 1a016b 3005 1208 1206 0a016b 120176")
    assert decode(TxnRequest, encode(request)) == request


def test_an_empty_message_in_a_choice_is_written() -> None:
    assert encode(RequestOp(put=PutRequest())) == bytes.fromhex("1200")


def test_negative_numbers_and_unknown_fields() -> None:
    data = bytes.fromhex("10ffffffffffffffffff01 a03f05 ad3f00000000 a93f0000000000000000 b23f0161")
    assert decode(WatchResponse, data) == WatchResponse(watch_id=-1)


@given(st.lists(st.builds(KeyValue, st.binary(), st.integers(0, 2**63 - 1), st.binary())))
def test_what_is_written_is_read(kvs: list[KeyValue]) -> None:
    response = WatchResponse(ResponseHeader(1, 2**63 + 1 - 2**64, 3), -1, 1, events=[Event(1, kv, kv) for kv in kvs])
    assert decode(WatchResponse, encode(response)) == response


@given(st.binary(max_size=60))
def test_garbage_is_refused_or_read(data: bytes) -> None:
    try:
        decode(WatchResponse, data)
    except ValueError:
        pass


@pytest.mark.parametrize("data", ["0a05", "0a", "80", "0b"])
def test_what_is_cut_short_is_refused(data: str) -> None:
    with pytest.raises(ValueError, match="protobuf"):
        decode(RangeRequest, bytes.fromhex(data))


def test_the_end_of_a_prefix() -> None:
    assert end_of_prefix(b"/r/") == b"/r0"
    assert end_of_prefix(b"a\xff\xff") == b"b"
    assert end_of_prefix(b"\xff") == end_of_prefix(b"") == b"\0"


def test_keys_under_another_prefix() -> None:
    keys = Keys("/kubernetes.io")
    assert keys.encode("/registry/pods/a") == b"/kubernetes.io/pods/a"
    assert keys.decode(b"/kubernetes.io/pods/a") == "/registry/pods/a"
    assert keys.encode("") == keys.encode("/reg") == b"/kubernetes.io/"
    with pytest.raises(ValueError):
        keys.encode("/other")
    for wrong in ("registry", "/registry/", ""):
        with pytest.raises(ValueError):
            Keys(wrong)
