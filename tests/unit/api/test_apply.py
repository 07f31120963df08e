import copy

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from podwright.api import schema
from podwright.api.apply import apply_patch, field_sets, track_update
from podwright.api.apply.compare import compare, stated_fields
from podwright.api.apply.field_types import field_type
from podwright.api.resources import CONFIGMAPS, DEPLOYMENTS, PODS, SERVICES
from podwright.api.status import ApiError

DEPLOYMENT = schema.for_resource(DEPLOYMENTS)
POD = schema.for_resource(PODS)
CONFIGMAP = schema.for_resource(CONFIGMAPS)
SERVICE = schema.for_resource(SERVICES)
NOW, LATER = "2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z"


def deployment(**spec: object) -> dict:
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d", "namespace": "ns"}, "spec": spec}


def configmap(**data: str) -> dict:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": data}


def containers(*names: str, **more: object) -> dict:
    return {"spec": {"containers": [{"name": n, "image": "i", **more} for n in names]}}


def apply(
    live: dict | None, applied: dict, manager: str = "me", node: schema.Schema = CONFIGMAP, **more: object
) -> dict:
    result = apply_patch(
        node, live, applied, manager=manager, api_version=applied["apiVersion"], now=more.pop("now", NOW), **more
    )
    result["metadata"].setdefault("uid", "u")
    return result


def update(old: dict | None, new: dict, manager: str = "them", node: schema.Schema = CONFIGMAP, **more: object) -> dict:
    entries = track_update(
        node, old, new, manager=manager, api_version=new["apiVersion"], now=more.pop("now", NOW), **more
    )
    result = copy.deepcopy(new)
    result["metadata"]["uid"] = "u"
    result["metadata"].pop("managedFields", None)
    if entries:
        result["metadata"]["managedFields"] = copy.deepcopy(entries)
    return result


def owners(obj: dict) -> dict:
    return {(e["manager"], e["operation"]): e["fieldsV1"] for e in obj["metadata"].get("managedFields", [])}


def bare(obj: dict) -> dict:
    obj = copy.deepcopy(obj)
    obj["metadata"].pop("managedFields", None)
    obj["metadata"].pop("uid", None)
    return obj


def conflict(call: object, *args: object, **kwargs: object) -> dict:
    with pytest.raises(ApiError) as caught:
        call(*args, **kwargs)
    assert caught.value.code == 409
    return caught.value.status


def test_create_is_tracked_as_upstream_writes_it() -> None:
    pod = {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "uid": "1", "labels": {"a": "b"}},
        "spec": {
            "containers": [{"name": "c", "image": "i", "resources": {}, "ports": [{"containerPort": 80}],
                            "env": [{"name": "E", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]}],
            "securityContext": {}, "tolerations": [{"operator": "Exists"}], "nodeSelector": {"x": "y"},
        },
        "status": {"phase": "Pending"},
    }
    assert track_update(POD, None, pod, manager="kubectl", api_version="v1", now=NOW) == [{
        "manager": "kubectl", "operation": "Update", "apiVersion": "v1", "time": NOW, "fieldsType": "FieldsV1",
        "fieldsV1": {
            "f:metadata": {"f:labels": {".": {}, "f:a": {}}},
            "f:spec": {
                "f:containers": {'k:{"name":"c"}': {
                    ".": {}, "f:name": {}, "f:image": {}, "f:resources": {},
                    "f:ports": {".": {}, 'k:{"containerPort":80,"protocol":"TCP"}': {".": {}, "f:containerPort": {}}},
                    "f:env": {".": {}, 'k:{"name":"E"}': {".": {}, "f:name": {}, "f:valueFrom": {
                        ".": {}, "f:fieldRef": {}}}},
                }},
                "f:securityContext": {}, "f:tolerations": {}, "f:nodeSelector": {},
            },
        },
    }]


