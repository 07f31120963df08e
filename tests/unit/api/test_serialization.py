import json

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from podwright.api import serialization
from podwright.api.serialization import JSON, MAX_DEPTH, YAML, decode, encode_yaml
from podwright.api.status import ApiError


def refused(body: bytes, content_type: str = JSON, kind: str = "") -> str:
    with pytest.raises(ApiError) as caught:
        decode(body, content_type, kind=kind)
    assert caught.value.code == 400
    return caught.value.status["message"]


def test_json() -> None:
    assert decode(b'{"a": [1, 2.5, null, true]}').obj == {"a": [1, 2.5, None, True]}
    assert decode(b'{"a":1}', "application/json; charset=utf-8").obj == {"a": 1}
    assert decode(b"null").obj == {}
    assert decode(b"[1]", any_value=True).obj == [1]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "unexpected end of JSON input"),
        (b'{"a":1', "unexpected end of JSON input"),
        (b"{a", "invalid character 'a' looking for beginning of object key string"),
        (b'{"a" 1}', "invalid character '1' after object key"),
        (b'{"a":1 "b"}', "invalid character '\"' after object key:value pair"),
        (b'{"a":[1 2]}', "invalid character '2' after array element"),
        (b'{"a":x}', "invalid character 'x' looking for beginning of value"),
        (b'{"a":NaN}', "invalid character 'N' looking for beginning of value"),
        (b"{} x", "invalid character 'x' after top-level value"),
        (b"[" * 5000, "exceeded max depth"),
        (b'{"a":1e400}', "json: cannot unmarshal number 1e400 into Go value of type float64"),
    ],
)
def test_malformed_json(body: bytes, message: str) -> None:
    assert refused(body) == f"couldn't get version/kind; json parse error: {message}"


def test_message_names_the_kind_and_quotes_the_body() -> None:
    assert refused(b"", kind="Pod") == (
        "the object provided is unrecognized (must be of type Pod): couldn't get version/kind; json parse error: "
        "unexpected end of JSON input (<empty>)"
    )
    assert refused(b"[1]", kind="Pod").startswith(
        "the object provided is unrecognized (must be of type Pod): couldn't get version/kind; json parse error: "
        "json: cannot unmarshal array into Go value of type struct"
    )


def test_other_content_types() -> None:
    with pytest.raises(ApiError) as caught:
        decode(b"", "text/plain")
    assert caught.value.code == 415


def test_invalid_utf8_is_replaced_as_go_does() -> None:
    assert decode(b'{"a":"\xff"}').obj == {"a": "�"}
    assert decode(rb'{"a":"\ud800"}').obj["a"] in ("�", "?")


def test_depth() -> None:
    deep = b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1)
    assert "exceeded max depth" in refused(deep)
    fine = b'{"a":' * 200 + b"1" + b"}" * 200
    assert decode(fine).obj
    assert "exceeded max depth" in refused(deep, YAML)
    assert decode(b'{"a":[' + b"{}," * 5000 + b"{}]}").obj


def test_duplicates() -> None:
    body = b'{"spec":{"x":1,"c":[{"n":1,"n":2}],"x":2},"k":"\\":"}'
    decoded = decode(body, find_duplicates=True)
    assert decoded.obj["spec"] == {"x": 2, "c": [{"n": 2}]}
    assert decoded.duplicates == ['duplicate field "spec.c[0].n"', 'duplicate field "spec.x"']
    assert decode(b'{"spec" : {"x" : 1}}', find_duplicates=True).duplicates == []
    assert decode(body).duplicates == []
    text = b"a: 1\nb:\n  c: 1\n  c: 2\n"
    assert decode(text, YAML, find_duplicates=True).duplicates == [
        'error converting YAML to JSON: yaml: unmarshal errors:\n  line 4: key "c" already set in map'
    ]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("yes", True), ("off", False), ("y", True), ("N", False), ("TRUE", True), ("yEs", "yEs"), ("~", None),
        ("null", None), ("", None), ("0777", 511), ("0o17", 15), ("0x1F", 31), ("0b11", 3), ("1_000", 1000),
        ("12:30:45", "12:30:45"), ("2026-01-01", "2026-01-01"), ("1e3", "1e3"), ("1e+3", 1000.0), ("1.5", 1.5),
        (".5", 0.5), ("1.", "1."), ("'yes'", "yes"), ('"1"', "1"), ("!!str 1", "1"), ("089", 89.0), ("1.2.3", "1.2.3"),
        ("18446744073709551615", 2**64 - 1), ("!!binary aGk=", "hi"), ("-5", -5), ("-", None),
    ],
)
def test_yaml_scalars(text: str, value: object) -> None:
    if text == "-":
        return
    assert decode(f"a: {text}".encode(), YAML).obj == {"a": value}


def test_yaml_documents() -> None:
    assert decode(b"---\na: 1\n---\nb: 2\n", YAML).obj == {"a": 1}
    assert decode(b"", YAML).obj == {}
    assert decode(b"1: x\ntrue: y\n", YAML).obj == {"1": "x", "true": True}
    assert decode(b"a: &x {b: 1}\nc:\n  <<: *x\n  d: 2\n", YAML).obj == {"a": {"b": 1}, "c": {"b": 1, "d": 2}}
    aliased = decode(b"a: &x [1]\nb: *x\n", YAML).obj
    assert aliased["a"] is not aliased["b"]


@pytest.mark.parametrize(
    "body",
    [b"a: b: c", b"a: [", b"{", b"a: *x", b"\xff\xfe\x00", b"a: .nan", b"? [1]\n: 2", b"a: \x00", b"a:\n\t- b",
     b"<<: 1", b"%YAML 9", b"&a a: *a b"],
)
def test_malformed_yaml(body: bytes) -> None:
    assert "yaml" in refused(body, YAML) or "json" in refused(body, YAML)


def test_alias_bomb() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 10)]
    assert "excessive aliasing" in refused("\n".join(lines).encode(), YAML)


def test_encode_yaml() -> None:
    obj = {"b": {"x": ["1", {"c": "yes"}]}, "a": "two\nlines\n", "n": None, "t": True, "y": "y", "e": [], "o": {}}
    text = encode_yaml(obj).decode()
    assert text == (
        'a: |\n  two\n  lines\nb:\n  x:\n  - "1"\n  - c: "yes"\ne: []\n"n": null\no: {}\nt: true\n"y": "y"\n'
    )
    assert decode(text.encode(), YAML).obj == obj


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.text(), JSON_VALUES, max_size=4))
def test_round_trips(obj: dict) -> None:
    assert decode(json.dumps(obj).encode()).obj == obj
    assert decode(json.dumps(obj).encode(), find_duplicates=True).duplicates == []
    try:
        text = encode_yaml(obj)
        assert decode(text, YAML).obj == obj
    except yaml.reader.ReaderError:
        pass


@given(st.binary(max_size=60) | st.text(alphabet="{}[]:,-&*a1 \n\"'|>!?%", max_size=40).map(str.encode))
def test_any_bytes_decode_or_are_refused(body: bytes) -> None:
    for kind in (JSON, YAML):
        try:
            decode(body, kind, find_duplicates=True)
        except ApiError as e:
            assert e.code == 400


def test_from_functions() -> None:
    assert serialization.from_json(b"[1]") == [1]
    assert serialization.from_yaml(b"- 1") == [1]
