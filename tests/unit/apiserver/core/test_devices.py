"""Dynamic resource allocation at the API server: administrative access, and the times of taints."""

from __future__ import annotations

from typing import Any

import pytest

from podwright.api import objects

from .conftest import Api, Pki, config_for, running

DRA = "/apis/resource.k8s.io/v1"
HERE = f"{DRA}/namespaces/default"
LABEL = {"resource.kubernetes.io/admin-access": "true"}
SAID = (
    "Forbidden: admin access to devices requires the `resource.kubernetes.io/admin-access: true` label on the "
    "containing namespace"
)


def claim(name: str, *admin: bool | None, **spec: Any) -> dict[str, Any]:
    requests = [
        {"name": f"r{i}", "exactly": {"deviceClassName": "c", **({} if a is None else {"adminAccess": a})}}
        for i, a in enumerate(admin)
    ]
    return {
        "apiVersion": "resource.k8s.io/v1", "kind": "ResourceClaim", "metadata": {"name": name},
        "spec": {"devices": {"requests": requests, **spec}},
    }


def template(name: str, *admin: bool) -> dict[str, Any]:
    return {**claim(name), "kind": "ResourceClaimTemplate", "spec": {"spec": claim(name, *admin)["spec"]}}


async def label(api: Api, labels: dict[str, Any]) -> None:
    assert (await api.patch("/api/v1/namespaces/default", {"metadata": {"labels": labels}})).status == 200


@pytest.mark.parametrize(("plural", "make"), [("resourceclaims", claim), ("resourceclaimtemplates", template)])
async def test_administrative_access_takes_the_namespaces_label(api: Api, plural: str, make: Any) -> None:
    refused = await api.post(f"{HERE}/{plural}", make("a", False, True, True))
    assert refused.status == 422
    assert refused.json["details"]["causes"] == [
        {"reason": "FieldValueForbidden", "message": SAID, "field": "spec.devices.requests[1].adminAccess"}
    ]
    await label(api, {"resource.kubernetes.io/admin-access": "True"})
    assert (await api.post(f"{HERE}/{plural}", make("a", True))).status == 422
    assert (await api.post(f"{HERE}/{plural}", make("a", False))).status == 201
    await label(api, LABEL)
    assert (await api.post(f"{HERE}/{plural}", make("b", True))).status == 201
    await label(api, {"resource.kubernetes.io/admin-access": None})
    patched = await api.patch(f"{HERE}/{plural}/b", {"metadata": {"labels": {"x": "y"}}})
    assert patched.status == 200, "what was granted stays"
    wrong = await api.post(f"{HERE}/{plural}", make("Not a name", True))
    fields = {cause["field"] for cause in wrong.json["details"]["causes"]}
    assert fields == {"spec.devices.requests[0].adminAccess", "metadata.name"}, "all that is wrong is told at once"


async def test_administrative_access_in_a_status(api: Api) -> None:
    await label(api, LABEL)
    assert (await api.post(f"{HERE}/resourceclaims", claim("a", True))).status == 201
    await label(api, {"resource.kubernetes.io/admin-access": None})
    result = {"request": "r0", "driver": "d.example.com", "pool": "p", "device": "gpu", "adminAccess": True}
    status = {"status": {"allocation": {"devices": {"results": [result]}}}}
    path = f"{HERE}/resourceclaims/a/status"
    refused = await api.patch(path, status)
    assert refused.status == 422
    assert [(c["field"], c["message"]) for c in refused.json["details"]["causes"]] == [
        ("status.allocation.devices.results[0].adminAccess", SAID)
    ]
    await label(api, LABEL)
    assert (await api.patch(path, status)).status == 200
    await label(api, {"resource.kubernetes.io/admin-access": None})
    pod = {"resource": "pods", "name": "p", "uid": "u"}
    assert (await api.patch(path, {"status": {"reservedFor": [pod]}})).status == 200


async def test_taints_hold_since_they_are_written(pki: Pki) -> None:
    now = [1_700_000_000.0]
    then = "2020-01-02T03:04:05Z"

    def slice_of(**taint: str) -> dict[str, Any]:
        taints = [{"key": "example.com/a", "effect": "NoSchedule", **taint}]
        return {
            "apiVersion": "resource.k8s.io/v1", "kind": "ResourceSlice", "metadata": {"name": "s"},
            "spec": {
                "driver": "d.example.com", "allNodes": True, "pool": {"name": "p", "resourceSliceCount": 1},
                "devices": [{"name": "gpu", "taints": taints}, {"name": "free"}],
            },
        }

    def since(slice_: Any) -> str:
        return str(slice_["spec"]["devices"][0]["taints"][0]["timeAdded"])

    async with running(config_for(pki), now=lambda: now[0]) as api:
        made = (await api.post(f"{DRA}/resourceslices", slice_of())).json
        assert since(made) == objects.format_time(now[0])
        now[0] += 60
        assert since((await api.put(f"{DRA}/resourceslices/s", made)).json) == since(made)
        assert since((await api.put(f"{DRA}/resourceslices/s", slice_of())).json) == objects.format_time(now[0])
        assert since((await api.put(f"{DRA}/resourceslices/s", slice_of(timeAdded=then))).json) == then

        taint = {"key": "example.com/a", "effect": "NoSchedule"}
        rule = {
            "apiVersion": "resource.k8s.io/v1", "kind": "DeviceTaintRule", "metadata": {"name": "r"},
            "spec": {"deviceSelector": {"driver": "d.example.com"}, "taint": taint},
        }
        rules, path = f"{DRA}/devicetaintrules", f"{DRA}/devicetaintrules/r"
        made = (await api.post(rules, rule)).json
        assert made["spec"]["taint"]["timeAdded"] == objects.format_time(now[0])
        now[0] += 60
        effect = (await api.patch(path, {"spec": {"taint": {"effect": "NoExecute"}}})).json
        assert effect["spec"]["taint"]["timeAdded"] == objects.format_time(now[0])
        assert effect["metadata"]["generation"] == 2
        more = {"spec": {"taint": {"effect": "None", "timeAdded": then}}}
        assert (await api.patch(path, more)).json["spec"]["taint"]["timeAdded"] == then
        assert (await api.put(path, rule)).status == 422, "an update names the version that it is of"
