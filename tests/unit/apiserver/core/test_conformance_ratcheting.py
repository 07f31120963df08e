"""What has not changed is not held against an update of a custom resource, step by step as upstream's own tests have it
(test/e2e/apimachinery/crd_validation_ratcheting.go), and its validation rules (crd_validation_rules.go)."""

from __future__ import annotations

from typing import Any

import pytest

from .conftest import Answer, Api

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
PATH = "/apis/ratchet.example.com/v1/namespaces/default/e2es"
LABELS = {"metadata": {"labels": {"foo": "bar"}}}
FIELDS = ("field", "struct.field", "list[0].field", "list[1].field")
Tree = dict[str, Any]


def definition(schema: Tree) -> Tree:
    return {
        "metadata": {"name": "e2es.ratchet.example.com"},
        "spec": {
            "group": "ratchet.example.com", "scope": "Namespaced", "names": {"plural": "e2es", "kind": "E2e"},
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}],
        },
    }


def everywhere(leaf: Tree) -> Tree:
    """A schema with one field at the top, in an object, in a list by keys and in a map."""
    also = {"field": leaf, "otherField": {"type": "string"}}
    items = {"type": "object", "required": ["key"], "properties": {"key": {"type": "string"}, **also}}
    return {"type": "object", "properties": {
        **also, "struct": {"type": "object", "properties": also},
        "list": {"type": "array", "maxItems": 5, "items": items, "x-kubernetes-list-type": "map",
                 "x-kubernetes-list-map-keys": ["key"]},
        "map": {"type": "object", "maxProperties": 5, "additionalProperties": {"type": "object", "properties": also}},
    }}


def values(value: str, **more: str) -> Tree:
    own = {"field": value, **more}
    return {**own, "struct": own, "list": [{"key": k, **own} for k in ("foo", "bar")], "map": {"foo": own, "bar": own}}


async def apply(api: Api, body: Tree) -> Answer:
    envelope = {"apiVersion": "ratchet.example.com/v1", "kind": "E2e"}
    metadata = {**body.get("metadata", {}), "name": "test-resource"}
    sent = {**body, **envelope, "metadata": metadata}
    return await api.patch(f"{PATH}/test-resource?fieldManager=manager", sent, kind="apply-patch+yaml")


async def stored(api: Api, body: Tree, schema: Tree) -> None:
    """An object that was allowed when it came, and the schema that it does not meet any more."""
    made = await api.post(CRDS, definition({"type": "object", "x-kubernetes-preserve-unknown-fields": True}))
    assert made.status == 201, made.text
    assert (await apply(api, body)).status == 201
    changed = await api.patch(f"{CRDS}/e2es.ratchet.example.com", {"spec": definition(schema)["spec"]})
    assert changed.status == 200, changed.text


def refused(answer: Answer, *paths: str) -> None:
    assert answer.status == 422, answer.text
    assert set(paths) <= {cause["field"] for cause in answer.json["details"]["causes"]}, answer.text


ENUM = {"type": "string", "enum": ["foo"]}
RULE = {"type": "string", "x-kubernetes-validations": [{"rule": 'self == "foo"'}]}
SAME = {"type": "string", "maxLength": 5, "x-kubernetes-validations": [{"rule": "self != oldSelf"}]}
OPTIONAL = {"type": "string", "maxLength": 5, "x-kubernetes-validations": [
    {"rule": "!oldSelf.hasValue() || self != oldSelf.value()", "optionalOldSelf": True}]}


@pytest.mark.parametrize("leaf", [ENUM, RULE])
async def test_what_stayed_as_it_was_may_be_wrong(api: Api, leaf: Tree) -> None:
    await stored(api, values("notfoo"), everywhere(leaf))
    assert (await apply(api, {**values("notfoo"), **LABELS})).status == 200
    more = values("notfoo", otherField="doesntmatter")
    more["list"].append({"key": "baz", "field": "foo"})
    assert (await apply(api, more)).status == 200


@pytest.mark.parametrize(("leaf", "entry"), [(ENUM, "map.{}.field"), (RULE, "map[{}].field")])
async def test_what_changed_may_not(api: Api, leaf: Tree, entry: str) -> None:
    await stored(api, values("foo"), everywhere(leaf))
    refused(await apply(api, values("notfoo")), *FIELDS, *(entry.format(key) for key in ("foo", "bar")))


@pytest.mark.parametrize("leaf", [{"enum": ["notfoo"]}, {"x-kubernetes-validations": [{"rule": 'self != "foo"'}]}])
async def test_entries_without_keys_are_not_told_apart(api: Api, leaf: Tree) -> None:
    before = ["foo", "bar"]
    entries = {"type": "array", "maxItems": 9, "items": {"type": "string", **leaf}}
    schema = {"atomicArray": entries, "setArray": {**entries, "x-kubernetes-list-type": "set"}}
    await stored(api, {"setArray": before, "atomicArray": before}, {"type": "object", "properties": schema})
    more = [*before, "notfoo"]
    refused(await apply(api, {"setArray": more, "atomicArray": more, **LABELS}), "atomicArray[0]", "setArray[0]")


@pytest.mark.parametrize("leaf", [SAME, OPTIONAL])
async def test_transitions_are_always_held(api: Api, leaf: Tree) -> None:
    await stored(api, values("foo"), everywhere(leaf))
    refused(await apply(api, {**values("foo"), **LABELS}), *FIELDS, "map[foo].field", "map[bar].field")
    assert (await apply(api, values("new"))).status == 200


async def test_an_optional_old_value_is_none_of_a_new_object(api: Api) -> None:
    await api.post(CRDS, definition(everywhere(OPTIONAL)))
    assert (await apply(api, values("foo"))).status == 201


async def test_rules_and_what_they_may_cost(api: Api) -> None:
    numbers = {"type": "array", "maxItems": 1000, "items": {"type": "integer"}}
    spec = {"type": "object", "properties": {
        "x": {"type": "integer"}, "y": {"type": "integer"}, "first": numbers, "second": numbers,
        "large": {**numbers, "maxItems": 725}}, "x-kubernetes-validations": [
        {"rule": "self.x + self.y > 0"},
        {"rule": "self.first.isSorted() && self.second.isSorted() && (self.first.sum() + self.second.sum()) % 2 == 0"},
        {"rule": "self.large.all(x, self.large.all(y, y == x))"},
    ]}
    made = await api.post(CRDS, definition({"type": "object", "properties": {"spec": spec}}))
    assert made.status == 201, made.text
    good = {"x": 1, "y": 0, "first": [3, 4], "second": [5, 10], "large": [2, 2]}
    assert (await apply(api, {"spec": good})).status == 201
    assert "failed rule: self.x + self.y > 0" in (await apply(api, {"spec": {**good, "x": 0}})).text
    assert "call cost exceeds limit" in (await apply(api, {"spec": {**good, "large": [20] * 725}})).text


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ({"properties": {"x": {"type": "integer"}}, "x-kubernetes-validations": [{"rule": "self.z == 100"}]},
         "undefined field 'z'"),
        ({"x-kubernetes-validations": [{"rule": "self = 42"}]}, "Syntax error"),
        ({"properties": {"x": {"type": "array", "items": {
            "type": "array", "items": {"type": "string"},
            "x-kubernetes-validations": [{"rule": "self.all(s, s == 'string constant')"}]}}}}, "exceeds budget"),
    ],
)
async def test_rules_that_cannot_stand(api: Api, spec: Tree, told: str) -> None:
    made = await api.post(CRDS, definition({"type": "object", "properties": {"spec": {"type": "object", **spec}}}))
    assert made.status == 422 and told in made.text
