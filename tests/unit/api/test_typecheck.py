import copy

import pytest

from podwright.api import schema, typecheck
from podwright.api.resources import CUSTOMRESOURCEDEFINITIONS, DEPLOYMENTS, EVENTS, PODS, SECRETS, TABLE

POD = schema.for_resource(PODS)


def pod(**spec: object) -> dict:
    return {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "labels": {"app": "x"}},
        "spec": {"containers": [{"name": "c", "image": "i"}], **spec},
    }


def test_conforming_object_is_kept_as_is() -> None:
    obj = pod(restartPolicy="Never", terminationGracePeriodSeconds=5)
    checked = typecheck.check(POD, obj)
    assert checked.value is obj
    assert not checked.unknown
    assert not checked.errors


def test_unknown_fields_are_named_and_dropped() -> None:
    obj = pod(foo=1)
    obj["spec"]["containers"][0]["bar"] = {"x": 1}
    before = copy.deepcopy(obj)
    checked = typecheck.check(POD, obj)
    assert checked.unknown == ["spec.containers[0].bar", "spec.foo"]
    assert checked.value == pod()
    assert obj == before


def test_nulls_and_empties_vanish() -> None:
    obj = pod(nodeName=None, tolerations=[], nodeSelector={}, securityContext={})
    obj["metadata"]["creationTimestamp"] = None
    obj["status"] = {}
    assert typecheck.prune(POD, obj) == {**pod(securityContext={}), "status": {}}
    assert typecheck.prune(POD, {**pod(), "spec": {"containers": []}})["spec"] == {"containers": []}


def test_zeros_vanish_where_go_holds_them_by_value() -> None:
    kept = typecheck.prune(POD, pod(nodeName="", hostNetwork=False, enableServiceLinks=False, priority=0,
                                    runtimeClassName=""))
    assert kept == pod(enableServiceLinks=False, priority=0, runtimeClassName="")
    container = {"name": "", "image": "", "stdin": False, "ports": [{"containerPort": 0, "hostPort": 0}]}
    assert typecheck.prune(POD, pod(containers=[container])) == pod(
        containers=[{"name": "", "ports": [{"containerPort": 0}]}])
    deployment = schema.for_resource(DEPLOYMENTS)
    assert typecheck.prune(deployment, {"spec": {"replicas": 0, "paused": False}, "status": {"replicas": 0}}) == {
        "spec": {"replicas": 0}, "status": {}}
    checked = typecheck.check(POD, pod(hostNetwork=0, nodeName=False))
    assert len(checked.errors) == 2


def test_what_is_applied_stays_as_sent() -> None:
    obj = pod(hostNetwork=False, nodeName="", tolerations=[], priority=None, foo=1)
    obj["spec"]["containers"][0]["resources"] = {"limits": {"cpu": 0.5}}
    checked = typecheck.check(POD, obj, as_sent=True)
    assert checked.unknown == ["spec.foo"]
    assert not checked.errors
    del obj["spec"]["foo"]
    assert checked.value == obj
    assert typecheck.check(POD, pod(hostNetwork="x"), as_sent=True).errors


def test_null_elements_become_zero_values() -> None:
    obj = pod()
    obj["spec"]["containers"] = [None]
    obj["metadata"]["labels"] = {"a": None}
    kept = typecheck.prune(POD, obj)
    assert kept["spec"]["containers"] == [{}]
    assert kept["metadata"]["labels"] == {"a": ""}


@pytest.mark.parametrize(
    ("obj", "message"),
    [
        (pod(containers="x"),
         "json: cannot unmarshal string into Go struct field PodSpec.spec.containers of type []v1.Container"),
        (pod(containers=[{"name": 5}]),
         "json: cannot unmarshal number into Go struct field Container.spec.containers.name of type string"),
        (pod(hostNetwork="true"),
         "json: cannot unmarshal string into Go struct field PodSpec.spec.hostNetwork of type bool"),
        (pod(priority=1.5),
         "json: cannot unmarshal number 1.5 into Go struct field PodSpec.spec.priority of type int32"),
        (pod(priority=2**31),
         "json: cannot unmarshal number 2147483648 into Go struct field PodSpec.spec.priority of type int32"),
        (pod(priority=True),
         "json: cannot unmarshal bool into Go struct field PodSpec.spec.priority of type int32"),
        ({"metadata": {"labels": {"a": 1}}},
         "json: cannot unmarshal number into Go struct field ObjectMeta.metadata.labels of type string"),
        ({"spec": []}, "json: cannot unmarshal array into Go struct field Pod.spec of type v1.PodSpec"),
        ([], "json: cannot unmarshal array into Go value of type v1.Pod"),
    ],
)
def test_wrong_types(obj: object, message: str) -> None:
    assert typecheck.check(POD, obj).errors == [message]


def test_whole_floats_are_no_integers() -> None:
    assert typecheck.check(POD, pod(priority=1.0)).errors


