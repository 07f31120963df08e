import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podwright.api import schema
from podwright.api.patch import json_patch, merge, strategic
from podwright.api.resources import CONFIGMAPS, DEPLOYMENTS, PODS
from podwright.api.status import ApiError

POD = schema.for_resource(PODS)
DEPLOYMENT = schema.for_resource(DEPLOYMENTS)


def code(call: object, *args: object) -> int:
    with pytest.raises(ApiError) as caught:
        call(*args)
    return caught.value.code


def test_merge_patch() -> None:
    doc = {"a": {"b": 1, "c": 2}, "l": [1, 2]}
    before = copy.deepcopy(doc)
    assert merge.apply(doc, {"a": {"b": None, "d": {"x": None, "y": 1}}, "l": [3], "z": None}) == {
        "a": {"c": 2, "d": {"y": 1}}, "l": [3]
    }
    assert doc == before
    assert code(merge.apply, doc, [1]) == 400


@pytest.mark.parametrize(
    ("ops", "result"),
    [
        ([{"op": "add", "path": "/a/x", "value": 1}], {"a": {"b": [1, 2], "x": 1}, "s/~": 0}),
        ([{"op": "add", "path": "/a/b/-", "value": 3}], {"a": {"b": [1, 2, 3]}, "s/~": 0}),
        ([{"op": "add", "path": "/a/b/0", "value": 0}], {"a": {"b": [0, 1, 2]}, "s/~": 0}),
        ([{"op": "remove", "path": "/a/b/1"}], {"a": {"b": [1]}, "s/~": 0}),
        ([{"op": "remove", "path": "/s~1~0"}], {"a": {"b": [1, 2]}}),
        ([{"op": "replace", "path": "/a", "value": None}], {"a": None, "s/~": 0}),
        ([{"op": "move", "from": "/a/b", "path": "/c"}], {"a": {}, "c": [1, 2], "s/~": 0}),
        ([{"op": "copy", "from": "/a/b/0", "path": "/a/b/2"}], {"a": {"b": [1, 2, 1]}, "s/~": 0}),
        ([{"op": "test", "path": "/a", "value": {"b": [1, 2.0]}}, {"op": "replace", "path": "/s~1~0", "value": 1}],
         {"a": {"b": [1, 2]}, "s/~": 1}),
        ([{"op": "test", "path": "/none", "value": None}], {"a": {"b": [1, 2]}, "s/~": 0}),
    ],
)
def test_json_patch(ops: list, result: dict) -> None:
    doc = {"a": {"b": [1, 2]}, "s/~": 0}
    before = copy.deepcopy(doc)
    assert json_patch.apply(doc, ops) == result
    assert doc == before


@pytest.mark.parametrize(
    ("ops", "expected"),
    [
        ({}, 400), ([1], 400), ([{"op": "nope", "path": "/a"}], 400), ([{"op": "add"}], 400),
        ([{"op": "add", "path": "/a"}], 400), ([{"op": "move", "path": "/a"}], 400),
        ([{"op": "remove", "path": "/x"}], 422), ([{"op": "replace", "path": "/x", "value": 1}], 422),
        ([{"op": "test", "path": "/a", "value": 2}], 422), ([{"op": "test", "path": "/a", "value": True}], 422),
        ([{"op": "add", "path": "/a/b/c", "value": 1}], 422), ([{"op": "add", "path": "/l/9", "value": 1}], 422),
        ([{"op": "add", "path": "/l/x", "value": 1}], 422), ([{"op": "add", "path": "x", "value": 1}], 422),
        ([{"op": "replace", "path": "", "value": []}], 422), ([{"op": "remove", "path": ""}], 422),
        ([{"op": "move", "from": "/o", "path": "/o/x"}], 422),
        ([{"op": "test", "path": "/a", "value": 1}] * 10_001, 413),
        ([{"op": "copy", "from": "/o", "path": f"/o/{i}"} for i in range(60)], 422),  # it doubles with each
        ([op for _ in range(300) for op in (
            {"op": "add", "path": "/x", "value": {}}, {"op": "move", "from": "/o", "path": "/x/o"},
            {"op": "move", "from": "/x", "path": "/o"},
        )], 422),
    ],
)
def test_json_patch_refuses(ops: object, expected: int) -> None:
    assert code(json_patch.apply, {"a": 1, "l": [], "o": {}}, ops) == expected


