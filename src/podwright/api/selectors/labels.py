"""Label selectors, equality-based and set-based (Kubernetes documentation: "Labels and Selectors").

The grammar and the messages are those of apimachinery's ``labels`` package.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from podwright.api import status
from podwright.api.objects import Object
from podwright.api.status import ApiError
from podwright.api.validation import names
from podwright.api.validation.field_errors import render

IN = "in"
NOT_IN = "notin"
EQUALS = "="
DOUBLE_EQUALS = "=="
NOT_EQUALS = "!="
EXISTS = "exists"
DOES_NOT_EXIST = "!"
GREATER_THAN = "gt"
LESS_THAN = "lt"

_OBJECT_OPERATORS = {"In": IN, "NotIn": NOT_IN, "Exists": EXISTS, "DoesNotExist": DOES_NOT_EXIST}
_SYMBOLS = {"in": IN, "notin": NOT_IN, "=": EQUALS, "==": DOUBLE_EQUALS, "!=": NOT_EQUALS, ">": GREATER_THAN,
            "<": LESS_THAN}
_EXPECTED_OPERATORS = "in, notin, =, ==, !=, gt, lt"
_INTEGER = re.compile(r"[+-]?[0-9]+", re.ASCII)


class InvalidSelector(ApiError, ValueError):
    """A selector that cannot be parsed: a 400 whose message is upstream's."""

    def __init__(self, message: str) -> None:
        super().__init__(status.bad_request(message).status)