def test_structs_by_value_are_nobodys() -> None:
    obj = deployment(
        selector={"matchLabels": {"a": "b"}}, strategy={"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}},
        template={"metadata": {"labels": {"a": "b"}}, **containers("c")},
    )
    entry = track_update(DEPLOYMENT, None, obj, manager="m", api_version="apps/v1", now=NOW)[0]
    assert entry["fieldsV1"] == {"f:spec": {
        "f:selector": {},
        "f:strategy": {"f:type": {}, "f:rollingUpdate": {".": {}, "f:maxSurge": {}}},
        "f:template": {
            "f:metadata": {"f:labels": {".": {}, "f:a": {}}},
            "f:spec": {"f:containers": {'k:{"name":"c"}': {".": {}, "f:name": {}, "f:image": {}}}},
        },
    }}


def test_update_moves_ownership() -> None:
    one = update(None, configmap(a="1", b="2"), "one")
    two = update(one, configmap(a="x", c="3"), "two", now=LATER)
    assert owners(two) == {("one", "Update"): {"f:data": {}}, ("two", "Update"): {"f:data": {"f:a": {}, "f:c": {}}}}
    assert [e["time"] for e in two["metadata"]["managedFields"]] == [NOW, LATER]


def test_unchanged_update_changes_no_entry() -> None:
    one = update(None, configmap(a="1"), "one")
    again = track_update(CONFIGMAP, one, one, manager="two", api_version="v1", now=LATER)
    assert again == one["metadata"]["managedFields"]


def test_status_and_spec_reset_each_other() -> None:
    created = update(None, {**deployment(replicas=1), "status": {"replicas": 5}}, "m", DEPLOYMENT)
    assert owners(created) == {("m", "Update"): {"f:spec": {"f:replicas": {}}}}
    changed = copy.deepcopy(created)
    changed["spec"]["replicas"] = 9
    changed["status"] = {"replicas": 2, "conditions": [{"type": "Available", "status": "True"}]}
    entries = track_update(
        DEPLOYMENT, created, changed, manager="ctl", api_version="apps/v1", subresource="status", now=NOW
    )
    mine = next(e for e in entries if e["manager"] == "ctl")
    assert mine["subresource"] == "status"
    assert mine["fieldsV1"] == {"f:status": {
        "f:replicas": {}, "f:conditions": {".": {}, 'k:{"type":"Available"}': {".": {}, "f:type": {}, "f:status": {}}},
    }}


@pytest.mark.parametrize("sent", [[], [{}]])
def test_reset(sent: list) -> None:
    one = update(None, configmap(a="1"), "one")
    new = configmap(a="2")
    new["metadata"]["managedFields"] = sent
    assert track_update(CONFIGMAP, one, new, manager="two", api_version="v1", now=NOW) == []


def test_untracked_objects_stay_untracked() -> None:
    old = configmap(a="1")
    old["metadata"]["uid"] = "u"
    assert track_update(CONFIGMAP, old, configmap(a="2"), manager="two", api_version="v1", now=NOW) == []


def test_clients_may_edit_managed_fields() -> None:
    one = update(None, configmap(a="1"), "one")
    new = copy.deepcopy(one)
    new["metadata"]["managedFields"][0]["manager"] = "renamed"
    assert owners({"metadata": {"managedFields": track_update(
        CONFIGMAP, one, new, manager="x", api_version="v1", now=NOW)}}) == {
        ("renamed", "Update"): {"f:data": {".": {}, "f:a": {}}}}
    for broken in ([{"manager": "x"}], [{"manager": "x", "operation": "Update", "apiVersion": "v1"}],
                   [{"manager": "x", "operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1",
                     "fieldsV1": {"nonsense": {}}}]):
        new["metadata"]["managedFields"] = broken
        assert track_update(CONFIGMAP, one, new, manager="x", api_version="v1", now=NOW) == (
            one["metadata"]["managedFields"])


def test_client_spelling_of_keys_is_made_canonical() -> None:
    fields = {"f:spec": {"f:ports": {'k:{"protocol": "TCP", "port": 80}': {".": {}}}}}
    assert field_sets.decode(fields) == {"f:spec": {"f:ports": {'k:{"port":80,"protocol":"TCP"}': {}}}}


def test_many_updaters_become_ancient_changes() -> None:
    obj = update(None, configmap(k0="0"), "m0")
    for i in range(1, 14):
        obj = update(obj, {**configmap(**obj["data"], **{f"k{i}": "x"})}, f"m{i:02}", now=f"2026-01-01T00:00:{i:02}Z")
    entries = obj["metadata"]["managedFields"]
    assert len(entries) <= 10
    assert any(e["manager"] == "ancient-changes" for e in entries)
    union: dict = {}
    for e in entries:
        union = field_sets.union(union, e["fieldsV1"])
    assert set(union["f:data"]) == {".", *(f"f:k{i}" for i in range(14))}


def test_apply_creates_and_owns_what_it_states() -> None:
    result = apply(None, configmap(a="1"))
    assert bare(result) == configmap(a="1")
    assert owners(result) == {("me", "Apply"): {"f:data": {"f:a": {}}}}
    assert result["metadata"]["managedFields"][0]["time"] == NOW


def test_apply_removes_what_it_no_longer_states() -> None:
    one = apply(None, configmap(a="1", b="2"))
    two = apply(one, configmap(a="1"), now=LATER)
    assert two["data"] == {"a": "1"}
    assert two["metadata"]["managedFields"][0]["time"] == LATER
    assert apply(two, configmap(a="1"), now="2026-01-01T09:00:00Z") == two


def test_apply_keeps_what_others_own() -> None:
    one = apply(None, configmap(a="1", b="2"), "one")
    two = apply(one, configmap(b="2"), "two")
    three = apply(two, configmap(a="1"), "one")
    assert three["data"] == {"a": "1", "b": "2"}
    four = apply(three, configmap(), "two")
    assert four["data"] == {"a": "1"}


def test_apply_conflicts() -> None:
    live = update(None, deployment(replicas=1), "kubectl-client-side-apply", DEPLOYMENT)
    status = conflict(apply, live, deployment(replicas=2), "me", DEPLOYMENT)
    assert status["message"] == (
        'Apply failed with 1 conflict: conflict with "kubectl-client-side-apply" using apps/v1: .spec.replicas'
    )
    assert status["reason"] == "Conflict"
    assert status["details"]["causes"] == [{
        "reason": "FieldManagerConflict", "field": ".spec.replicas",
        "message": 'conflict with "kubectl-client-side-apply" using apps/v1',
    }]
    forced = apply(live, deployment(replicas=2), "me", DEPLOYMENT, force=True)
    assert forced["spec"]["replicas"] == 2
    assert owners(forced) == {("me", "Apply"): {"f:spec": {"f:replicas": {}}}}


def test_conflicts_of_many() -> None:
    live = update(None, deployment(replicas=1, template=containers("a")), "one", DEPLOYMENT)
    live = apply(live, deployment(minReadySeconds=1), "two", DEPLOYMENT)
    asked = deployment(replicas=2, minReadySeconds=2, template={"spec": {"containers": [{"name": "a", "image": "z"}]}})
    assert conflict(apply, live, asked, "me", DEPLOYMENT)["message"] == (
        'Apply failed with 3 conflicts: conflicts with "one" using apps/v1:\n- .spec.replicas\n'
        '- .spec.template.spec.containers[name="a"].image\nconflicts with "two":\n- .spec.minReadySeconds'
    )


def test_equal_values_are_shared_not_fought_over() -> None:
    one = apply(None, configmap(a="1"), "one")
    two = apply(one, configmap(a="1"), "two")
    assert set(owners(two)) == {("one", "Apply"), ("two", "Apply")}
    assert two["data"] == {"a": "1"}


def test_objects_nobody_tracked() -> None:
    live = configmap(a="1", b="2")
    live["metadata"]["uid"] = "u"
    result = apply(live, configmap(a="1"))
    assert owners(result) == {
        ("me", "Apply"): {"f:data": {"f:a": {}}},
        ("before-first-apply", "Update"): {"f:data": {".": {}, "f:a": {}, "f:b": {}}},
    }
    assert conflict(apply, live, configmap(a="9"))["message"].startswith(
        'Apply failed with 1 conflict: conflict with "before-first-apply" using v1: .data.a')


def test_lists_merge_by_key_and_keep_order() -> None:
    live = update(None, deployment(template=containers("x", "y")), "one", DEPLOYMENT)
    result = apply(live, deployment(template=containers("z", "y")), "two", DEPLOYMENT)
    assert [c["name"] for c in result["spec"]["template"]["spec"]["containers"]] == ["x", "z", "y"]
    gone = apply(result, deployment(template=containers("y")), "two", DEPLOYMENT)
    assert [c["name"] for c in gone["spec"]["template"]["spec"]["containers"]] == ["x", "y"]


def test_key_defaults_tell_elements_apart() -> None:
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"},
               "spec": {"ports": [{"port": 80, "name": "a"}, {"port": 80, "protocol": "UDP", "name": "b"}]}}
    result = apply(None, service, "me", SERVICE)
    assert set(owners(result)["me", "Apply"]["f:spec"]["f:ports"]) == {
        'k:{"port":80,"protocol":"TCP"}', 'k:{"port":80,"protocol":"UDP"}'}
    live = copy.deepcopy(result)
    live["spec"]["ports"][0]["protocol"] = "TCP"
    again = apply(live, service, "me", SERVICE)
    assert again["spec"]["ports"] == live["spec"]["ports"]