def test_strategic_lists_merge_by_key() -> None:
    doc = {"spec": {"containers": [{"name": "a", "image": "1"}, {"name": "b", "image": "1"}]}}
    before = copy.deepcopy(doc)
    patch = {"spec": {"containers": [{"name": "b", "image": "2"}, {"name": "c", "image": "3"}]}}
    asked = copy.deepcopy(patch)
    assert strategic.apply(POD, doc, patch) == {"spec": {"containers": [
        {"name": "a", "image": "1"}, {"name": "b", "image": "2"}, {"name": "c", "image": "3"},
    ]}}
    assert doc == before
    assert patch == asked


def test_strategic_atomic_lists_replace() -> None:
    doc = {"spec": {"containers": [{"name": "a", "command": ["x", "y"]}]}}
    patch = {"spec": {"containers": [{"name": "a", "command": ["z"]}]}}
    assert strategic.apply(POD, doc, patch)["spec"]["containers"][0]["command"] == ["z"]


def test_strategic_directives() -> None:
    doc = {"spec": {"containers": [{"name": "a"}, {"name": "b"}], "nodeSelector": {"x": "y"}},
           "metadata": {"finalizers": ["one", "two"], "labels": {"a": "b"}}}
    assert strategic.apply(POD, doc, {"spec": {"containers": [{"$patch": "delete", "name": "a"}]}})["spec"][
        "containers"] == [{"name": "b"}]
    assert strategic.apply(POD, doc, {"spec": {"containers": [{"$patch": "replace"}, {"name": "z"}]}})["spec"][
        "containers"] == [{"name": "z"}]
    assert strategic.apply(POD, doc, {"spec": {"nodeSelector": {"$patch": "replace", "q": "r"}}})["spec"][
        "nodeSelector"] == {"q": "r"}
    assert strategic.apply(POD, doc, {"spec": {"nodeSelector": {"$patch": "delete"}}})["spec"]["nodeSelector"] == {}
    assert strategic.apply(POD, doc, {"metadata": {"$deleteFromPrimitiveList/finalizers": ["one"]}})["metadata"][
        "finalizers"] == ["two"]
    assert strategic.apply(POD, doc, {"metadata": {"finalizers": ["two", "three"]}})["metadata"]["finalizers"] == [
        "one", "two", "three"]
    assert strategic.apply(POD, doc, {"metadata": {"labels": {"a": None, "c": "d"}}})["metadata"]["labels"] == {
        "c": "d"}
    assert strategic.apply(POD, doc, {"$patch": "replace", "kind": "Pod"}) == {"kind": "Pod"}