def test_quantities_come_back_canonical() -> None:
    obj = pod()
    obj["spec"]["containers"][0]["resources"] = {"limits": {"cpu": 0.5, "memory": "1024Mi", "x/y": 1, "a": None}}
    kept = typecheck.prune(POD, obj)
    limits = kept["spec"]["containers"][0]["resources"]["limits"]
    assert limits == {"cpu": "500m", "memory": "1Gi", "x/y": "1", "a": "0"}
    obj["spec"]["containers"][0]["resources"]["limits"] = {"cpu": "much"}
    assert typecheck.check(POD, obj).errors[0].startswith("quantities must match the regular expression")


def test_times_are_utc_seconds() -> None:
    obj = pod()
    obj["metadata"]["creationTimestamp"] = "2026-01-01T01:00:00.5+01:00"
    assert typecheck.prune(POD, obj)["metadata"]["creationTimestamp"] == "2026-01-01T00:00:00Z"
    obj["metadata"]["creationTimestamp"] = "yesterday"
    assert typecheck.check(POD, obj).errors == [
        'parsing time "yesterday" as "2006-01-02T15:04:05Z07:00": cannot parse "yesterday" as "2006"'
    ]
    event = schema.for_resource(EVENTS)
    assert typecheck.prune(event, {"eventTime": "2026-01-01T01:00:00.500000+01:00"}) == {
        "eventTime": "2026-01-01T00:00:00.500000Z"
    }
    assert typecheck.check(event, {"eventTime": "2026-01-01T01:00:00Z"}).errors


def test_bytes_are_base64() -> None:
    secret = schema.for_resource(SECRETS)
    assert not typecheck.check(secret, {"data": {"a": "aGk="}}).errors
    assert typecheck.prune(secret, {"data": {"a": "aG\nk="}}) == {"data": {"a": "aGk="}}
    assert typecheck.check(secret, {"data": {"a": "a*"}}).errors == ["illegal base64 data at input byte 1"]
    assert typecheck.check(secret, {"data": {"a": "aGk"}}).errors


def test_int_or_string() -> None:
    obj = pod()
    obj["spec"]["containers"][0]["livenessProbe"] = {"httpGet": {"port": "http"}}
    assert not typecheck.check(POD, obj).errors
    obj["spec"]["containers"][0]["livenessProbe"] = {"httpGet": {"port": True}}
    assert typecheck.check(POD, obj).errors == [
        "json: cannot unmarshal bool into Go struct field "
        "HTTPGetAction.spec.containers.livenessProbe.httpGet.port of type int32"
    ]


def test_types_that_hold_themselves() -> None:
    crd = schema.for_resource(CUSTOMRESOURCEDEFINITIONS)
    props = {"type": "object", "properties": {"a": {"type": "array", "items": {"type": "string", "nope": 1}}}}
    version = {"name": "v1", "schema": {"openAPIV3Schema": props}}
    checked = typecheck.check(crd, {"spec": {"versions": [version]}})
    # items holds one schema or many: any JSON.
    assert not checked.unknown
    props["properties"]["a"]["nope"] = 1
    assert typecheck.check(crd, {"spec": {"versions": [version]}}).unknown == [
        "spec.versions[0].schema.openAPIV3Schema.properties.a.nope"
    ]


def test_custom_resources_are_pruned_but_not_decoded() -> None:
    node = schema.from_structural({
        "type": "object",
        "properties": {
            "spec": {"type": "object", "properties": {
                "n": {"type": "integer"},
                "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True,
                         "properties": {"known": {"type": "object", "properties": {}}}},
                "map": {"type": "object", "additionalProperties": {"type": "object", "properties": {"a": {}}}},
                "port": {"x-kubernetes-int-or-string": True},
            }},
        },
    })
    obj = {
        "apiVersion": "x/v1", "kind": "X", "metadata": {"name": "a", "wrong": 1, "creationTimestamp": None},
        "spec": {"n": "text", "z": 1, "free": {"b": {"c": 1}, "known": {"x": 1}}, "map": {"k": {"a": 1, "b": 2}},
                 "port": "x"},
        "extra": None,
    }
    checked = typecheck.check(node, obj)
    assert checked.unknown == ["metadata.wrong", "spec.z", "spec.free.known.x", "spec.map.k.b", "extra"]
    assert not checked.errors
    assert checked.value == {
        "apiVersion": "x/v1", "kind": "X", "metadata": {"name": "a"},
        "spec": {"n": "text", "free": {"b": {"c": 1}, "known": {}}, "map": {"k": {"a": 1}}, "port": "x"},
    }
    assert typecheck.prune(node, {"spec": {"n": None}}) == {"spec": {"n": None}}


def test_every_served_type_compiles() -> None:
    for row in TABLE:
        node = schema.for_resource(row)
        obj = {"apiVersion": row.api_version, "kind": row.kind, "metadata": {"name": "x"}}
        assert not typecheck.check(node, obj).errors, row


def test_deployment_paths_reach_through_templates() -> None:
    obj = {"spec": {"template": {"spec": {"containers": [{"name": "a", "ports": [{"containerPort": "x"}]}]}}}}
    assert typecheck.check(schema.for_resource(DEPLOYMENTS), obj).errors == [
        "json: cannot unmarshal string into Go struct field "
        "ContainerPort.spec.template.spec.containers.ports.containerPort of type int32"
    ]
