"""The rules that hold for the metadata of every kind."""

from __future__ import annotations

from typing import Any

import pytest

from podwright.api import validation
from podwright.api.objects import Object, deepcopy
from podwright.api.resources import CLUSTERROLES, CONFIGMAPS, NAMESPACES, NODES
from podwright.api.status import FieldError
from podwright.api.validation.field_errors import forbidden, invalid, required, too_long

OWNER = {"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "u"}
TWO = [OWNER | {"controller": True}, OWNER | {"name": "q", "controller": True}]


def config_map(**metadata: Any) -> Object:
    return {"metadata": {"name": "a", "namespace": "default", **metadata}}


CASES: dict[str, tuple[Object, FieldError]] = {
    "finalizer": (
        config_map(finalizers=["x"]),
        invalid(
            "metadata.finalizers[0]", "x", "name is neither a standard finalizer name nor is it fully qualified"
        ),
    ),
    "both finalizers": (
        config_map(finalizers=["orphan", "foregroundDeletion"]),
        invalid(
            "metadata.finalizers",
            ["orphan", "foregroundDeletion"],
            "finalizer orphan and foregroundDeletion cannot be both set",
        ),
    ),
    "annotations": (config_map(annotations={"a": "x" * 262145}), too_long("metadata.annotations", 262144)),
    "label key": (
        config_map(labels={"/x": "1"}),
        invalid("metadata.labels", "/x", "prefix part must be non-empty"),
    ),
    "label value": (
        config_map(labels={"x": "a" * 64}),
        invalid("metadata.labels", "a" * 64, "must be no more than 63 characters"),
    ),
    "owner version": (
        config_map(ownerReferences=[OWNER | {"apiVersion": ""}]),
        invalid("metadata.ownerReferences.apiVersion", "", "version must not be empty"),
    ),
    "owner uid": (
        config_map(ownerReferences=[OWNER | {"uid": ""}]),
        invalid("metadata.ownerReferences.uid", "", "must not be empty"),
    ),
    "two controllers": (
        config_map(ownerReferences=TWO),
        invalid(
            "metadata.ownerReferences",
            TWO,
            'Only one reference can have Controller set to true. Found "true" in references for Pod/p and Pod/q',
        ),
    ),
    "no namespace": (config_map(namespace=""), required("metadata.namespace")),
}


@pytest.mark.parametrize("case", CASES)
def test_create(case: str) -> None:
    obj, expected = CASES[case]
    assert validation.validate_create(CONFIGMAPS, obj) == [expected]


def test_a_cluster_kind_has_no_namespace() -> None:
    obj = {"metadata": {"name": "a", "namespace": "b"}}
    assert validation.validate_create(NODES, obj) == [forbidden("metadata.namespace", "not allowed on this type")]


def test_rbac_names_may_have_colons() -> None:
    assert validation.validate_create(CLUSTERROLES, {"metadata": {"name": "system:x"}}) == []


def test_a_namespace_is_a_label() -> None:
    obj = {"metadata": {"name": "a.b"}}
    assert validation.validate_create(NAMESPACES, obj) == [invalid("metadata.name", "a.b", "must not contain dots")]


def _update(change: Object, **old: Any) -> list[FieldError]:
    before = config_map(uid="u", resourceVersion="1", creationTimestamp="2026-01-01T00:00:00Z", **old)
    after = deepcopy(before)
    after["metadata"].update(change)
    return validation.validate_update(CONFIGMAPS, after, before)


def test_identity_is_immutable() -> None:
    assert _update({"uid": "v"}) == [invalid("metadata.uid", "v", "field is immutable")]
    assert _update({"name": "b"}) == [invalid("metadata.name", "b", "field is immutable")]


def test_an_update_needs_a_version() -> None:
    said = "must be specified for an update"
    assert _update({"resourceVersion": ""}) == [invalid("metadata.resourceVersion", "", said)]


def test_a_dying_object_gets_no_finalizers() -> None:
    deleted = {"deletionTimestamp": "2026-01-01T00:00:00Z"}
    said = (
        "no new finalizers can be added if the object is being deleted, found new finalizers []string{\"a.b/c\"}"
    )
    assert _update({"finalizers": ["a.b/c"]}, **deleted) == [forbidden("metadata.finalizers", said)]


def test_what_the_server_set_is_brought_back() -> None:
    old = config_map(uid="u", creationTimestamp="2026-01-01T00:00:00Z")
    new = config_map(resourceVersion="1")
    validation.prepare_for_update(CONFIGMAPS, new, old)
    assert new["metadata"]["uid"] == "u"
    assert new["metadata"]["creationTimestamp"] == "2026-01-01T00:00:00Z"
