"""One case for each rule of what may be written into a Pod's status."""

from __future__ import annotations

from typing import Any

import pytest

from podwright.api import defaulting, validation
from podwright.api.objects import Object, deepcopy
from podwright.api.resources import PODS
from podwright.api.status import FieldError
from podwright.api.validation.field_errors import duplicate, forbidden, invalid, not_supported, required

RESTARTED = "may not be transitioned to non-terminated state"
NATURAL = "must be a non-negative integer"
IP = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
ID = "must be between 0 and 2147483647, inclusive"
DEVICES = "status.containerStatuses[0].allocatedResourcesStatus[0]"
EXTENDED = "status.extendedResourceClaimStatus"
MAPPING = {"containerName": "c", "resourceName": "example.com/d", "requestName": "r"}


def stored(**spec: Any) -> Object:
    container = {
        "name": "c",
        "image": "x",
        "resources": {"limits": {"example.com/d": "1"}, "claims": [{"name": "k", "request": "q"}]},
    }
    pod: Object = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "a", "namespace": "default", "uid": "u", "resourceVersion": "1"},
        "spec": {
            "serviceAccountName": "default",
            "containers": [container],
            "initContainers": [{"name": "i", "image": "x"}],
            "resourceClaims": [{"name": "k", "resourceClaimName": "kk"}],
            **spec,
        },
    }
    defaulting.apply(PODS, pod)
    validation.prepare_for_create(PODS, pod)
    assert validation.validate_create(PODS, pod) == []
    return pod


def written(old: Object, **status: Any) -> list[FieldError]:
    new = deepcopy(old)
    new["status"] |= status
    validation.prepare_for_update(PODS, new, old, "status")
    return validation.validate_update(PODS, new, old, "status")


def device(**fields: Any) -> Object:
    return {"containerStatuses": [{"name": "c", "allocatedResourcesStatus": [{"name": "example.com/d", **fields}]}]}


def linux(**user: Any) -> Object:
    return {"containerStatuses": [{"name": "c", "user": {"linux": {"uid": 0, "gid": 0, **user}}}]}


def extended(*mappings: Object, claim: str = "k") -> Object:
    return {"extendedResourceClaimStatus": {"resourceClaimName": claim, "requestMappings": list(mappings)}}


RIGHT: dict[str, Object] = {
    "two families": {"podIPs": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}]},
    "host addresses": {"hostIP": "10.0.0.1", "hostIPs": [{"ip": "10.0.0.1"}]},
    "device": device(resources=[{"resourceID": "a", "health": "Healthy"}]),
    "claimed device": device(name="claim:k/q"),
    "user": linux(supplementalGroups=[1]),
    "claim": {"resourceClaimStatuses": [{"name": "k", "resourceClaimName": "x"}]},
    "extended": extended(MAPPING),
    "nominated": {"nominatedNodeName": "n"},
    "condition": {"conditions": [{"type": "example.com/Mine", "status": "True", "observedGeneration": 1}]},
}


@pytest.mark.parametrize("case", RIGHT)
def test_what_is_right_passes(case: str) -> None:
    assert written(stored(), **RIGHT[case]) == []