def test_strategic_retain_keys() -> None:
    doc = {"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}}
    patch = {"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}}
    assert strategic.apply(DEPLOYMENT, doc, patch) == {"spec": {"strategy": {"type": "Recreate"}}}
    bad = {"spec": {"strategy": {"$retainKeys": ["rollingUpdate"], "type": "Recreate"}}}
    assert code(strategic.apply, DEPLOYMENT, doc, bad) == 400


def test_strategic_order() -> None:
    doc = {"spec": {"containers": [{"name": "a"}, {"name": "server"}, {"name": "b"}]}}
    patch = {"spec": {"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}, {"name": "c"}],
                      "containers": [{"name": "c"}]}}
    assert [c["name"] for c in strategic.apply(POD, doc, patch)["spec"]["containers"]] == ["server", "b", "a", "c"]
    wrong = {"spec": {"$setElementOrder/containers": [{"name": "b"}], "containers": [{"name": "c"}]}}
    assert code(strategic.apply, POD, doc, wrong) == 400


def test_strategic_new_elements_take_the_place_of_deleted_ones() -> None:
    doc = {"spec": {"containers": [{"name": "1"}, {"name": "2"}, {"name": "4"}]}}
    patch = {"spec": {"$setElementOrder/containers": [{"name": "2"}, {"name": "3"}],
                      "containers": [{"name": "3"}, {"name": "1", "$patch": "delete"}]}}
    assert [c["name"] for c in strategic.apply(POD, doc, patch)["spec"]["containers"]] == ["2", "4", "3"]


def test_strategic_new_fields_lose_nulls_and_directives() -> None:
    patch = {"spec": {"affinity": {"nodeAffinity": None, "podAffinity": {"$patch": "delete"}}, "hostname": "x",
                      "securityContext": {"$retainKeys": ["runAsUser"], "runAsUser": 1}}}
    assert strategic.apply(POD, {}, patch) == {
        "spec": {"affinity": {}, "hostname": "x", "securityContext": {"runAsUser": 1}}
    }


@pytest.mark.parametrize(
    "patch",
    [
        [], {"$patch": "nope"}, {"spec": {"containers": [{"image": "x"}]}}, {"spec": {"containers": ["x"]}},
        {"spec": {"containers": [{"name": "a", "$patch": "merge"}]}},
        {"spec": {"containers": [{"name": "a", "$patch": "x"}]}},
        {"spec": {"$setElementOrder/containers": 1}}, {"spec": {"$setElementOrder": []}},
        {"metadata": {"$deleteFromPrimitiveList": ["x"]}}, {"spec": {"$retainKeys": 1}},
        {"spec": {"containers": [{"name": ["x"]}]}},
    ],
)
def test_strategic_refuses(patch: object) -> None:
    doc = {"spec": {"containers": [{"name": "a"}]}, "metadata": {"finalizers": ["x"]}}
    assert code(strategic.apply, POD, doc, patch) == 400


def test_custom_resources_have_no_strategic_merge() -> None:
    assert code(strategic.apply, schema.from_structural({"type": "object"}), {}, {}) == 415


NAMES = st.sampled_from(["a", "b", "c", "d"])
PATCHES = st.recursive(
    st.none() | st.integers(0, 2) | NAMES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["name", "containers", "env", "$patch", "$retainKeys", "$setElementOrder/containers",
                         "$deleteFromPrimitiveList/finalizers", "finalizers", "metadata", "spec", "image"]),
        inner, max_size=4),
    max_leaves=10,
)


@given(PATCHES)
def test_any_patch_applies_or_is_refused(patch: object) -> None:
    doc = {"metadata": {"finalizers": ["a", "b"]},
           "spec": {"containers": [{"name": "a", "env": [{"name": "x", "value": "1"}]}, {"name": "b"}]}}
    before = copy.deepcopy(doc)
    asked = copy.deepcopy(patch)
    for apply in (lambda d, p: strategic.apply(POD, d, p), merge.apply, json_patch.apply):
        try:
            apply(doc, patch)
        except ApiError as e:
            assert e.code < 500
    assert doc == before
    assert patch == asked


def test_maps_merge() -> None:
    configmap = schema.for_resource(CONFIGMAPS)
    assert strategic.apply(configmap, {"data": {"a": "1"}}, {"data": {"b": "2"}}) == {"data": {"a": "1", "b": "2"}}


def test_a_json_patch_that_does_not_fit_is_refused_in_the_words_that_kubectl_shows() -> None:
    with pytest.raises(ApiError) as refused:
        json_patch.apply({"a": 1}, [{"op": "remove", "path": "/b"}])
    assert refused.value.status["message"] == "the server rejected our request due to an error in our request"
    assert refused.value.status["details"] == {}
    assert "missing path" in str(refused.value.__cause__)
