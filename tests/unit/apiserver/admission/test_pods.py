from __future__ import annotations

import asyncio

import pytest
from apiserver_fakes import FakeObjects, namespace_object

from podwright.api.objects import Object, deepcopy
from podwright.api.resources import (
    CONFIGMAPS,
    DEPLOYMENTS,
    NAMESPACES,
    NODES,
    PERSISTENTVOLUMECLAIMS,
    PODS,
    RESOURCEQUOTAS,
    SERVICES,
    Resource,
)
from podwright.api.status import ApiError
from podwright.apiserver.admission import Chain, undo
from podwright.apiserver.admission.default_toleration_seconds import DefaultTolerationSeconds
from podwright.apiserver.admission.limit_ranger import LimitRanger
from podwright.apiserver.admission.namespace_lifecycle import NamespaceLifecycle
from podwright.apiserver.admission.priority import Priority
from podwright.apiserver.admission.resource_quota import ResourceQuota
from podwright.apiserver.admission.service_account import MOUNT_PATH, ServiceAccount
from podwright.apiserver.admission.taint_nodes_by_condition import TaintNodesByCondition
from podwright.apiserver.requests import AdmissionRequest, UserInfo

ACCOUNT = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": "ns"}}


def pod(nm: str = "p", **spec: object) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": nm, "namespace": "ns"},
        "spec": {"containers": [{"name": "c", "image": "i"}], **spec},
    }


def request(
    obj: Object | None, resource: Resource = PODS, operation: str = "CREATE", **more: object
) -> AdmissionRequest:
    fields = {
        "user": UserInfo("u"),
        "subresource": "",
        "namespace": "ns" if resource.namespaced else "",
        "name": obj["metadata"].get("name", "") if obj else "",
        "old_object": None,
        **more,
    }
    return AdmissionRequest(operation=operation, resource=resource, object=obj, **fields)  # type: ignore[arg-type]


async def run(plugin: object, req: AdmissionRequest) -> Object:
    chain = Chain([plugin])  # type: ignore[list-item]
    await chain.admit(req)
    await chain.validate(req)
    assert req.object is not None
    return req.object


async def refused(plugin: object, req: AdmissionRequest) -> ApiError:
    with pytest.raises(ApiError) as error:
        await run(plugin, req)
    return error.value


async def test_namespace_lifecycle() -> None:
    objects = FakeObjects(namespace_object("ns"))
    plugin = NamespaceLifecycle(objects)
    await run(plugin, request(pod()))
    objects.put(namespace_object("ns", phase="Terminating"))
    error = await refused(plugin, request(pod()))
    assert error.code == 403
    assert str(error) == (
        'pods "p" is forbidden: unable to create new content in namespace ns because it is being terminated'
    )
    assert error.status["details"]["causes"][0]["reason"] == "NamespaceTerminating"
    await run(plugin, request(pod(), operation="UPDATE"))
    objects.remove(NAMESPACES, "", "ns")
    error = await refused(plugin, request(pod()))
    assert (error.code, str(error)) == (404, 'namespaces "ns" not found')
    error = await refused(plugin, request(namespace_object("kube-system"), NAMESPACES, "DELETE"))
    assert str(error) == 'namespaces "kube-system" is forbidden: this namespace may not be deleted'


async def test_a_pod_waits_a_moment_for_the_default_account_of_a_new_namespace() -> None:
    objects = FakeObjects()
    plugin = ServiceAccount(objects)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(run(plugin, request(pod())))
        await asyncio.sleep(0)
        objects.put(ACCOUNT)
    assert task.result()["spec"]["serviceAccountName"] == "default"


async def test_a_missing_account_is_refused() -> None:
    error = await refused(ServiceAccount(FakeObjects(ACCOUNT)), request(pod(serviceAccountName="other")))
    assert str(error) == (
        'pods "p" is forbidden: error looking up service account ns/other: serviceaccount "other" not found'
    )


async def test_the_token_is_mounted_where_nothing_is() -> None:
    account = deepcopy(ACCOUNT)
    account["imagePullSecrets"] = [{"name": "pull"}]
    busy = {"name": "d", "image": "i", "volumeMounts": [{"name": "x", "mountPath": MOUNT_PATH}]}
    made = await run(ServiceAccount(FakeObjects(account)), request(pod(initContainers=[busy])))
    spec = made["spec"]
    (volume,) = spec["volumes"]
    assert volume["name"].startswith("kube-api-access-") and len(volume["name"]) == len("kube-api-access-") + 5
    assert volume["projected"]["sources"][0] == {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}}
    assert spec["containers"][0]["volumeMounts"] == [
        {"name": volume["name"], "readOnly": True, "mountPath": MOUNT_PATH}
    ]
    assert spec["initContainers"] == [busy]
    assert spec["imagePullSecrets"] == [{"name": "pull"}]
    assert spec["serviceAccount"] == "default"