@dataclass(frozen=True, slots=True)
class Requirement:
    """One term: a label key, an operator (a constant of this module) and its values."""

    key: str
    operator: str
    values: tuple[str, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        operator, value = self.operator, labels.get(self.key)
        if operator in (IN, EQUALS, DOUBLE_EQUALS):
            return value is not None and value in self.values
        if operator in (NOT_IN, NOT_EQUALS):
            return value is None or value not in self.values
        if operator == EXISTS:
            return value is not None
        if operator == DOES_NOT_EXIST:
            return value is None
        return value is not None and compare(value, self.values[0], greater=operator == GREATER_THAN)

    def __str__(self) -> str:
        if self.operator == EXISTS:
            return self.key
        if self.operator == DOES_NOT_EXIST:
            return f"!{self.key}"
        joined = ",".join(sorted(self.values))
        if self.operator in (IN, NOT_IN):
            return f"{self.key} {self.operator} ({joined})"
        symbol = {GREATER_THAN: ">", LESS_THAN: "<"}.get(self.operator, self.operator)
        return f"{self.key}{symbol}{joined}"


def compare(value: str, bound: str, *, greater: bool) -> bool:
    """Gt and Lt: both texts as 64-bit integers; False if either is none."""
    if not (_INTEGER.fullmatch(value) and _INTEGER.fullmatch(bound)) or len(value) > 20 or len(bound) > 20:
        return False
    left, right = int(value), int(bound)
    if not (-(2**63) <= left < 2**63 and -(2**63) <= right < 2**63):
        return False
    return left > right if greater else left < right


class LabelSelector:
    """All of some requirements; with none it matches everything. Immutable."""

    __slots__ = ("_equal", "_nothing", "_rest", "requirements")

    def __init__(self, requirements: Iterable[Requirement], *, nothing: bool = False) -> None:
        self.requirements = tuple(sorted(requirements, key=lambda r: r.key))
        self._nothing = nothing
        equal, rest = [], []
        for r in self.requirements:
            if r.operator in (IN, EQUALS, DOUBLE_EQUALS) and len(r.values) == 1:
                equal.append((r.key, r.values[0]))
            else:
                rest.append(r.matches)
        self._equal: tuple[tuple[str, str], ...] = tuple(equal)
        self._rest: tuple[Callable[[Mapping[str, str]], bool], ...] = tuple(rest)

    def matches(self, labels: Mapping[str, str]) -> bool:
        if self._nothing:
            return False
        for key, value in self._equal:
            if labels.get(key) != value:
                return False
        for matches in self._rest:  # noqa: SIM110 (a generator costs twice as much here)
            if not matches(labels):
                return False
        return True

    @property
    def empty(self) -> bool:
        """Whether it matches everything."""
        return not self.requirements and not self._nothing

    def exact(self, key: str) -> str | None:
        """The one value that the label must have, if the selector asks for exactly one: what an index can use."""
        return next((value for wanted, value in self._equal if wanted == key), None)

    def __str__(self) -> str:
        return ",".join(map(str, self.requirements))

    def __repr__(self) -> str:
        return f"LabelSelector({'nothing' if self._nothing else str(self)!r})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, LabelSelector):
            return NotImplemented
        return self.requirements == other.requirements and self._nothing == other._nothing

    def __hash__(self) -> int:
        return hash((self.requirements, self._nothing))


EVERYTHING = LabelSelector(())
NOTHING = LabelSelector((), nothing=True)


def requirement(key: str, operator: str, values: Iterable[str] = ()) -> Requirement:
    """A checked requirement.

    Raises:
        InvalidSelector: the key or a value is no label, or the number of values does not fit the operator.
    """
    values = tuple(values)
    errors = [f"key: Invalid value: {render(key)}: {'; '.join(bad)}"] if (bad := names.qualified_name(key)) else []
    if operator in (IN, NOT_IN):
        if not values:
            errors.append("values: Invalid value: []: for 'in', 'notin' operators, values set can't be empty")
    elif operator in (EQUALS, DOUBLE_EQUALS, NOT_EQUALS):
        if len(values) != 1:
            said = "exact-match compatibility requires one single value"
            errors.append(f"values: Invalid value: {render(values)}: {said}")
    elif operator in (EXISTS, DOES_NOT_EXIST):
        if values:
            errors.append(
                f"values: Invalid value: {render(values)}: values set must be empty for exists and does not exist"
            )
    else:
        if len(values) != 1:
            errors.append(
                f"values: Invalid value: {render(values)}: for 'Gt', 'Lt' operators, exactly one value is required"
            )
        errors += [
            f"values[{i}]: Invalid value: {render(v)}: for 'Gt', 'Lt' operators, the value must be an integer"
            for i, v in enumerate(values)
            if not _INTEGER.fullmatch(v)
        ]
    errors += [
        f"values[{i}][{key}]: Invalid value: {render(v)}: {'; '.join(bad)}"
        for i, v in enumerate(values)
        if (bad := names.label_value(v))
    ]
    if errors:
        raise InvalidSelector(errors[0] if len(errors) == 1 else f"[{', '.join(errors)}]")
    return Requirement(key, operator, values)


def from_label_selector(selector: Object | None) -> LabelSelector:
    """A ``metav1.LabelSelector``: None matches nothing, an empty one everything.

    Raises:
        InvalidSelector: a key, value or operator is wrong.
    """
    if selector is None:
        return NOTHING
    terms = [requirement(k, IN, (v,)) for k, v in (selector.get("matchLabels") or {}).items()]
    for expression in selector.get("matchExpressions") or ():
        operator = _OBJECT_OPERATORS.get(expression.get("operator") or "")
        if operator is None:
            raise InvalidSelector(f"{render(expression.get('operator') or '')} is not a valid label selector operator")
        terms.append(requirement(expression.get("key") or "", operator, expression.get("values") or ()))
    return LabelSelector(terms) if terms else EVERYTHING


def from_map(labels: Mapping[str, str] | None) -> LabelSelector:
    """Every pair must be there; None or an empty map matches everything (a Service without selector, which selects
    nothing, is the caller's case). Keys and values are taken as valid."""
    return LabelSelector(Requirement(k, EQUALS, (v,)) for k, v in labels.items()) if labels else EVERYTHING


def parse(text: str) -> LabelSelector:
    """The text form, such as "app=web,tier in (a, b),!canary".

    Raises:
        InvalidSelector: with upstream's message, for instance "unable to parse requirement: found ...".
    """
    if not text:
        return EVERYTHING
    return LabelSelector(_Parser(text).parse())


_TOKEN = re.compile(r"[ \t\r\n]*(?:(==|!=|[=!(),<>])|([^=!(),<> \t\r\n]+)|$)")
_END = ""


class _Parser:
    def __init__(self, text: str) -> None:
        self._tokens: list[tuple[str, bool]] = []
        at = 0
        text = text.partition("\0")[0]
        while at < len(text):
            found = _TOKEN.match(text, at)
            if found is None or found.end() == at:
                break
            at = found.end()
            symbol, word = found.groups()
            if symbol or word:
                self._tokens.append((symbol or word, bool(word)))
        self._at = 0

    def _peek(self) -> tuple[str, bool]:
        """The next token and whether it is a word; the end is ("", False)."""
        return self._tokens[self._at] if self._at < len(self._tokens) else (_END, False)

    def _next(self) -> tuple[str, bool]:
        token = self._peek()
        self._at += 1
        return token

    def parse(self) -> list[Requirement]:
        terms: list[Requirement] = []
        while True:
            token, word = self._peek()
            if not word and token != "!":
                if token == _END:
                    return terms
                raise InvalidSelector(f"found '{token}', expected: !, identifier, or 'end of string'")
            try:
                terms.append(self._requirement())
            except InvalidSelector as e:
                raise InvalidSelector(f"unable to parse requirement: {e}") from None
            token, _ = self._next()
            if token == _END:
                return terms
            if token != ",":
                raise InvalidSelector(f"found '{token}', expected: ',' or 'end of string'")
            after, word = self._peek()
            if not word and after != "!":
                raise InvalidSelector(f"found '{after}', expected: identifier after ','")

    def _requirement(self) -> Requirement:
        token, word = self._next()
        absent = token == "!" and not word
        if absent:
            token, word = self._next()
        if not word:
            raise InvalidSelector(f"found '{token}', expected: identifier")
        key = token
        if bad := names.qualified_name(key):
            raise InvalidSelector(f"<nil>: Invalid value: {render(key)}: {'; '.join(bad)}")
        if absent:
            return Requirement(key, DOES_NOT_EXIST)
        if self._peek()[0] in (_END, ","):
            return Requirement(key, EXISTS)
        token, _ = self._next()
        operator = _SYMBOLS.get(token)
        if operator is None:
            raise InvalidSelector(f"found '{token}', expected: {_EXPECTED_OPERATORS}")
        values = self._values() if operator in (IN, NOT_IN) else self._exact()
        return requirement(key, operator, values)

    def _exact(self) -> list[str]:
        if self._peek()[0] in (_END, ","):
            return [""]
        token, word = self._next()
        if not word:
            raise InvalidSelector(f"found '{token}', expected: identifier")
        return [token]

    def _values(self) -> list[str]:
        token, _ = self._next()
        if token != "(":
            raise InvalidSelector(f"found '{token}' expected: '('")
        token, word = self._peek()
        if token == ")":
            self._next()
            return [""]
        if not word and token != ",":
            raise InvalidSelector(f"found '{token}', expected: ',', ')' or identifier")
        found: set[str] = set()
        while True:
            token, word = self._next()
            after = self._peek()[0]
            if word:
                found.add(token)
                if after == ",":
                    continue
                if after != ")":
                    raise InvalidSelector(f"found '{after}', expected: ',' or ')'")
                break
            if token != ",":
                raise InvalidSelector(f"found '{token}', expected: ',', or identifier")
            if not found or after in (")", ","):
                found.add("")
            if after == ")":
                break
        self._next()
        return sorted(found)
