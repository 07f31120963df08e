"""The comprehension macros: all, exists, existsOne, map, filter, the two-variable forms, optMap and optFlatMap."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from podwright.api.cel import operators
from podwright.api.cel.errors import BudgetExceeded, EvaluationError, no_such_overload
from podwright.api.cel.spending import step_weight
from podwright.api.cel.syntax import Call, Node, variables_of
from podwright.api.cel.values import NONE, Optional, type_name

if TYPE_CHECKING:
    from podwright.api.cel.evaluation import Closure, Scope, _Compiler

    Steps = Callable[[Scope], Iterator[tuple[Any, Any]]]


def expand(compiler: _Compiler, node: Call, target: Node) -> Closure | None:
    """The closure of a macro call, None if it is an ordinary method."""
    names = variables_of(node)
    if not names:
        return None
    inner = compiler.within(*names)
    bodies = [inner.make(arg) for arg in node.args[len(names) :]]
    of = compiler.make(target)
    if node.name in ("optMap", "optFlatMap"):
        return _optional(of, names[0], bodies[0], flat=node.name == "optFlatMap")
    return _MAKERS[node.name](_steps(of, names, step_weight(node.name, node.args[len(names) :])), names, bodies)


def _steps(of: Closure, names: tuple[str, ...], cost: int) -> Steps:
    """Binds the variables to each element in turn, and pays for the step."""

    def steps(scope: Scope) -> Iterator[tuple[Any, Any]]:
        variables, value = scope.variables, of(scope)
        if len(names) == 1:
            (name,) = names
            for element in operators.elements(value):
                scope.spend(cost)
                variables[name] = element
                yield element, element
        else:
            first, second = names
            for key, element in operators.entries(value):
                scope.spend(cost)
                variables[first], variables[second] = key, element
                yield key, element

    return steps


def _scoped(names: tuple[str, ...], run: Closure) -> Closure:
    """Puts variables of the same name back when the comprehension is over."""

    def scoped(scope: Scope) -> Any:
        variables = scope.variables
        before = {name: variables[name] for name in names if name in variables}
        try:
            return run(scope)
        finally:
            for name in names:
                variables.pop(name, None)
            variables.update(before)

    return scoped


def _is_true(value: Any) -> bool:
    if not isinstance(value, bool):
        raise no_such_overload(f"predicate of type {type_name(value)}")
    return value


def _quantified(stop: bool) -> Callable[[Steps, tuple[str, ...], list[Closure]], Closure]:
    """all (stops at false) and exists (stops at true); errors count only if no element decides."""

    def make(steps: Steps, names: tuple[str, ...], bodies: list[Closure]) -> Closure:
        (body,) = bodies

        def run(scope: Scope) -> Any:
            error: EvaluationError | None = None
            for _ in steps(scope):
                try:
                    if _is_true(body(scope)) is stop:
                        return stop
                except BudgetExceeded:
                    raise
                except EvaluationError as problem:
                    error = problem
            if error is not None:
                raise error
            return not stop

        return _scoped(names, run)

    return make


def _exists_one(steps: Steps, names: tuple[str, ...], bodies: list[Closure]) -> Closure:
    (body,) = bodies
    return _scoped(names, lambda scope: sum(_is_true(body(scope)) for _ in steps(scope)) == 1)


def _filter(steps: Steps, names: tuple[str, ...], bodies: list[Closure]) -> Closure:
    (body,) = bodies
    return _scoped(names, lambda scope: [element for _, element in steps(scope) if _is_true(body(scope))])


def _map(steps: Steps, names: tuple[str, ...], bodies: list[Closure]) -> Closure:
    *condition, body = bodies

    def run(scope: Scope) -> Any:
        return [
            body(scope)
            for _ in steps(scope)
            if not condition or _is_true(condition[0](scope))
        ]

    return _scoped(names, run)


def _transform_map(steps: Steps, names: tuple[str, ...], bodies: list[Closure]) -> Closure:
    *condition, body = bodies

    def run(scope: Scope) -> Any:
        return {
            key: body(scope)
            for key, _ in steps(scope)
            if not condition or _is_true(condition[0](scope))
        }

    return _scoped(names, run)


def _transform_entry(steps: Steps, names: tuple[str, ...], bodies: list[Closure]) -> Closure:
    *condition, body = bodies

    def run(scope: Scope) -> Any:
        out: dict[Any, Any] = {}
        for _ in steps(scope):
            if condition and not _is_true(condition[0](scope)):
                continue
            for key, value in body(scope).items():
                if key in out:
                    raise EvaluationError(f"insert failed: key {key} already exists")
                out[key] = value
        return out

    return _scoped(names, run)


def _optional(of: Closure, name: str, body: Closure, *, flat: bool) -> Closure:
    def run(scope: Scope) -> Any:
        value = of(scope)
        if not isinstance(value, Optional):
            raise no_such_overload(f"{type_name(value)}.optMap()")
        if not value.present:
            return NONE
        scope.variables[name] = value.value
        result = body(scope)
        return result if flat else Optional(True, result)

    return _scoped((name,), run)


_MAKERS: dict[str, Callable[[Steps, tuple[str, ...], list[Closure]], Closure]] = {
    "all": _quantified(False),
    "exists": _quantified(True),
    "exists_one": _exists_one,
    "existsOne": _exists_one,
    "map": _map,
    "filter": _filter,
    "transformList": _map,
    "transformMap": _transform_map,
    "transformMapEntry": _transform_entry,
}