@pytest.mark.parametrize("account_says", [None, True, False])
@pytest.mark.parametrize("pod_says", [None, True, False])
async def test_automount_can_be_turned_off(pod_says: bool | None, account_says: bool | None) -> None:
    """The Pod's word counts before the account's."""
    account, spec = deepcopy(ACCOUNT), {}
    if account_says is not None:
        account["automountServiceAccountToken"] = account_says
    if pod_says is not None:
        spec["automountServiceAccountToken"] = pod_says
    made = await run(ServiceAccount(FakeObjects(account)), request(pod(**spec)))
    mounted = [m["mountPath"] for c in made["spec"]["containers"] for m in c.get("volumeMounts") or ()]
    wanted = pod_says if pod_says is not None else account_says is not False
    assert (MOUNT_PATH in mounted) is wanted and ("volumes" in made["spec"]) is wanted


async def test_mirror_pods_carry_nothing() -> None:
    mirror = pod()
    mirror["metadata"]["annotations"] = {"kubernetes.io/config.mirror": "x"}
    made = await run(ServiceAccount(FakeObjects()), request(mirror))
    assert "serviceAccountName" not in made["spec"]
    bad = deepcopy(mirror)
    bad["spec"]["serviceAccountName"] = "default"
    error = await refused(ServiceAccount(FakeObjects()), request(bad))
    assert "a mirror pod may not reference service accounts" in str(error)


def priority_class(nm: str, value: int, default: bool = False) -> Object:
    return {
        "apiVersion": "scheduling.k8s.io/v1",
        "kind": "PriorityClass",
        "metadata": {"name": nm},
        "value": value,
        "globalDefault": default,
    }


async def test_priority() -> None:
    objects = FakeObjects(priority_class("high", 10))
    plugin = Priority(objects)
    made = await run(plugin, request(pod(priorityClassName="high")))
    assert (made["spec"]["priority"], made["spec"]["preemptionPolicy"]) == (10, "PreemptLowerPriority")
    assert (await run(plugin, request(pod())))["spec"]["priority"] == 0
    assert (await run(plugin, request(pod(priorityClassName="system-node-critical"))))["spec"]["priority"] == 2000001000
    error = await refused(plugin, request(pod(priorityClassName="none")))
    assert str(error) == 'pods "p" is forbidden: no PriorityClass with name none was found'
    error = await refused(plugin, request(pod(priority=5)))
    assert "the integer value of priority (5) must not be provided in pod spec" in str(error)
    objects.put(priority_class("base", 3, default=True))
    made = await run(plugin, request(pod()))
    assert (made["spec"]["priorityClassName"], made["spec"]["priority"]) == ("base", 3)


async def test_tolerations_are_added_unless_there() -> None:
    made = await run(DefaultTolerationSeconds(), request(pod()))
    assert [t["key"] for t in made["spec"]["tolerations"]] == [
        "node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable",
    ]
    everything = [{"operator": "Exists"}]
    kept = await run(DefaultTolerationSeconds(), request(pod(tolerations=everything)))
    assert kept["spec"]["tolerations"] == everything


