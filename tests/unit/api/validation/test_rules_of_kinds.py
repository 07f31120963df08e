"""What is refused, kind by kind: a right object, the change, and the errors as "Type field" (upstream's tables)."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.api.validation.test_kinds import made, new, put, row, stored

from podwright.api import validation
from podwright.api.objects import deepcopy
from podwright.api.status import FieldError

Case = tuple[str, dict[str, Any], str]

CLAIM = "resource.k8s.io/v1/ResourceClaim"
SLICE = "resource.k8s.io/v1/ResourceSlice"
CLASS = "resource.k8s.io/v1/DeviceClass"
REQUEST = "spec.devices.requests.0"
AT = "spec.devices.requests[0]"
DEVICE, DEV = "spec.devices.0", "spec.devices[0]"
POLICY = f"{DEV}.capacity[mem].requestPolicy"
TIE = "spec.devices.constraints[0]"
ONE = {"deviceClassName": "c"}
RANGE = {"default": "2", "validRange": {"min": "1", "max": "3", "step": "1"}}
RESULT = {"request": "r", "driver": "d.io", "pool": "p", "device": "dev"}
CONDITION = {"type": "A", "status": "True", "reason": "R", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}


def shared(policy: dict[str, Any]) -> dict[str, Any]:
    device = {"allowMultipleAllocations": True, "capacity": {"mem": {"value": "3", "requestPolicy": policy}}}
    return {DEVICE: {"name": "d", **device}}


MADE: list[Case] = [
    (CLAIM, {f"{REQUEST}.name": "A"}, f"Invalid {AT}.name"),
    (CLAIM, {f"{REQUEST}.exactly": None}, f"Required {AT}"),
    (CLAIM, {f"{REQUEST}.firstAvailable": [{"name": "x", **ONE}]}, f"Invalid {AT}"),
    (CLAIM, {REQUEST: {"name": "r", "firstAvailable": [ONE | {"name": "x"}] * 2}}, f"Duplicate {AT}.firstAvailable[1]"),
    (CLAIM, {REQUEST: {"name": "r", "firstAvailable": [ONE] * 9}}, f"TooMany {AT}.firstAvailable"),
    (CLAIM, {f"{REQUEST}.exactly": ONE | {"allocationMode": "All", "count": 1}}, f"Invalid {AT}.exactly.count"),
    (CLAIM, {f"{REQUEST}.exactly": ONE | {"allocationMode": "X"}}, f"NotSupported {AT}.exactly.allocationMode"),
    (CLAIM, {f"{REQUEST}.exactly": {"deviceClassName": ""}}, f"Required {AT}.exactly.deviceClassName"),
    (CLAIM, {f"{REQUEST}.exactly.selectors": [{}]}, f"Required {AT}.exactly.selectors[0].cel"),
    (CLAIM, {f"{REQUEST}.exactly.tolerations": [{"operator": "Exists", "effect": "None"}]}, ""),
    (CLAIM, {f"{REQUEST}.exactly.tolerations": [{"effect": "X"}]}, f"NotSupported {AT}.exactly.tolerations[0].effect"),
    (CLAIM, {"spec.devices.constraints": [{}]}, f"Required {TIE}"),
    (CLAIM, {"spec.devices.constraints": [{"matchAttribute": "a"}]}, f"Invalid {TIE}.matchAttribute"),
    (
        CLAIM,
        {"spec.devices.constraints": [{"requests": ["r", "r", "x/y/z"], "matchAttribute": "a/b"}]},
        f"Invalid {TIE}.requests[2]; Duplicate {TIE}.requests[1]",
    ),
    (CLAIM, {"spec.devices.config": [{}]}, "Required spec.devices.config[0].opaque"),
    (
        CLAIM,
        {"spec.devices.config": [{"opaque": {"driver": "", "parameters": [1]}}]},
        "Required spec.devices.config[0].opaque.driver; Invalid spec.devices.config[0].opaque.parameters",
    ),
    (CLASS, {"spec.extendedResourceName": "cpu"}, "Invalid spec.extendedResourceName"),
    ("resource.k8s.io/v1/ResourceClaimTemplate", {"spec.metadata": {"name": "x"}}, "Forbidden spec.metadata.name"),
    (SLICE, {"spec.pool.name": "a//b"}, "Invalid spec.pool.name"),
    (SLICE, {"spec.allNodes": True}, "Invalid spec"),
    (SLICE, {"spec.nodeName": None, "spec.allNodes": False}, "Invalid spec.allNodes; Required spec"),
    (SLICE, {"spec.sharedCounters": [{"name": "c", "counters": {"x": {"value": "1"}}}]}, "Invalid spec"),
    (SLICE, {"spec.devices": None, "spec.sharedCounters": [{"name": "c"}]}, "Required spec.sharedCounters[0].counters"),
    (SLICE, {f"{DEVICE}.nodeName": "n"}, "Invalid spec.devices[0]"),
    (SLICE, {"spec.nodeName": None, "spec.perDeviceNodeSelection": True}, "Required spec.devices[0]"),
    (SLICE, {f"{DEVICE}.attributes": {"a/b/c": {"int": 1}}}, "Invalid spec.devices[0].attributes"),
    (SLICE, {f"{DEVICE}.attributes": {"a": {"int": 1, "bool": True}}}, "Invalid spec.devices[0].attributes[a]"),
    (SLICE, {f"{DEVICE}.attributes": {"a": {"version": "01.0.0"}}}, "Invalid spec.devices[0].attributes[a].version"),
    (SLICE, {f"{DEVICE}.bindingConditions": ["a"]}, "Invalid spec.devices[0].bindingFailureConditions"),
    (SLICE, {f"{DEVICE}.consumesCounters": [{"counterSet": "c"}]}, f"Required {DEV}.consumesCounters[0].counters"),
    (SLICE, {f"{DEVICE}.taints": [{"key": "k", "effect": ""}]}, "Required spec.devices[0].taints[0].effect"),
    (SLICE, {DEVICE: {"name": "d", "capacity": {"mem": {"value": "1", "requestPolicy": {}}}}},
     f"Forbidden {POLICY}"),
    (SLICE, shared(RANGE), ""),
    (SLICE, shared(RANGE | {"default": None}), f"Required {POLICY}.default"),
    (SLICE, shared(RANGE | {"default": "4"}), f"Invalid {POLICY}.validRange.default"),
    (SLICE, shared({"default": "1", "validRange": {"min": "1", "step": "0"}}),
     f"Invalid {POLICY}.validRange.step"),
    (SLICE, shared({"default": "1.5", "validRange": {"min": "1", "step": "1"}}),
     f"Invalid {POLICY}.validRange.step"),
    (SLICE, shared({"default": "1", "validValues": ["2", "1"]}),
     f"Invalid {POLICY}.validValues[1]"),
    (SLICE, shared({"default": "1", "validValues": ["2", "4"]}),
     f"Invalid {POLICY}.validValues[1]; "
     f"Invalid {POLICY}.validValues"),
    (SLICE, {DEVICE: {"name": "d", "capacity": {"m": {"value": "x"}}}}, "Invalid spec.devices[0].capacity[m]"),
]

CHANGED: list[tuple[str, dict[str, Any], dict[str, Any], str]] = [
    (CLAIM, {}, {f"{REQUEST}.name": "other"}, "Invalid spec"),
    (CLASS, {}, {"spec.selectors": [{}]}, "Required spec.selectors[0].cel"),
    (SLICE, {}, {"spec.driver": "other.io"}, "Invalid spec.driver"),
    (SLICE, {}, {"spec.pool.name": "other"}, "Invalid spec.pool.name"),
]

STATUS: list[Case] = [
    (CLAIM, {"status": {"reservedFor": [{"resource": "pods", "name": "a", "uid": ""}]}},
     "Required status.reservedFor[0].uid; Forbidden status.reservedFor"),
    (CLAIM, {"status": {"allocation": {"devices": {"results": [RESULT]}}, "devices": [RESULT]}}, ""),
    (CLAIM, {"status": {"allocation": {"devices": {"results": [RESULT | {"request": "x"}]}}}},
     "Invalid status.allocation.devices.results[0].request"),
    (CLAIM, {"status": {"allocation": {"devices": {"config": [{"opaque": {"driver": "d.io", "parameters": {}}}]}}}},
     "Required status.allocation.devices.config[0].source"),
    (CLAIM, {"status": {"devices": [RESULT]}}, "Invalid status.devices[0]"),
    (
        CLAIM,
        {"status": {"allocation": {"devices": {"results": [RESULT]}}, "devices": [
            RESULT | {"conditions": [CONDITION, CONDITION | {"reason": "no blank"}], "data": [],
                      "networkData": {"ips": ["10.0.0.1", "10.0.0.1/024"]}},
        ]}},
        "Duplicate status.devices[0].conditions[1]; Invalid status.devices[0].conditions[1].reason; "
        "Invalid status.devices[0].data; Invalid status.devices[0].networkData.ips[0]; "
        "Invalid status.devices[0].networkData.ips[1]",
    ),
]


def said(errs: list[FieldError]) -> list[str]:
    return sorted(f"{err.reason.removeprefix('FieldValue')} {err.field}" for err in errs)


def expected(text: str) -> list[str]:
    return sorted(filter(None, text.split("; ")))


@pytest.mark.parametrize(("kind", "changes", "wrong"), MADE)
def test_a_new_object(kind: str, changes: dict[str, Any], wrong: str) -> None:
    assert said(made(kind, new(kind, **changes))) == expected(wrong)


@pytest.mark.parametrize(("kind", "before", "changes", "wrong"), CHANGED)
def test_a_changed_object(kind: str, before: dict[str, Any], changes: dict[str, Any], wrong: str) -> None:
    old = stored(kind, **before)
    obj = deepcopy(old)
    for path, value in changes.items():
        put(obj, path, value)
    validation.prepare_for_update(row(kind), obj, old)
    assert said(validation.validate_update(row(kind), obj, old)) == expected(wrong)


@pytest.mark.parametrize(("kind", "changes", "wrong"), STATUS)
def test_a_status(kind: str, changes: dict[str, Any], wrong: str) -> None:
    old = stored(kind)
    obj = deepcopy(old)
    for path, value in changes.items():
        put(obj, path, value)
    validation.prepare_for_update(row(kind), obj, old, "status")
    assert said(validation.validate_update(row(kind), obj, old, "status")) == expected(wrong)