def test_atomic_values_are_replaced_whole() -> None:
    live = apply(None, deployment(selector={"matchLabels": {"a": "1"}}), "one", DEPLOYMENT)
    other = deployment(selector={"matchLabels": {"b": "1"}})
    assert conflict(apply, live, other, "two", DEPLOYMENT)["message"].endswith('"one": .spec.selector')
    forced = apply(live, other, "two", DEPLOYMENT, force=True)
    assert forced["spec"]["selector"] == {"matchLabels": {"b": "1"}}


def test_zeros_are_stated_too() -> None:
    live = update(None, deployment(paused=True), "one", DEPLOYMENT)
    assert conflict(apply, live, deployment(paused=False), "two", DEPLOYMENT)
    result = apply(live, deployment(paused=False, minReadySeconds=None), "two", DEPLOYMENT, force=True)
    assert "spec" not in bare(result) or bare(result)["spec"] == {}
    assert owners(result) == {("two", "Apply"): {"f:spec": {"f:paused": {}, "f:minReadySeconds": {}}}}


def test_sets() -> None:
    def pod(*finalizers: str) -> dict:
        return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "finalizers": list(finalizers)}}

    one = apply(None, pod("a", "b"), "one", POD)
    two = apply(one, pod("c"), "two", POD)
    assert two["metadata"]["finalizers"] == ["a", "b", "c"]
    three = apply(two, pod("a"), "one", POD)
    assert three["metadata"]["finalizers"] == ["a", "c"]
    assert owners(three)["one", "Apply"] == {"f:metadata": {"f:finalizers": {'v:"a"': {}}}}