CASES: dict[str, tuple[Object, list[FieldError]]] = {
    "condition generation": (
        {"conditions": [{"type": "Ready", "status": "True", "observedGeneration": -1}]},
        [invalid("status.conditions[0].observedGeneration", -1, NATURAL)],
    ),
    "generation": ({"observedGeneration": -1}, [invalid("status.observedGeneration", -1, NATURAL)]),
    "class": (
        {"qosClass": "Guaranteed"},
        [invalid("status.qosClass", "Guaranteed", "field is immutable")],
    ),
    "addresses of one family": (
        {"podIPs": [{"ip": "10.0.0.1"}, {"ip": "10.0.0.2"}]},
        [
            invalid(
                "status.podIPs",
                [{"ip": "10.0.0.1"}, {"ip": "10.0.0.2"}],
                "may specify no more than one IP for each IP family",
            )
        ],
    ),
    "host address": (
        {"hostIP": "10.0.0.2", "hostIPs": [{"ip": "10.0.0.1"}]},
        [invalid("status.hostIPs[0].ip", "10.0.0.1", "must be equal to `hostIP`")],
    ),
    "host address form": (
        {"hostIP": "x", "hostIPs": [{"ip": "x"}]},
        [invalid("status.hostIPs[0]", "x", IP)],
    ),
    "claim unknown": (
        {"resourceClaimStatuses": [{"name": "z"}]},
        [
            invalid(
                "status.resourceClaimStatuses[0].name",
                "z",
                "must match the name of an entry in `spec.resourceClaims`",
            )
        ],
    ),
    "claim twice": (
        {"resourceClaimStatuses": [{"name": "k"}, {"name": "k"}]},
        [duplicate("status.resourceClaimStatuses[1].name", "k")],
    ),
    "extended nothing": (
        extended(),
        [required(f"{EXTENDED}.requestMappings", "at least one request mapping is required")],
    ),
    "extended claim": (extended(MAPPING, claim=""), [required(f"{EXTENDED}.resourceClaimName")]),
    "extended container": (
        extended({**MAPPING, "containerName": "z"}),
        [
            invalid(
                f"{EXTENDED}.requestMappings[0].containerName",
                "z",
                "must match the name of an entry in spec.initContainers.name or spec.containers.name",
            )
        ],
    ),
    "extended resource": (
        extended({**MAPPING, "resourceName": "example.com/z"}),
        [
            invalid(
                f"{EXTENDED}.requestMappings[0].resourceName",
                "example.com/z",
                "must match the extended resource name of an entry in spec.initContainers.resources.requests or "
                "spec.containers.resources.requests",
            )
        ],
    ),
    "extended twice": (
        extended(MAPPING, MAPPING),
        [
            duplicate(f"{EXTENDED}.requestMappings[1].containerName", "c"),
            duplicate(f"{EXTENDED}.requestMappings[1].resourceName", "example.com/d"),
            duplicate(f"{EXTENDED}.requestMappings[1].requestName", MAPPING["requestName"]),
        ],
    ),
    "uid": (linux(uid=-1), [invalid("status.containerStatuses[0].user.linux.uid", -1, ID)]),
    "gid": (linux(gid=-1), [invalid("status.containerStatuses[0].user.linux.gid", -1, ID)]),
    "group": (
        linux(supplementalGroups=[2**31]),
        [invalid("status.containerStatuses[0].user.linux.supplementalGroups[0]", 2**31, ID)],
    ),
    "device unknown": (
        device(name="example.com/z"),
        [invalid(f"{DEVICES}.name", "example.com/z", "must match one of the container's resource requests")],
    ),
    "claimed device unknown": (
        device(name="claim:k"),
        [
            invalid(
                f"{DEVICES}.name",
                "claim:k",
                "must match one of the container's resource claims in a format 'claim:<claimName>/<request>' or "
                "'claim:<claimName>' if request is empty",
            )
        ],
    ),
    "device health": (
        device(resources=[{"resourceID": "a", "health": "Ill"}]),
        [not_supported(f"{DEVICES}.resources[0].health", "Ill", ["Healthy", "Unhealthy", "Unknown"])],
    ),
    "device twice": (
        device(resources=[{"resourceID": "a", "health": "Unknown"}] * 2),
        [duplicate(f"{DEVICES}.resources[1].resourceID", "a")],
    ),
    "device of a debugger": (
        {"ephemeralContainerStatuses": [{"name": "e", "allocatedResourcesStatus": [{"name": "x"}]}]},
        [
            forbidden(
                "status.ephemeralContainerStatuses[0].allocatedResourcesStatus",
                "must not be specified in container status",
            )
        ],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_wrong_is_said(case: str) -> None:
    status, expected = CASES[case]
    assert written(stored(), **status) == expected


def test_a_bound_pod_is_nominated_no_more() -> None:
    said = "may not be set on pods that are already bound to a node"
    bound = stored(nodeName="m")
    assert written(bound, nominatedNodeName="n") == [forbidden("status.nominatedNodeName", said)]
    bound["status"]["nominatedNodeName"] = "n"
    assert written(bound, nominatedNodeName="") == []


def test_windows_has_no_linux_user() -> None:
    said = "cannot be set for a windows pod"
    errs = written(stored(os={"name": "windows"}), **linux())
    assert errs == [forbidden("status.containerStatuses[0].user.linux", said)]


ALWAYS = {"name": "i", "image": "x", "restartPolicy": "Always"}
BY_RULE = {
    "name": "c",
    "image": "x",
    "restartPolicy": "Never",
    "restartPolicyRules": [{"action": "Restart", "exitCodes": {"operator": "In", "values": [42]}}],
}


@pytest.mark.parametrize(
    ("spec", "field", "name", "code", "may"),
    [
        ({"restartPolicy": "Always"}, "containerStatuses", "c", 0, True),
        ({"restartPolicy": "OnFailure"}, "containerStatuses", "c", 1, True),
        ({"restartPolicy": "OnFailure"}, "containerStatuses", "c", 0, False),
        ({"restartPolicy": "Never"}, "containerStatuses", "c", 1, False),
        ({"restartPolicy": "Never", "containers": [BY_RULE], "resourceClaims": []}, "containerStatuses", "c", 42, True),
        ({"restartPolicy": "Never", "containers": [BY_RULE], "resourceClaims": []}, "containerStatuses", "c", 1, False),
        ({"restartPolicy": "Never"}, "initContainerStatuses", "i", 1, False),
        ({"restartPolicy": "OnFailure"}, "initContainerStatuses", "i", 1, True),
        ({"restartPolicy": "Never", "initContainers": [ALWAYS]}, "initContainerStatuses", "i", 0, True),
        ({"restartPolicy": "Always"}, "ephemeralContainerStatuses", "e", 0, False),
    ],
)
def test_what_ended_runs_again_where_its_policy_says(
    spec: Object, field: str, name: str, code: int, may: bool
) -> None:
    old = stored(**spec)
    old["status"][field] = [{"name": name, "state": {"terminated": {"exitCode": code}}}]
    errs = written(old, **{field: [{"name": name, "state": {"running": {}}}]})
    assert errs == ([] if may else [forbidden(f"status.{field}[0].state", RESTARTED)])
