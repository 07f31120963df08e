"""Expressions made into Python closures: compiled once, evaluated many times.

Why not a library: of those for Python none has optional syntax, object construction, two-variable comprehensions and
types of one's own, all of which Kubernetes' expressions use, and the fast one copies every variable on each call.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from podwright.api.cel import operators, spending
from podwright.api.cel.errors import BudgetExceeded, CompileError, EvaluationError, no_such_overload
from podwright.api.cel.functions import FUNCTIONS, METHODS, NAMESPACES
from podwright.api.cel.spending import Budget, charged
from podwright.api.cel.syntax import Call, Ident, Index, Literal, MakeList, MakeMap, MakeObject, Node, Select, parse
from podwright.api.cel.values import NONE, Constructed, Optional, Type, compared, equal, type_name

TYPES = {
    name: Type(name)
    for name in ("bool", "int", "uint", "double", "string", "bytes", "list", "map", "null_type", "type")
}


class Scope:
    """The variables of one evaluation. Values that are :class:`Lazy` are worked out when first asked for."""

    __slots__ = ("left", "variables")

    def __init__(self, variables: Mapping[str, Any]) -> None:
        self.variables = dict(variables)
        self.left = spending.CALL

    def spend(self, cost: int) -> None:
        self.left -= cost
        if self.left < 0:
            raise BudgetExceeded


@dataclass(slots=True)
class Lazy:
    """A variable that is worked out at most once."""

    make: Callable[[], Any]
    done: bool = False
    value: Any = None
    error: EvaluationError | None = None

    def get(self) -> Any:
        if not self.done:
            self.done = True
            try:
                self.value = self.make()
            except EvaluationError as error:
                self.error = error
        if self.error is not None:
            raise self.error
        return self.value


class LazyMap(dict[str, Any]):
    """A map whose values may be :class:`Lazy` (``variables`` of admission policies)."""

    def __getitem__(self, key: str) -> Any:
        value = super().__getitem__(key)
        return value.get() if isinstance(value, Lazy) else value


Closure = Callable[[Scope], Any]


class Program:
    """A compiled expression. Safe to share."""

    def __init__(self, source: str, node: Node, run: Closure) -> None:
        self.source = source
        self.node = node
        self._run = run
        self._weight = spending.weight(node)

    def evaluate(self, variables: Mapping[str, Any], budget: Budget | None = None) -> Any:
        """What it costs is taken from `budget` too. Raises EvaluationError."""
        scope = Scope(variables)
        try:
            scope.spend(self._weight)
            return self._run(scope)
        except RecursionError:
            raise EvaluationError("evaluation is nested too deeply") from None
        finally:
            if budget is not None:
                budget.pay(spending.CALL - scope.left)


@functools.lru_cache(maxsize=2048)
def _compiled(source: str, names: frozenset[str]) -> Program:
    node = parse(source)
    return Program(source, node, _Compiler(source, names).make(node))


def compile_expression(source: str, names: Iterable[str]) -> Program:
    """`names` are the variables that there will be. Raises CompileError."""
    if len(source) > 16 * 1024:
        raise CompileError(source[:80], 0, "expression code point size exceeds limit")
    return _compiled(source, frozenset(names))


def _boolean(value: Any, operator: str) -> bool:
    if not isinstance(value, bool):
        raise no_such_overload(f"{operator} on {type_name(value)}")
    return value


class _Compiler:
    def __init__(self, source: str, names: frozenset[str]) -> None:
        self.source = source
        self.names = names

    def fail(self, node: Node, why: str) -> CompileError:
        return CompileError(self.source, node.at, why)

    def make(self, node: Node) -> Closure:
        if isinstance(node, Literal):
            value = node.value
            return lambda scope: value
        if isinstance(node, Ident):
            return self.identifier(node)
        if isinstance(node, Select):
            of, field = self.make(node.of), node.field
            if node.optional:
                return lambda scope: operators.optional_select(of(scope), field)
            return lambda scope: operators.select(of(scope), field)
        if isinstance(node, Index):
            of, key = self.make(node.of), self.make(node.key)
            if node.optional:
                return lambda scope: operators.optional_index(of(scope), key(scope))
            return lambda scope: operators.index(of(scope), key(scope))
        if isinstance(node, Call):
            return self.call(node)
        if isinstance(node, MakeList):
            return self.list(node)
        if isinstance(node, MakeMap):
            return self.map(node)
        if isinstance(node, MakeObject):
            return self.object(node)
        raise self.fail(node, "unsupported expression")

    def identifier(self, node: Ident) -> Closure:
        name = node.name
        if name in self.names:

            def variable(scope: Scope) -> Any:
                try:
                    value = scope.variables[name]
                except KeyError:
                    raise EvaluationError(f"no such attribute(s): {name}") from None
                return value.get() if isinstance(value, Lazy) else value

            return variable
        if name in TYPES:
            kind = TYPES[name]
            return lambda scope: kind
        raise self.fail(node, f"undeclared reference to '{name}' (in container '')")

    def list(self, node: MakeList) -> Closure:
        items = [(self.make(item), optional) for item, optional in node.items]

        def make(scope: Scope) -> Any:
            out = []
            for item, optional in items:
                value = item(scope)
                if not optional:
                    out.append(value)
                elif value.present:
                    out.append(value.value)
            return out

        return make

    def map(self, node: MakeMap) -> Closure:
        entries = [(self.make(key), self.make(value), optional) for key, value, optional in node.entries]

        def make(scope: Scope) -> Any:
            out = {}
            for key, entry, optional in entries:
                name, value = key(scope), entry(scope)
                if not isinstance(name, str | int | bool):
                    raise EvaluationError(f"unsupported key type: {type_name(name)}")
                if name in out:
                    raise EvaluationError(f"repeated key: {name}")
                if not optional:
                    out[name] = value
                elif value.present:
                    out[name] = value.value
            return out

        return make

    def object(self, node: MakeObject) -> Closure:
        root = node.type_name.split(".")[0]
        if root not in ("Object", "JSONPatch") or root not in self.names:
            raise self.fail(node, f"undeclared reference to '{node.type_name}' (in container '')")
        fields = [(operators.unescaped(name), self.make(value), optional) for name, value, optional in node.fields]
        type_name_ = node.type_name

        def make(scope: Scope) -> Any:
            out = Constructed()
            out.type_name = type_name_
            for name, field, optional in fields:
                value = field(scope)
                if not optional:
                    out[name] = value
                elif value.present:
                    out[name] = value.value
            return out

        return make

    def call(self, node: Call) -> Closure:
        name, args = node.name, node.args
        if node.target is None:
            if name == "has" and len(args) == 1:
                return self.has(node)
            if name in _LOGIC:
                return _LOGIC[name](self, args)
            if name in _OPERATORS:
                operate = _OPERATORS[name]
                first = self.make(args[0])
                paying = charged(name, operate)
                if paying is not None:
                    second = self.make(args[1])
                    return lambda scope: paying(scope, first(scope), second(scope))
                if len(args) == 1:
                    return lambda scope: operate(first(scope))
                second = self.make(args[1])
                return lambda scope: operate(first(scope), second(scope))
            function = FUNCTIONS.get((name, len(args))) or FUNCTIONS.get((name, -1))
            if function is None:
                raise self.fail(node, f"undeclared reference to '{name}' (in container '')")
            return self.invoke(name, function, args)
        return self.method(node, node.target)

    def invoke(self, name: str, function: Callable[..., Any], args: Iterable[Node]) -> Closure:
        made = [self.make(arg) for arg in args]
        paying = charged(name, function)
        if paying is not None:
            return lambda scope: paying(scope, *(arg(scope) for arg in made))
        if len(made) == 1:
            (of,) = made
            return lambda scope: function(of(scope))
        return lambda scope: function(*(arg(scope) for arg in made))

    def branch(self, node: Node) -> Closure:
        """What is paid for only if it is evaluated."""
        made, cost = self.make(node), spending.weight(node)

        def run(scope: Scope) -> Any:
            scope.spend(cost)
            return made(scope)

        return run if cost else made

    def method(self, node: Call, target: Node) -> Closure:
        name, args = node.name, node.args
        if isinstance(target, Ident) and target.name not in self.names:
            if target.name == "cel" and name == "bind" and len(args) == 3 and isinstance(args[0], Ident):
                return self.bind(args[0].name, self.make(args[1]), args[2])
            function = NAMESPACES.get((target.name, name, len(args)))
            if function is not None:
                return self.invoke(f"{target.name}.{name}", function, args)
        from podwright.api.cel import macros

        made_macro = macros.expand(self, node, target)
        if made_macro is not None:
            return made_macro
        method = METHODS.get((name, len(args))) or METHODS.get((name, -1))
        if method is None:
            raise self.fail(node, f"undeclared reference to '{name}' (in container '')")
        return self.invoke(f".{name}", method, (target, *args))

    def bind(self, name: str, value: Closure, body_node: Node) -> Closure:
        body = self.within(name).make(body_node)

        def run(scope: Scope) -> Any:
            return with_variable(scope, name, value(scope), body)

        return run

    def within(self, *names: str) -> _Compiler:
        """A compiler that knows more variables."""
        return _Compiler(self.source, self.names | set(names))

    def has(self, node: Call) -> Closure:
        (argument,) = node.args
        if not isinstance(argument, Select):
            raise self.fail(node, "invalid argument to has() macro")
        of, field = self.make(argument.of), argument.field
        return lambda scope: operators.has(of(scope), field)

    def and_(self, args: tuple[Node, ...]) -> Closure:
        return self._absorbing(args, "&&", stop=False)

    def or_(self, args: tuple[Node, ...]) -> Closure:
        return self._absorbing(args, "||", stop=True)

    def _absorbing(self, args: tuple[Node, ...], operator: str, *, stop: bool) -> Closure:
        """An error on one side does not matter if the other side decides."""
        first, second = self.make(args[0]), self.branch(args[1])

        def run(scope: Scope) -> Any:
            try:
                if _boolean(first(scope), operator) is stop:
                    return stop
            except BudgetExceeded:
                raise
            except EvaluationError:
                if _boolean(second(scope), operator) is stop:
                    return stop
                raise
            return _boolean(second(scope), operator)

        return run

    def conditional(self, args: tuple[Node, ...]) -> Closure:
        condition, then, otherwise = self.make(args[0]), self.branch(args[1]), self.branch(args[2])
        return lambda scope: then(scope) if _boolean(condition(scope), "?:") else otherwise(scope)


def with_variable(scope: Scope, name: str, value: Any, body: Closure) -> Any:
    """Evaluates `body` with one more variable."""
    variables = scope.variables
    missing = object()
    before = variables.get(name, missing)
    variables[name] = value
    try:
        return body(scope)
    finally:
        if before is missing:
            del variables[name]
        else:
            variables[name] = before


_LOGIC: dict[str, Callable[[_Compiler, tuple[Node, ...]], Closure]] = {
    "_&&_": _Compiler.and_, "_||_": _Compiler.or_, "_?_:_": _Compiler.conditional,
}
_OPERATORS: dict[str, Callable[..., Any]] = {
    "_+_": operators.add,
    "_-_": operators.subtract,
    "_*_": operators.multiply,
    "_/_": operators.divide,
    "_%_": operators.modulo,
    "-_": operators.negate,
    "!_": lambda value: not _boolean(value, "!"),
    "_==_": equal,
    "_!=_": lambda first, second: not equal(first, second),
    "_<_": lambda first, second: compared(first, second) < 0,
    "_<=_": lambda first, second: compared(first, second) <= 0,
    "_>_": lambda first, second: compared(first, second) > 0,
    "_>=_": lambda first, second: compared(first, second) >= 0,
    "@in": operators.contains,
}

__all__ = ["NONE", "Lazy", "LazyMap", "Optional", "Program", "Scope", "compile_expression", "with_variable"]