def test_migration_from_client_side_apply() -> None:
    config = configmap(a="1", b="2")
    live = copy.deepcopy(config)
    live["metadata"]["annotations"] = {
        "kubectl.kubernetes.io/last-applied-configuration": orjson.dumps(config).decode()}
    live = update(None, live, "kubectl-client-side-apply")
    result = apply(live, configmap(a="new", b="2"), "kubectl")
    assert result["data"] == {"a": "new", "b": "2"}
    text = result["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"]
    assert orjson.loads(text) == configmap(a="new", b="2")
    touched = update(live, {**copy.deepcopy(live), "data": {"a": "theirs", "b": "2"}}, "other")
    message = conflict(apply, touched, configmap(a="new", b="2"), "kubectl")["message"]
    assert message.endswith('"other" using v1: .data.a')
    assert conflict(apply, live, configmap(a="new"), "someone else")


@pytest.mark.parametrize(
    ("applied", "message"),
    [
        ({**configmap(), "apiVersion": "v2"}, "Incorrect version specified in apply patch"),
        ({**configmap(), "metadata": {"name": "c", "managedFields": []}}, "metadata.managedFields must be nil"),
        ({**configmap(), "foo": 1},
         "failed to create typed patch object (/c; /v1, Kind=ConfigMap): .foo: field not declared in schema"),
        ({**configmap(), "data": []}, ".data: expected map, got []"),
        ({**configmap(), "immutable": "x"}, '.immutable: expected boolean, got "x"'),
    ],
)
def test_bad_configurations(applied: dict, message: str) -> None:
    with pytest.raises(ApiError) as caught:
        apply_patch(CONFIGMAP, None, applied, manager="m", api_version="v1", now=NOW)
    assert caught.value.code == 400
    assert message in caught.value.status["message"]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (containers("a", "a"), '.spec.template.spec.containers: duplicate entries for key [name="a"]'),
        ({"spec": {"containers": [{"image": "x"}]}}, 'omits all key fields ["name"]'),
        ({"spec": {"containers": ["x"]}}, "may not have non-map elements"),
        ({"spec": {"containers": [None]}}, "may not have a null element"),
        ({"spec": {"containers": {}}}, "expected list, got map[]"),
    ],
)
def test_bad_lists(spec: dict, message: str) -> None:
    with pytest.raises(ApiError) as caught:
        apply_patch(DEPLOYMENT, None, deployment(template=spec), manager="m", api_version="apps/v1", now=NOW)
    assert message in caught.value.status["message"]


