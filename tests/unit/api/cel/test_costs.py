"""Estimated costs are part of the API: they say which rules a definition may have. The figures are upstream's own."""

from __future__ import annotations

from typing import Any

import pytest

from podwright.api import schema, validation
from podwright.api.cel import Budget, BudgetExceeded, BudgetExhausted, compile_expression
from podwright.api.cel.checking import check
from podwright.api.cel.declarations import declared
from podwright.api.cel.spending import OBJECT
from podwright.api.resources import BUILTIN


def cost(rule: str, of: dict[str, Any]) -> int:
    kind = declared(schema.from_structural(of, root=False))
    assert kind is not None
    found = check(rule, {"self": kind, "oldSelf": kind})
    assert found.problems == []
    return found.cost


def scalar(kind: str) -> dict[str, Any]:
    if kind == "int-or-string":
        return {"x-kubernetes-int-or-string": True}
    return {"type": "string", "format": kind} if kind in ("duration", "date", "date-time") else {"type": kind}


def array(of: str | dict[str, Any], most: int | None = None) -> dict[str, Any]:
    made = {"type": "array", "items": scalar(of) if isinstance(of, str) else of}
    return made if most is None else made | {"maxItems": most}


def mapping(of: str | dict[str, Any], most: int | None = None) -> dict[str, Any]:
    made = {"type": "object", "additionalProperties": scalar(of) if isinstance(of, str) else of}
    return made if most is None else made | {"maxProperties": most}


def text(most: int | None = None, **more: Any) -> dict[str, Any]:
    return {"type": "string", **({} if most is None else {"maxLength": most}), **more}


THING: dict[str, Any] = {
    "type": "object", "required": ["required"], "properties": {"required": text(), "optional": text()},
}
DEEP = array(mapping(THING))


@pytest.mark.parametrize(
    ("of", "rule", "expected"),
    [
        (array("number"), "self.all(x, true)", 4718591),
        (array("number", 10), "self.all(x, true)", 32),
        (array("string"), "self.all(x, true)", 3145727),
        (array("boolean"), "self.all(x, true)", 1887437),
        (array(array("number")), "self.all(x, true)", 3145727),
        (array(THING), "self.all(x, true)", 555128),
        (array("int-or-string"), "self.all(x, true)", 4718591),
        (array("duration"), "self.all(x, true)", 2359295),
        (array("date"), "self.all(x, true)", 725936),
        (array("date-time"), "self.all(x, true)", 428963),
        (mapping("number"), "self.all(x, true)", 1348169),
        (mapping("string"), "self.all(x, true)", 1179647),
        (mapping("boolean"), "self.all(x, true)", 943718),
        (mapping(THING), "self.all(x, true)", 428963),
        (mapping(mapping("number")), "self.all(x, true)", 1179647),
        (mapping("date-time", 25), "self.all(x, true)", 77),
        (array("number", 10), "self.all(x, self.all(y, true))", 352),
        (array("number", 10), "self.all(x, self.all(y, self.all(z, true)))", 3552),
        (array("number", 3 * 1024 * 2048), "self.all(x, x == 0.0)", 25165826),
        (mapping("string"), "self.all(x, x.contains(self[x]))", 2752507),
        (mapping(text(10), 10), "self.all(x, x.contains(self[x]))", 72),
        (DEEP, 'self.all(x, x["y"].required == "z")', 7340027),
        (array(mapping("number")), "self.all(x, x.y == 25.2)", 6291452),
        (array("number"), "self[1] == 0.0", 2),
        (array("int-or-string"), "self[0] == 5", 3),
        (array(THING), "self[0] == null", 2),
        (array(array("number")), "self[0][0] == -1.0", 3),
        (array(mapping("number")), "self[0].x > 2.0", 4),
        (array("duration"), "self[0].getHours() == 2", 4),
        (array("date"), "self[2].getDayOfMonth() == 13", 4),
        (array("string", 8), "self[1] == self[1]", 314577),
        (mapping("number"), 'self["x"] == 0.0', 2),
        (mapping("date-time"), 'self["a"] == self["b"]', 8),
        (mapping("integer"), "oldSelf.size() == self.size()", 5),
        (text(), "self.contains('test')", 314574),
        (text(10), "self.contains('test')", 5),
        (text(), "self.startsWith('test')", 2),
        (text(), 'size(self + "hello") > size("hello")', 314578),
        (text(4), 'size(self + "hello") > size("hello")', 7),
        (text(50), 'self.matches("x")', 22),
        (text(), '"".matches("(((((((((())))))))))[0-9]")', 7),
        (text(), 'self.matches("")', 1),
        (text(0), 'self == "x"', 1),
        (text(), "self.find('[0-9]+') == ''", 629147),
        (text(10), "self.find('[0-9]+') == ''", 11),
        (text(), "self.lowerAscii() == 'lower!'", 314575),
        (text(0, format="byte"), 'self == b"x"', 1),
        (text(enum=["A", "B", "C", "LongValue"]), "self.contains('A')", 2),
        (text(1000, enum=["A"]), "self.contains('A')", 401),
        (array(text()), "self.join(' ') == 'aa bb'", 329853068905),
        (array(text(10), 10), "self.join(' ') == 'aa bb'", 43),
        (array(text()), "self.isSorted() == true", 329854432052),
        (array(text(10), 10), "self.isSorted() == true", 52),
        (
            {"type": "object", "properties": {"str": text(), "before": text(2), "after": text(4)}},
            "self.str.replace(self.before, self.after) == 'does not matter'", 629154,
        ),
        (
            {"type": "object", "properties": {"str": text(10), "separator": text(10)}},
            "self.str.split(self.separator) == []", 22,
        ),
        ({"x-kubernetes-int-or-string": True}, "isQuantity(self)", 314574),
        ({"x-kubernetes-int-or-string": True, "maxLength": 20}, "isQuantity(self)", 9),
    ],
)  # fmt: skip
def test_estimated_cost(of: dict[str, Any], rule: str, expected: int) -> None:
    assert cost(rule, of) == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("1 in self.list", 5),
        ("self.list + self.list == [1, 2, 3, 1, 2, 3]", 6),
        ("has(self.list) && has(self.text)", 2),
        ("sets.equivalent(self.text.split(','), ['a', 'b'])", 12),
        ("self.list.all(x, x > 0)", 18),
        ("false && self.list.all(x, x > 0)", 0),
    ],
)
def test_spent_cost(source: str, expected: int) -> None:
    budget = Budget()
    variables = {"self": {"list": [1, 2, 3], "text": "a,b"}}
    compile_expression(source, variables).evaluate(variables, budget)
    assert OBJECT - budget.left == expected


