"""What an evaluation has spent, in the units of the estimates: known parts are paid by the place where they stand,
calls by the sizes that they meet, comprehensions by the step. The limits are upstream's (``apis/cel/config.go``)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from podwright.api.cel import costs
from podwright.api.cel.costs import CHARGES, MAKE_LIST, MAKE_MAP, MAKE_OBJECT, Size, Value
from podwright.api.cel.declarations import BYTES, DYN, STRING, DeclType
from podwright.api.cel.errors import BudgetExhausted
from podwright.api.cel.functions import NAMESPACES
from podwright.api.cel.signatures import Overload
from podwright.api.cel.syntax import (
    Call,
    Ident,
    Index,
    Literal,
    MakeList,
    MakeMap,
    MakeObject,
    Node,
    Select,
    variables_of,
)

CALL = 1_000_000
"""Of one evaluation."""
OBJECT = 10_000_000
"""Of all rules of a custom resource, or of a policy for one binding."""
CONDITIONS = 2_500_000
"""Of the matchConditions of a webhook or policy."""
_SMALL = 10
_BRANCHES = ("_&&_", "_||_", "_?_:_")
_LIST, _MAP = DeclType("list", DYN), DeclType("map", STRING, DYN)
_TEXTS = DeclType("list", STRING)


class Budget:
    """What several evaluations may cost together."""

    __slots__ = ("left",)

    def __init__(self, left: int = OBJECT) -> None:
        self.left = left

    def pay(self, cost: int) -> None:
        """Raises BudgetExhausted."""
        self.left -= cost
        if self.left < 0:
            raise BudgetExhausted


def weight(node: Node) -> int:
    """What an expression costs wherever it is evaluated: without comprehensions' steps, without branches that are
    perhaps not taken, and without what depends on sizes."""
    if isinstance(node, Ident):
        return 1
    if isinstance(node, Select):
        return 1 + weight(node.of)
    if isinstance(node, Index):
        return 1 + weight(node.of) + weight(node.key)
    if isinstance(node, MakeList):
        items = [item for item, _ in node.items]
        return 0 if all(isinstance(i, Literal) for i in items) else MAKE_LIST + sum(map(weight, items))
    if isinstance(node, MakeMap):
        return MAKE_MAP + sum(weight(key) + weight(value) for key, value, _ in node.entries)
    if isinstance(node, MakeObject):
        return MAKE_OBJECT + sum(weight(value) for _, value, _ in node.fields)
    return _call_weight(node) if isinstance(node, Call) else 0


def _call_weight(node: Call) -> int:
    if node.target is None:
        if node.name == "has" and isinstance(node.args[0], Select):
            return weight(node.args[0].of)
        if node.name in _BRANCHES:
            return weight(node.args[0])
        return (node.name not in CHARGES) + sum(map(weight, node.args))
    if names := variables_of(node):
        if node.name.startswith("opt"):
            return weight(node.target) + sum(weight(arg) for arg in node.args[1:]) + MAKE_LIST
        _, _, begin, _, end = costs.COMPREHENSIONS[node.name]
        return weight(node.target) + begin + end * bool(names)
    arguments = sum(map(weight, node.args))
    if isinstance(node.target, Ident):
        space = node.target.name
        if space == "cel" or (space, node.name, len(node.args)) in NAMESPACES:
            return (f"{space}.{node.name}" not in CHARGES) + arguments
    return (f".{node.name}" not in CHARGES) + weight(node.target) + arguments


def step_weight(name: str, bodies: Sequence[Node]) -> int:
    """Of one step of a comprehension."""
    step = costs.COMPREHENSIONS[name][3]
    return int(step(*map(weight, bodies)))


def charged(name: str, function: Callable[..., Any]) -> Callable[..., Any] | None:
    """The function with the scope before its arguments, paying for their sizes; None if each call costs the same."""
    charging = CHARGES.get(name)
    if charging is None:
        return None

    def paying(scope: Any, *arguments: Any) -> Any:
        size = 0
        for argument in arguments:
            if isinstance(argument, str | bytes):
                size += len(argument)
            elif isinstance(argument, list):
                size += _SMALL * len(argument)
        if size < _SMALL and name != ".check":
            scope.spend(1)
        else:
            values = [_measured(argument) for argument in arguments]
            scope.spend(charging(values, Overload([value.type for value in values], DYN)).cost)
        return function(*arguments)

    return paying


def _measured(argument: Any) -> Value:
    if isinstance(argument, str | bytes):
        size = Size(len(argument), len(argument))
        return Value(STRING if isinstance(argument, str) else BYTES, size=size)
    if isinstance(argument, dict):
        return Value(_MAP, size=Size(len(argument), len(argument)))
    if isinstance(argument, list):
        size = Size(len(argument), len(argument))
        texts = [len(item) for item in argument if isinstance(item, str)]
        most = -(-sum(texts) // len(texts)) if texts else 0
        return Value(_TEXTS if texts else _LIST, size=size, at=DeclType("list", DeclType("string", most=most)))
    return Value(DYN, size=Size(1, 1), literal=argument if type(argument) is int else None)


__all__ = ["CALL", "CONDITIONS", "OBJECT", "Budget", "charged", "step_weight", "weight"]
