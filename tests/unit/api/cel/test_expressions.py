from __future__ import annotations

from typing import Any

import pytest

from podwright.api.cel import BudgetExceeded, CompileError, EvaluationError, compile_expression


def evaluate(source: str, **variables: Any) -> Any:
    return compile_expression(source, set(variables)).evaluate(variables)


@pytest.mark.parametrize(
    ("source", "variables", "expected"),
    [
        ("object.spec.replicas <= 5", {"object": {"spec": {"replicas": 3}}}, True),
        ('object.spec.?foo.orValue("x")', {"object": {"spec": {}}}, "x"),
        ("object.?spec.?a.b.hasValue()", {"object": {"spec": {}}}, False),
        ("cel.bind(x, 1, x + 1)", {}, 2),
        ('quantity("1Gi").isGreaterThan(quantity("1Mi"))', {}, True),
        ('quantity("500m").add(quantity("1.5")).compareTo(quantity("2")) == 0', {}, True),
        ("object.all(k, v, v > 0)", {"object": {"a": 1}}, True),
        ("object.transformMap(k, v, v + 1)", {"object": {"a": 1}}, {"a": 2}),
        ("Object{spec: Object.spec{replicas: 1}}", {"Object": None}, {"spec": {"replicas": 1}}),
        ("[1, ?optional.none(), 2]", {}, [1, 2]),
        ('"%d-%s-%.2f".format([1, "x", 2.5])', {}, "1-x-2.50"),
        ('"a,b".split(",").join("+")', {}, "a+b"),
        ("1 / 0 == 1 || true", {}, True),
        ("-1 - -2", {}, 1),
        ("-7 / 2 == -3 && -7 % 2 == -1", {}, True),
        ('duration("1h30m") > duration("1m")', {}, True),
        ('timestamp("2020-01-01T00:00:00Z").getFullYear()', {}, 2020),
        ('object.made < timestamp("2030-01-01T00:00:00Z")', {"object": {"made": "2026-01-01T00:00:00Z"}}, True),
        ("has(object.a) && object.a == 'x'", {"object": {}}, False),
        ("object.x__dash__y", {"object": {"x-y": 1}}, 1),
        ("object.__namespace__", {"object": {"namespace": 1}}, 1),
        ('cidr("10.0.0.0/8").containsIP("10.1.2.3")', {}, True),
        ('url("https://a:80/b").getPort()', {}, "80"),
        ('semver("1.2.3").isLessThan(semver("1.10.0"))', {}, True),
        ("[3, 1, 2].sort()", {}, [1, 2, 3]),
        ('r"\\d" + "\\n"', {}, "\\d\n"),
        ('format.dns1123Label().validate("A").hasValue()', {}, True),
        ("[[1, 2], [3]].exists(l, l.all(i, i > 2))", {}, True),
        ("sets.equivalent([1, 2], [2, 1])", {}, True),
        ("optional.of(1).optMap(v, v + 1).value()", {}, 2),
        ("type(1) == int && 1 == 1.0", {}, True),
        ('"abc".find("b.")', {}, "bc"),
        ("x > 1 ? 'many' : 'few'", {"x": 2}, "many"),
    ],
)
def test_values(source: str, variables: dict[str, Any], expected: Any) -> None:
    assert evaluate(source, **variables) == expected


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("1 +", "Syntax error"),
        ("foo", "undeclared reference to 'foo' (in container '')"),
        ("has(1)", "invalid argument to has() macro"),
        ("object.baz()", "undeclared reference to 'baz'"),
        ("'a", "token recognition error"),
        ("(" * 300 + "1" + ")" * 300, "recursion limit"),
    ],
)
def test_what_cannot_be_compiled(source: str, why: str) -> None:
    with pytest.raises(CompileError) as error:
        compile_expression(source, {"object"})
    assert why in str(error.value)


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("object.missing", "no such key: missing"), ("1 / 0", "division by zero"),
        ("9223372036854775807 + 1", "integer overflow"), ("'a' + 1", "no such overload"),
        ("[1][5]", "index out of bounds"), ('quantity("x")', "quantities must match"),
        ('"a".matches("(")', "error parsing regexp"),
    ],
)
def test_what_has_no_value(source: str, why: str) -> None:
    with pytest.raises(EvaluationError, match=why):
        evaluate(source, object={})


def test_an_expression_that_does_too_much_is_stopped() -> None:
    nested = "object.all(a, object.all(b, object.all(c, object.all(d, a + b + c + d >= 0))))"
    with pytest.raises(BudgetExceeded):
        evaluate(nested, object=list(range(100)))


def test_variables_of_macros_do_not_leak() -> None:
    assert evaluate("[1, 2].all(x, x > 0) && x == 7", x=7) is True