def test_custom_resources() -> None:
    node = schema.from_structural({"type": "object", "properties": {
        "spec": {"type": "object", "properties": {
            "items": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["id"],
                      "items": {"type": "object", "properties": {"id": {"type": "integer"}, "v": {"type": "string"}}}},
            "atomic": {"type": "object", "x-kubernetes-map-type": "atomic", "additionalProperties": {"type": "string"}},
            "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        }}}})
    obj = {"apiVersion": "e/v1", "kind": "E", "metadata": {"name": "e"},
           "spec": {"items": [{"id": 1, "v": "x"}], "atomic": {"a": "b"}, "free": {"x": {"y": [1]}}}}
    result = apply(None, obj, "one", node)
    assert owners(result)["one", "Apply"] == {"f:spec": {
        "f:items": {"k:{\"id\":1}": {".": {}, "f:id": {}, "f:v": {}}}, "f:atomic": {},
        "f:free": {"f:x": {".": {}, "f:y": {}}},
    }}
    created = track_update(node, None, obj, manager="m", api_version="e/v1", now=NOW)[0]["fieldsV1"]
    assert created["f:spec"]["."] == {}


def test_fields_that_became_atomic_are_owned_whole() -> None:
    def node(map_type: str) -> schema.Schema:
        return schema.from_structural({"type": "object", "properties": {"spec": {
            "type": "object", "x-kubernetes-map-type": map_type, "properties": {"a": {"type": "string"}}}}})

    def obj(value: str) -> dict:
        return {"apiVersion": "e/v1", "kind": "E", "metadata": {"name": "e"}, "spec": {"a": value}}

    one = apply(None, obj("1"), "one", node("granular"))
    assert conflict(apply, one, obj("2"), "two", node("atomic"))["message"].endswith('"one": .spec')


VALUES = st.dictionaries(st.sampled_from("abcd"), st.sampled_from("123"), max_size=4)


@st.composite
def objects(draw: st.DrawFn) -> dict:
    obj = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}}
    if labels := draw(VALUES):
        obj["metadata"]["labels"] = labels
    spec: dict = {}
    if draw(st.booleans()):
        spec["replicas"] = draw(st.integers(1, 3))
    if draw(st.booleans()):
        spec["selector"] = {"matchLabels": draw(VALUES.filter(bool))}
    template: dict = {}
    names = draw(st.lists(st.sampled_from("xyz"), unique=True, max_size=3))
    if names:
        template["spec"] = {"containers": [
            {"name": n, "image": draw(st.sampled_from("12")),
             "env": [{"name": e, "value": draw(st.sampled_from("12"))}
                     for e in draw(st.lists(st.sampled_from("ef"), unique=True, min_size=1))]}
            for n in names]}
    if finalizers := draw(st.lists(st.sampled_from("fgh"), unique=True, max_size=3)):
        obj["metadata"]["finalizers"] = finalizers
    if template:
        spec["template"] = template
    if spec:
        obj["spec"] = spec
    return obj


KIND = field_type(DEPLOYMENT)


@given(objects(), objects())
def test_comparison_is_empty_exactly_for_equal_objects(a: dict, b: dict) -> None:
    difference = compare(KIND, a, b)
    assert compare(KIND, a, copy.deepcopy(a)) == ({}, {})
    if not difference.changed and not difference.removed:
        # the order of elements is nobody's
        assert sorted(map(str, field_sets.paths(stated_fields(KIND, a)))) == sorted(
            map(str, field_sets.paths(stated_fields(KIND, b))))
    else:
        assert a != b


@given(objects(), objects())
def test_an_only_applier_gets_what_it_states(a: dict, b: dict) -> None:
    before = copy.deepcopy((a, b))
    one = apply(None, a, "me", DEPLOYMENT)
    assert bare(one) == a
    assert apply(one, a, "me", DEPLOYMENT, now=LATER) == one
    two = apply(one, b, "me", DEPLOYMENT)
    assert stated_fields(KIND, bare(two)) == stated_fields(KIND, b)
    again = apply(two, b, "me", DEPLOYMENT, now=LATER)
    assert again == two
    assert (a, b) == before


@given(objects(), objects(), objects())
def test_force_wins_and_conflicts_are_real(a: dict, b: dict, c: dict) -> None:
    live = apply(None, a, "one", DEPLOYMENT)
    live = apply(live, b, "two", DEPLOYMENT, force=True)
    snapshot = copy.deepcopy(live)
    try:
        plain = apply(live, c, "three", DEPLOYMENT)
    except ApiError as e:
        assert e.code == 409
        plain = None
    forced = apply(live, c, "three", DEPLOYMENT, force=True)
    assert live == snapshot
    if plain is not None:
        assert plain == forced
    mine = owners(forced).get(("three", "Apply"), {})
    stated = stated_fields(KIND, c)
    there = stated_fields(KIND, bare(forced))
    assert field_sets.difference(mine, stated) == {}
    assert field_sets.difference(stated, there) == {}
    for other, fields in owners(forced).items():
        assert field_sets.difference(fields, there) == {}, other


@given(st.lists(st.tuples(objects(), st.sampled_from(["a", "b", "c"]), st.booleans()), min_size=1, max_size=6))
def test_every_field_that_is_owned_exists(steps: list) -> None:
    live: dict | None = None
    # A required field that is gone counts as set to null, so its owner keeps it; validation refuses such objects.
    required = field_sets.from_paths(("f:spec", "f:selector"))
    for obj, manager, applies in steps:
        live = (apply(live, obj, manager, DEPLOYMENT, force=True) if applies
                else update(live, obj, manager, DEPLOYMENT))
        there = field_sets.union(stated_fields(KIND, bare(live)), compare(KIND, {}, bare(live)).changed)
        for fields in owners(live).values():
            assert field_sets.difference(field_sets.difference(fields, there), required) == {}


SETS = objects().map(lambda o: stated_fields(KIND, o))


@given(SETS, SETS, SETS)
def test_set_algebra(a: dict, b: dict, c: dict) -> None:
    def members(s: dict) -> set:
        return set(field_sets.paths(s))

    assert members(field_sets.union(a, b)) == members(a) | members(b)
    assert members(field_sets.intersection(a, b)) == members(a) & members(b)
    assert members(field_sets.difference(a, b)) == members(a) - members(b)
    assert members(field_sets.difference(field_sets.union(a, c), b)) == (members(a) | members(c)) - members(b)
    assert field_sets.decode(a) == a
    assert field_sets.from_paths(*members(a)) == a
