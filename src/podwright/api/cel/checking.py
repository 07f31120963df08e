"""Checks an expression against the types of its variables, as cel-go's checker does, and estimates what it costs at
most. One walk over the syntax tree finds, of each part, its type, its cost and its size."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from podwright.api.cel import costs
from podwright.api.cel.costs import MOST, Size, Value
from podwright.api.cel.declarations import (
    BOOL,
    BYTES,
    DOUBLE,
    DYN,
    INT,
    NULL,
    STRING,
    TYPE,
    UINT,
    DeclType,
    escape,
    list_of,
    optional_of,
)
from podwright.api.cel.errors import CompileError, located
from podwright.api.cel.functions import FUNCTIONS, METHODS, NAMESPACES
from podwright.api.cel.signatures import Overload, fits, overloads, resolved
from podwright.api.cel.syntax import (
    RESERVED,
    Call,
    Ident,
    Index,
    Literal,
    MakeList,
    MakeMap,
    MakeObject,
    Node,
    Select,
    UInt,
    parse,
    variables_of,
)

_LITERALS: Sequence[tuple[type, DeclType]] = (
    (bool, BOOL), (UInt, UINT), (int, INT), (float, DOUBLE), (str, STRING), (bytes, BYTES),
)  # fmt: skip
_TYPES = ("bool", "int", "uint", "double", "string", "bytes", "list", "map", "null_type", "type")
_ERROR = Value(DYN)


@dataclass(slots=True)
class Checked:
    """The type of the whole, its greatest cost, and what is wrong with it, in the form of cel-go."""

    type: DeclType = DYN
    cost: int = 0
    problems: list[str] = field(default_factory=list)
    names: set[str] = field(default_factory=set)
    """The variables that it uses."""


def check(source: str, variables: Mapping[str, DeclType]) -> Checked:
    """Never raises: a syntax error is a problem too."""
    checker = _Checker(source, variables.get("self", costs.LOST))
    scope = {name: Value(kind, 1, Size(0, kind.most), at=kind) for name, kind in variables.items()}
    try:
        value = checker.value(parse(source), scope)
    except CompileError as error:
        return Checked(problems=[str(error)])
    found = checker.found
    found.type, found.cost = value.type, min(value.cost, MOST)
    return found


Scope = Mapping[str, Value]


class _Checker:
    def __init__(self, source: str, root: DeclType) -> None:
        self.source = source
        self.root = root
        self.found = Checked()

    def fail(self, node: Node, why: str) -> Value:
        self.found.problems.append(located(self.source, node.at, why))
        return _ERROR

    def value(self, node: Node, scope: Scope) -> Value:
        return self._KINDS[type(node)](self, node, scope)

    def literal(self, node: Literal, scope: Scope) -> Value:
        value = node.value
        kind = next((made for of, made in _LITERALS if isinstance(value, of)), NULL)
        length = len(value) if isinstance(value, str | bytes) else 1
        return Value(kind, 0, Size(length, length), literal=value if type(value) is int else None)

    def identifier(self, node: Ident, scope: Scope) -> Value:
        if node.name in scope:
            self.found.names.add(node.name)
            return replace(scope[node.name], cost=1)
        if node.name in _TYPES:
            return Value(TYPE, 1)
        return self.fail(node, f"undeclared reference to '{node.name}' (in container '')")

    def select(self, node: Select, scope: Scope) -> Value:
        name = _qualified(node)
        if name in scope or name in ("google.protobuf.Timestamp", "google.protobuf.Duration"):
            return self.identifier(Ident(node.at, name), scope) if name in scope else Value(TYPE, 1)
        return self.selected(node, self.value(node.of, scope), node.field)

    def selected(self, node: Select, of: Value, name: str) -> Value:
        kind = of.type.parts[0] if of.type.name == "optional_type" else of.type
        cost = of.cost + (kind is of.type and (kind.name == "map" or kind.is_object)) + node.optional
        if kind.is_object:
            if name not in kind.fields and name in RESERVED:
                name = escape(name)  # Where it cannot be mistaken, a reserved word may stand as it is.
            if name not in kind.fields:
                return self.fail(node, f"undefined field '{name}'")
            found = kind.fields[name]
        elif kind.name == "map":
            found = kind.parts[1]
        elif kind.name == "dyn":
            found = DYN
        else:
            return self.fail(node, f"type '{kind}' does not support field selection")
        if kind is not of.type or node.optional:
            found = optional_of(found)
        if node.optional:
            return Value(found, cost, costs.size_of(found))
        return of.part(found, name, self.root, cost)

    def index(self, node: Index, scope: Scope) -> Value:
        of, key = self.value(node.of, scope), self.value(node.key, scope)
        made = self.called(node, "_[?_]" if node.optional else "_[_]", [of, key])
        if node.optional or of.type.name not in ("list", "map"):
            return made
        found = of.part(made.type, "@items" if of.type.name == "list" else "@values", self.root, made.cost)
        return replace(found, size=of.items) if of.items is not None else found

    def list(self, node: MakeList, scope: Scope) -> Value:
        items = [self.value(item, scope) for item, _ in node.items]
        kinds = [_taken(item.type, node.items[i][1]) for i, item in enumerate(items)]
        count = Size(len(items), len(items))
        cost = costs.MAKE_LIST + sum(item.cost for item in items)
        return Value(list_of(_common(kinds)), cost, count, _widest(items))

    def map(self, node: MakeMap, scope: Scope) -> Value:
        keys = [self.value(key, scope) for key, _, _ in node.entries]
        values = [self.value(value, scope) for _, value, _ in node.entries]
        kinds = [_taken(value.type, node.entries[i][2]) for i, value in enumerate(values)]
        cost = costs.MAKE_MAP + sum(part.cost for part in (*keys, *values))
        kind = DeclType("map", _common([key.type for key in keys]), _common(kinds))
        return Value(kind, cost, Size(len(keys), len(keys)), _widest(values))

    def object(self, node: MakeObject, scope: Scope) -> Value:
        if node.type_name.split(".")[0] not in scope:
            return self.fail(node, f"undeclared reference to '{node.type_name}' (in container '')")
        return Value(DYN, costs.MAKE_OBJECT + sum(self.value(value, scope).cost for _, value, _ in node.fields))

    def call(self, node: Call, scope: Scope) -> Value:
        if node.target is None:
            return self.has(node, scope) if node.name == "has" else self.function(node, scope)
        spaced = f"{_qualified(node.target)}.{node.name}"
        if isinstance(node.target, Ident) and node.target.name not in scope:
            if spaced == "cel.bind" and len(node.args) == 3 and isinstance(node.args[0], Ident):
                return self.bind(node.args[0].name, self.value(node.args[1], scope), node.args[2], scope)
            if (node.target.name, node.name, len(node.args)) in NAMESPACES:
                return self.called(node, spaced, [self.value(arg, scope) for arg in node.args])
        if names := variables_of(node):
            return self.macro(node, names, self.value(node.target, scope), scope)
        if not any(name == node.name for name, _ in METHODS):
            self.value(node.target, scope)
            return self.fail(node, f"undeclared reference to '{node.name}' (in container '')")
        return self.called(node, f".{node.name}", [self.value(n, scope) for n in (node.target, *node.args)])

    def has(self, node: Call, scope: Scope) -> Value:
        (argument,) = node.args if len(node.args) == 1 else (None,)
        if not isinstance(argument, Select):
            return self.fail(node, "invalid argument to has() macro")
        of = self.value(argument.of, scope)
        self.selected(argument, of, argument.field)
        return Value(BOOL, of.cost, Size(1, 1))

    def function(self, node: Call, scope: Scope) -> Value:
        values = [self.value(arg, scope) for arg in node.args]
        if not overloads(node.name) and not any(name == node.name for name, _ in FUNCTIONS):
            return self.fail(node, f"undeclared reference to '{node.name}' (in container '')")
        made = self.called(node, node.name, values)
        if node.name == "_?_:_" and len(values) == 3:
            condition, then, otherwise = values
            items = then.items.or_(otherwise.items) if then.items and otherwise.items else None
            cost = condition.cost + max(then.cost, otherwise.cost)
            return replace(made, cost=cost, size=then.size.or_(otherwise.size), items=items)
        if node.name in ("_&&_", "_||_"):
            return replace(made, cost=sum(value.cost for value in values))
        return replace(values[0], type=DYN, cost=made.cost, at=None) if node.name == "dyn" and values else made

    def called(self, node: Node, name: str, values: Sequence[Value]) -> Value:
        """A call whose arguments are known."""
        cost = sum(value.cost for value in values)
        known = overloads(name)
        chosen: list[Overload] = []
        results: list[DeclType] = []
        for overload in known:
            bound: dict[str, DeclType] = {}
            pairs = zip(values, overload.arguments, strict=False)
            if len(values) == len(overload.arguments) and all(fits(v.type, w, bound) for v, w in pairs):
                chosen.append(overload)
                results.append(resolved(overload.result, bound))
        if known and not chosen:
            said = f"({', '.join(str(value.type) for value in values)})"
            if name.startswith("."):
                said = f"{values[0].type}.({', '.join(str(value.type) for value in values[1:])})"
            return self.fail(node, f"found no matching overload for '{name.lstrip('.')}' applied to '{said}'")
        charge = costs.call(name, values, chosen)
        result = _common(results) if results else DYN
        items = values[0].items if result.name == "list" and values else None
        return Value(result, min(cost + charge.cost, MOST), charge.size or costs.size_of(result), items)

    def bind(self, name: str, value: Value, body: Node, scope: Scope) -> Value:
        made = self.value(body, {**scope, name: value})
        return replace(made, cost=costs.MAKE_LIST + value.cost + made.cost)

    def macro(self, node: Call, names: tuple[str, ...], of: Value, scope: Scope) -> Value:
        name, bodies = node.name, node.args[len(names) :]
        if name in ("optMap", "optFlatMap"):
            inner = of.type.parts[0] if of.type.name == "optional_type" else DYN
            made = self.bind(names[0], Value(inner, of.cost + 1, of.size), bodies[0], scope)
            flat = name == "optFlatMap"
            cost = 1 + of.cost + made.cost + (not flat)
            return replace(made, type=made.type if flat else optional_of(made.type), cost=cost)
        if of.type.name not in ("list", "map", "dyn"):
            at = node.target or node
            said = f"expression of type '{of.type}' cannot be range of a comprehension (must be list, map, or dynamic)"
            return self.fail(at, said)
        inner_scope = {**scope, **dict(zip(names, self.elements(of, len(names)), strict=True))}
        values = [self.value(body, inner_scope) for body in bodies]
        operator, kind, begin, step, end = costs.COMPREHENSIONS[name]
        if operator in ("_&&_", "_||_"):
            self.called(node, operator, [Value(BOOL), values[0]])
        elif operator == "filter" or len(values) == 2:
            self.called(node, "_?_:_", [values[0], Value(DYN), Value(DYN)])
        cost = of.cost + begin + of.size.most * (step(*(value.cost for value in values))) + end
        size = Size(1, 1) if kind is BOOL else of.size
        item = self.elements(of, 1)[0] if name == "filter" else values[-1]
        return Value(_made(kind, of, item.type), min(cost, MOST), size, item.size if kind is not BOOL else None)

    def elements(self, of: Value, count: int) -> Sequence[Value]:
        """What the variables of a comprehension stand for."""
        if of.type.name == "list":
            item = of.part(of.type.parts[0], "@items", self.root, 1)
            return [item] if count == 1 else [Value(INT, 1, Size(1, 1)), item]
        if of.type.name == "map":
            key, value = (of.part(of.type.parts[i], step, self.root, 1) for i, step in enumerate(("@keys", "@values")))
            return [key] if count == 1 else [key, value]
        return [Value(DYN, 1)] * count

    _KINDS: Mapping[type, Callable[..., Value]] = {
        Literal: literal, Ident: identifier, Select: select, Index: index, MakeList: list, MakeMap: map,
        MakeObject: object, Call: call,
    }  # fmt: skip


def _made(kind: DeclType, of: Value, item: DeclType) -> DeclType:
    if kind.name == "list":
        return list_of(item)
    if kind.name == "map":
        key = of.type.parts[0] if of.type.name == "map" else INT if of.type.name == "list" else DYN
        return DeclType("map", key, item)
    return kind


def _taken(kind: DeclType, optional: bool) -> DeclType:
    """What stands in a list or map of an entry: of an optional one its value."""
    return kind.parts[0] if optional and kind.parts else kind


def _qualified(node: Node) -> str:
    if isinstance(node, Ident):
        return node.name
    return f"{_qualified(node.of)}.{node.field}" if isinstance(node, Select) and not node.optional else "?"


def _common(kinds: Sequence[DeclType]) -> DeclType:
    """The type that all have; dyn if there is none."""
    found = kinds[0] if kinds else DYN
    for kind in kinds[1:]:
        if kind.name == "dyn" or not fits(kind, found, {}):
            return DYN
        if found.name == "null":
            found = kind
    return found


def _widest(items: Sequence[Value]) -> Size:
    size = items[0].size if items else Size(0, 0)
    for item in items[1:]:
        size = size.or_(item.size)
    return size
