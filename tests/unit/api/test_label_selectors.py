import pytest
from hypothesis import given
from hypothesis import strategies as st

from podwright.api.selectors import labels
from podwright.api.selectors.labels import InvalidSelector, parse
from podwright.api.status import ApiError


@pytest.mark.parametrize(
    ("text", "match", "miss"),
    [
        ("", {}, None),
        ("a=b", {"a": "b"}, {"a": "c"}),
        ("a==b", {"a": "b", "x": "y"}, {}),
        ("a!=b", {}, {"a": "b"}),
        ("a in (x, y)", {"a": "y"}, {"a": "z"}),
        ("a notin (x,y)", {"b": "x"}, {"a": "x"}),
        ("a", {"a": ""}, {"b": ""}),
        ("!a", {"b": ""}, {"a": ""}),
        ("a=", {"a": ""}, {"a": "x"}),
        ("a in ()", {"a": ""}, {"a": "x"}),
        ("a in (,b)", {"a": ""}, {"a": "x"}),
        ("a>5", {"a": "6"}, {"a": "5"}),
        ("a<5", {"a": "-1"}, {"a": "x"}),
        ("in=notin", {"in": "notin"}, {"in": "x"}),
        ("example.com/a = b , c", {"example.com/a": "b", "c": "1"}, {"c": "1"}),
    ],
)
def test_text(text: str, match: dict, miss: dict | None) -> None:
    selector = parse(text)
    assert selector.matches(match)
    assert miss is None or not selector.matches(miss)
    assert parse(str(selector)) == selector or "()" in str(selector)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a=b,,", "found ',', expected: identifier after ','"),
        (",", "found ',', expected: !, identifier, or 'end of string'"),
        ("a b", "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"),
        ("a in x", "unable to parse requirement: found 'x' expected: '('"),
        ("a in (x", "unable to parse requirement: found '', expected: ',' or ')'"),
        ("a in (x y)", "unable to parse requirement: found 'y', expected: ',' or ')'"),
        ("a=(", "unable to parse requirement: found '(', expected: identifier"),
        ("a=b c", "found 'c', expected: ',' or 'end of string'"),
        ("!", "unable to parse requirement: found '', expected: identifier"),
        ("a>x", "unable to parse requirement: values[0]: Invalid value: \"x\": for 'Gt', 'Lt' operators, the value "
                "must be an integer"),
    ],
)
def test_messages(text: str, message: str) -> None:
    with pytest.raises(InvalidSelector) as caught:
        parse(text)
    assert caught.value.status["message"] == message
    assert caught.value.code == 400


def test_keys_and_values_must_be_labels() -> None:
    with pytest.raises(ApiError, match=r"^unable to parse requirement: <nil>: Invalid value: \"-a\": name part must"):
        parse("-a=b")
    with pytest.raises(ApiError, match=r"^unable to parse requirement: values\[0\]\[a\]: Invalid value: \"-b\""):
        parse("a=-b")


def test_objects() -> None:
    assert not labels.from_label_selector(None).matches({})
    assert labels.from_label_selector({}).matches({"a": "b"})
    selector = labels.from_label_selector({
        "matchLabels": {"a": "b"},
        "matchExpressions": [{"key": "c", "operator": "NotIn", "values": ["x"]}, {"key": "d", "operator": "Exists"}],
    })
    assert selector.matches({"a": "b", "d": ""})
    assert not selector.matches({"a": "b", "c": "x", "d": ""})
    assert not selector.matches({"a": "b"})
    assert str(selector) == "a in (b),c notin (x),d"
    assert selector.exact("a") == "b"
    with pytest.raises(InvalidSelector, match='"Nope" is not a valid label selector operator'):
        labels.from_label_selector({"matchExpressions": [{"key": "a", "operator": "Nope"}]})
    with pytest.raises(InvalidSelector, match="values set can't be empty"):
        labels.from_label_selector({"matchExpressions": [{"key": "a", "operator": "In"}]})


def test_maps() -> None:
    assert labels.from_map({"a": "b"}).matches({"a": "b", "c": "d"})
    assert not labels.from_map({"a": "b"}).matches({"a": "c"})
    assert labels.from_map(None).empty


@given(st.text(alphabet="ab!=(),<> intol./-\n\0é", max_size=20))
def test_any_text_parses_or_is_refused(text: str) -> None:
    try:
        parse(text).matches({"a": "b"})
    except InvalidSelector:
        pass
