"""Every served type, with objects made at random from its schema: what the floor promises holds for all of them."""

import copy

from hypothesis import given, settings
from hypothesis import strategies as st

from podwright.api import schema, typecheck
from podwright.api.apply import apply_patch, field_sets, track_update
from podwright.api.apply.compare import compare, stated_fields
from podwright.api.apply.field_types import field_type
from podwright.api.patch import merge, strategic
from podwright.api.resources import BUILTIN, Resource
from podwright.api.schema import ANY, ARRAY, INT_OR_STRING, MAP, OBJECT, QUANTITY, Schema
from podwright.api.status import ApiError

NOW = "2026-01-01T00:00:00Z"
WORDS = st.sampled_from(["a", "b", "c", ""])
JUNK = st.sampled_from([None, 0, 1, -1, 1.5, True, "x", [], {}, [1], {"x": 1}])


@st.composite
def values(draw: st.DrawFn, node: Schema, depth: int = 0, junk: bool = False) -> object:
    """A value of a type; with `junk`, here and there something else."""
    if junk and draw(st.integers(0, 9)) == 0:
        return draw(JUNK)
    if node.kind == OBJECT:
        names = sorted(node.properties)
        if not names or depth > 6:
            return {}
        chosen = draw(st.lists(st.sampled_from(names), unique=True, max_size=4))
        out = {n: draw(values(node.properties[n], depth + 1, junk)) for n in chosen}
        if junk and draw(st.integers(0, 9)) == 0:
            out["noSuchField"] = draw(JUNK)
        return out
    if node.kind == MAP:
        return {k: draw(values(node.values, depth + 1, junk)) for k in draw(st.lists(WORDS, unique=True, max_size=2))}
    if node.kind == ARRAY:
        items = [draw(values(node.items, depth + 1, junk)) for _ in range(draw(st.integers(0, 2)))]
        if node.list_type == "map" and not junk:
            fields = node.items.properties
            for i, item in enumerate(items):
                for key in node.list_map_keys:
                    item[key] = i if fields[key].type == "integer" else f"k{i}"
        if node.list_type == "set" and not junk:
            items = [f"v{i}" if isinstance(v, str) else i for i, v in enumerate(items)]
        return items
    if node.kind == QUANTITY:
        return draw(st.sampled_from(["1", "500m", "1024Mi", 2, 0.5]))
    if node.kind == INT_OR_STRING:
        return draw(st.sampled_from([0, 80, "25%"]))
    if node.kind == ANY:
        return {"free": draw(WORDS)}
    if node.format.endswith("date-time"):
        return "2026-01-01T00:00:00.000000Z" if node.format.startswith("micro") else NOW
    if node.format == "byte":
        return "aGk="
    return draw({
        "integer": st.integers(0, 3), "number": st.just(1.5), "boolean": st.booleans(), "string": WORDS,
    }[node.type])


KINDS = st.sampled_from([r for r in BUILTIN if r.kind != "ComponentStatus"])


@st.composite
def objects(draw: st.DrawFn, *, junk: bool = False, count: int = 1) -> tuple[Resource, Schema, list]:
    row = draw(KINDS)
    node = schema.for_resource(row)
    made = []
    for _ in range(count):
        obj = draw(values(node, junk=junk))
        if not isinstance(obj, dict):
            obj = {}
        meta = obj.get("metadata") if isinstance(obj.get("metadata"), dict) else {}
        meta.pop("managedFields", None)
        made.append({**obj, "apiVersion": row.api_version, "kind": row.kind, "metadata": {**meta, "name": "n"}})
    return row, node, made


@settings(max_examples=150)
@given(objects(junk=True))
def test_pruning_gives_what_conforms(drawn: tuple) -> None:
    _, node, (obj,) = drawn
    before = copy.deepcopy(obj)
    checked = typecheck.check(node, obj)
    assert obj == before
    if not checked.errors:
        again = typecheck.check(node, checked.value)
        assert not again.unknown
        assert again.value == checked.value
    as_sent = typecheck.check(node, obj, as_sent=True)
    assert as_sent.unknown == checked.unknown
    if not as_sent.unknown:
        assert as_sent.value == obj


@settings(max_examples=150)
@given(objects(count=2))
def test_ownership(drawn: tuple) -> None:
    row, node, made = drawn
    a, b = (typecheck.prune(node, obj) for obj in made)
    before = copy.deepcopy((a, b))
    kind = field_type(node)
    assert compare(kind, a, copy.deepcopy(a)) == ({}, {})
    entries = track_update(node, None, a, manager="m", api_version=row.api_version, now=NOW)
    live = {**a, "metadata": {**a["metadata"], "uid": "u", **({"managedFields": entries} if entries else {})}}
    again = track_update(node, live, live, manager="other", api_version=row.api_version, now=NOW)
    assert again == entries
    track_update(node, live, b, manager="other", api_version=row.api_version, now=NOW)
    applied = apply_patch(node, live, b, manager="me", api_version=row.api_version, now=NOW, force=True, reset={})
    assert typecheck.check(node, applied).unknown == []
    twice = apply_patch(node, applied, b, manager="me", api_version=row.api_version, now=NOW, reset={})
    assert twice == applied
    mine = [e["fieldsV1"] for e in applied["metadata"].get("managedFields", []) if e["manager"] == "me"]
    for fields in mine:
        assert field_sets.difference(fields, stated_fields(kind, b)) == {}
    assert (a, b) == before


@settings(max_examples=150)
@given(objects(junk=True, count=2))
def test_patches_never_fail_otherwise_than_by_refusing(drawn: tuple) -> None:
    row, node, (a, b) = drawn
    before = copy.deepcopy((a, b))
    for patch in (lambda: strategic.apply(node, a, b), lambda: merge.apply(a, b),
                  lambda: apply_patch(node, a, b, manager="m", api_version=row.api_version, now=NOW)):
        try:
            patch()
        except ApiError as e:
            assert e.code < 500
    assert (a, b) == before