async def test_a_new_node_is_tainted() -> None:
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}}
    made = await run(TaintNodesByCondition(), request(node, NODES))
    assert made["spec"]["taints"] == [{"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}]


def limit_range(**limit: object) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "LimitRange",
        "metadata": {"name": "l", "namespace": "ns"},
        "spec": {"limits": [limit]},
    }


async def test_limit_ranger_sets_defaults_and_says_so() -> None:
    asked = {"cpu": "500m", "memory": "1Mi"}
    plugin = LimitRanger(FakeObjects(limit_range(type="Container", default={"cpu": "1"}, defaultRequest=asked)))
    made = await run(plugin, request(pod()))
    assert made["spec"]["containers"][0]["resources"] == {
        "limits": {"cpu": "1"}, "requests": {"cpu": "500m", "memory": "1Mi"},
    }
    assert made["metadata"]["annotations"]["kubernetes.io/limit-ranger"] == (
        "LimitRanger plugin set: cpu, memory request for container c; cpu limit for container c"
    )


@pytest.mark.parametrize(
    ("limit", "resources", "why"),
    [
        ({"max": {"cpu": "1"}}, {"limits": {"cpu": "2"}}, "maximum cpu usage per Container is 1, but limit is 2"),
        ({"min": {"cpu": "1"}}, {}, "minimum cpu usage per Container is 1.  No request is specified"),
        ({"min": {"memory": "1Gi"}}, {"requests": {"memory": "1Mi"}},
         "minimum memory usage per Container is 1Gi, but request is 1Mi"),
        ({"maxLimitRequestRatio": {"cpu": "2"}}, {"requests": {"cpu": "1"}, "limits": {"cpu": "3"}},
         "cpu max limit to request ratio per Container is 2, but provided ratio is 3.000000"),
    ],
)
async def test_limit_ranger_bounds(limit: Object, resources: Object, why: str) -> None:
    obj = pod()
    obj["spec"]["containers"][0]["resources"] = resources
    error = await refused(LimitRanger(FakeObjects(limit_range(type="Container", **limit))), request(obj))
    assert str(error) == f'pods "p" is forbidden: {why}'


def quota(nm: str = "q", scopes: list[str] | None = None, **hard: str) -> Object:
    spec: Object = {"hard": {k.replace("__", "/").replace("_", "."): v for k, v in hard.items()}}
    if scopes:
        spec["scopes"] = scopes
    return {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": nm, "namespace": "ns"}, "spec": spec}


async def test_quota_is_exact_however_many_ask_at_once() -> None:
    objects = FakeObjects(quota(pods="5"))
    plugin = ResourceQuota(objects, objects)
    requests = [request(pod(f"p{i}")) for i in range(20)]
    answers = await asyncio.gather(*(plugin.validate(r) for r in requests), return_exceptions=True)
    assert sum(a is None for a in answers) == 5
    assert str(answers[-1]) == (
        'pods "p19" is forbidden: exceeded quota: q, requested: pods=1, used: pods=5, limited: pods=5'
    )
    status = objects.get(RESOURCEQUOTAS, "ns", "q")["status"]  # type: ignore[index]
    assert status == {"hard": {"pods": "5"}, "used": {"pods": "5"}}
    undo(requests[0])
    undo(requests[0])
    await run(plugin, request(pod("again")))
    await refused(plugin, request(pod("more")))


async def test_quota_counts_what_the_cache_shows_and_forgets_what_goes() -> None:
    objects = FakeObjects(quota(pods="2"), pod("old"))
    plugin = ResourceQuota(objects, objects)
    await run(plugin, request(pod("new")))
    objects.put(pod("new"))
    await refused(plugin, request(pod("third")))
    objects.remove(PODS, "ns", "old")
    await run(plugin, request(pod("third")))
    finished = pod("new")
    finished["status"] = {"phase": "Succeeded"}
    objects.put(finished)
    await run(plugin, request(pod("fourth")))


async def test_quota_dry_run_reserves_nothing() -> None:
    objects = FakeObjects(quota(pods="1"))
    plugin = ResourceQuota(objects, objects)
    await run(plugin, request(pod("a"), dry_run=True))
    await run(plugin, request(pod("b")))


async def test_compute_quota_wants_every_container_to_say() -> None:
    objects = FakeObjects(quota(limits_cpu="1", requests_memory="1Gi"))
    error = await refused(ResourceQuota(objects, objects), request(pod()))
    assert str(error) == (
        'pods "p" is forbidden: failed quota: q: must specify limits.cpu for: c; requests.memory for: c'
    )


async def test_quota_over_disk_resources_services_claims_and_counts() -> None:
    objects = FakeObjects(
        quota(
            **{
                "requests_podwright_io__disk-read-bps": "10M", "services_nodeports": "1", "requests_storage": "1Gi",
                "gold_storageclass_storage_k8s_io__requests_storage": "512Mi", "count__deployments_apps": "0",
                "configmaps": "1",
            }
        )
    )
    plugin = ResourceQuota(objects, objects)
    greedy = pod()
    greedy["spec"]["containers"][0]["resources"] = {"requests": {"podwright.io/disk-read-bps": "20M"}}
    assert "requested: requests.podwright.io/disk-read-bps=20M" in str(await refused(plugin, request(greedy)))

    def other(kind: str, spec: Object, api_version: str = "v1") -> Object:
        return {
            "apiVersion": api_version, "kind": kind, "metadata": {"name": "x", "namespace": "ns"}, "spec": spec,
        }

    service = other("Service", {"type": "NodePort", "ports": [{"port": 1}, {"port": 2}]})
    assert "requested: services.nodeports=2" in str(await refused(plugin, request(service, SERVICES)))
    claim = other("PersistentVolumeClaim", {"storageClassName": "gold", "resources": {"requests": {"storage": "1Gi"}}})
    assert "gold.storageclass.storage.k8s.io/requests.storage=1Gi" in str(
        await refused(plugin, request(claim, PERSISTENTVOLUMECLAIMS))
    )
    deployment = other("Deployment", {}, "apps/v1")
    assert "count/deployments.apps=1" in str(await refused(plugin, request(deployment, DEPLOYMENTS)))
    await run(plugin, request(other("ConfigMap", {}), CONFIGMAPS))


async def test_quota_scopes() -> None:
    objects = FakeObjects(quota(scopes=["BestEffort"], pods="0"))
    plugin = ResourceQuota(objects, objects)
    await refused(plugin, request(pod()))
    burstable = pod()
    burstable["spec"]["containers"][0]["resources"] = {"requests": {"cpu": "1"}}
    await run(plugin, request(burstable))