def test_a_reserved_word_may_stand_as_the_name_of_a_field() -> None:
    meta = {"type": "object", "properties": {"namespace": text(10)}}
    assert cost("has(self.namespace) && self.namespace != ''", meta) == cost(
        "has(self.__namespace__) && self.__namespace__ != ''", meta
    )


def test_evaluations_share_a_budget() -> None:
    program = compile_expression("self.all(x, self.all(y, x <= y || x > y))", ["self"])
    budget, variables = Budget(), {"self": list(range(200))}
    with pytest.raises(BudgetExhausted):
        for _ in range(100):
            program.evaluate(variables, budget)
    with pytest.raises(BudgetExceeded):
        program.evaluate({"self": list(range(500))})


@pytest.mark.parametrize(
    ("expression", "refused"),
    [
        ("device.driver == 'a.example' && device.attributes['a.example'].model.startsWith('x')", ""),
        ("cel.bind(a, device.attributes['a.example'], a.fast && a.level > 3)", ""),
        ("device.capacity['a.example'].memory.isGreaterThan(quantity('10Gi'))", ""),
        ("device.attributes['a.example'].kind.matches('[a-z]+') && has(device.attributes['b'].x)", ""),
        ("device.attributes['a.example'].fast", ""),
        ("device.vendor == 'x'", "undefined field 'vendor'"),
        ("device.driver", "must evaluate to bool or the unknown type, not string"),
        (
            "device.attributes.all(a, device.attributes.all(b, device.attributes.all(c, device.attributes.all(d, "
            "a == b || c == d))))",
            "Forbidden: too complex, exceeds cost limit",
        ),
    ],
)
def test_selectors_of_devices(expression: str, refused: str) -> None:
    row = BUILTIN.by_path("resource.k8s.io", "v1", "deviceclasses")
    assert row is not None
    body = {"metadata": {"name": "c"}, "spec": {"selectors": [{"cel": {"expression": expression}}]}}
    errs = validation.validate_create(row, body)
    assert [refused in e.message for e in errs] == ([True] if refused else []), errs
