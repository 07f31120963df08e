"""All controllers over the real API server, each as its own service account: nothing they do is refused."""

from __future__ import annotations

import asyncio
import datetime
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from controller_harness import make_node, template
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from podwright.api import objects
from podwright.api.objects import Object
from podwright.api.resources import (
    CONFIGMAPS,
    CUSTOMRESOURCEDEFINITIONS,
    DAEMONSETS,
    DEPLOYMENTS,
    ENDPOINTS,
    ENDPOINTSLICES,
    JOBS,
    NAMESPACES,
    NODES,
    PERSISTENTVOLUMECLAIMS,
    PODDISRUPTIONBUDGETS,
    PODS,
    REPLICASETS,
    REPLICATIONCONTROLLERS,
    RESOURCEQUOTAS,
    SECRETS,
    SERVICEACCOUNTS,
    SERVICES,
    STATEFULSETS,
    STORAGECLASSES,
    STORAGEVERSIONMIGRATIONS,
    Resource,
)
from podwright.api.status import ApiError
from podwright.apiserver.config import ApiServerConfig
from podwright.apiserver.server import ApiServer
from podwright.client.client import Client
from podwright.client.informers import Informer
from podwright.client.transport import Call, InProcessTransport
from podwright.controllers.config import ControllerConfig
from podwright.controllers.daemonset.placement import node_of
from podwright.controllers.manager import ControllerManager


class _Counting(InProcessTransport):
    calls = 0

    async def call(self, call: Call) -> Object:
        type(self).calls += 1
        return await super().call(call)


def _pair(directory: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "server")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
        .not_valid_before(now).not_valid_after(now + datetime.timedelta(days=1)).sign(key, hashes.SHA256())
    )  # fmt: skip
    (directory / "crt").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    (directory / "key").write_bytes(pem)
    return directory / "crt", directory / "key"


class Cluster:
    """The server, an admin, and two nodes whose kubelet (and scheduler) is a few lines."""

    def __init__(self, server: ApiServer) -> None:
        self.server = server
        self.admin = Client(InProcessTransport(server.local, "admin", ("system:masters",)))
        self.pods = Informer(self.admin, PODS)
        self._queue: asyncio.Queue[Object] = asyncio.Queue()
        self.pods.add_handler(lambda old, new: None if new is None else self._queue.put_nowait(new))

    async def play(self) -> None:
        count = 0
        while True:
            pod = await self._queue.get()
            count += 1
            try:
                await self._step(pod, count)
            except ApiError as refused:
                # It went meanwhile, or its namespace goes, in which nothing is bound any more.
                if refused.code not in (403, 404, 409):
                    raise

    async def _step(self, pod: Object, count: int) -> None:
        name, namespace = objects.name(pod), objects.namespace(pod)
        if objects.is_deleting(pod):
            if not pod["metadata"].get("finalizers"):
                await self.admin.delete(PODS, name, namespace=namespace, grace_period_seconds=0)
        elif not pod["spec"].get("nodeName"):
            target = {"kind": "Node", "name": node_of(pod) or "ab"[count % 2]}
            binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name}, "target": target}
            await self.admin.create(PODS, binding, namespace=namespace, name=name, subresource="binding")
        elif pod["status"].get("phase") == "Pending":
            now = objects.format_time(time.time())
            done = any(r["kind"] == "Job" for r in pod["metadata"].get("ownerReferences") or ())
            ready = {"type": "Ready", "status": "False" if done else "True", "lastTransitionTime": now}
            ip = f"10.0.{count // 250}.{count % 250}"
            status = {"phase": "Succeeded" if done else "Running", "conditions": [ready], "startTime": now,
                      "podIP": ip, "podIPs": [{"ip": ip}]}  # fmt: skip
            await self.admin.patch(PODS, name, {"status": status}, namespace=namespace, subresource="status")

    async def make(self, row: Resource, name: str, spec: Object, **more: object) -> Object:
        meta = {"name": name, **({"namespace": "default"} if row.namespaced else {})}
        obj = {"apiVersion": row.api_version, "kind": row.kind, "metadata": meta, **more}
        if spec:
            obj["spec"] = spec
        return await self.admin.create(row, obj)

    async def read(self, row: Resource, name: str) -> Object:
        return await self.admin.get(row, name, namespace="default" if row.namespaced else "")


async def until(condition: Callable[[], Awaitable[object]], seconds: float = 60) -> None:
    async with asyncio.timeout(seconds):
        while True:
            try:
                if await condition():
                    return
            except (ApiError, KeyError, IndexError):
                pass
            await asyncio.sleep(0.02)


@asynccontextmanager
async def running(directory: Path) -> AsyncIterator[Cluster]:
    certificate, key = _pair(directory)
    server = ApiServer(
        ApiServerConfig(
            store_url=f"sqlite://{directory}/store.db", certificate=certificate, key=key, host="127.0.0.1", port=0,
            service_account_signing_key=key,
        )
    )
    await server.start()
    cluster = Cluster(server)

    def client_for(user: str) -> Client:
        groups: tuple[str, ...] = ()
        if user.startswith("system:serviceaccount:"):
            groups = ("system:serviceaccounts", "system:serviceaccounts:kube-system")
        return Client(_Counting(server.local, user, groups))

    config = ControllerConfig(
        cluster_cidr=("10.244.0.0/16",), root_ca="PEM", signing_ca_certificate=certificate, signing_ca_key=key
    )
    tasks = [asyncio.ensure_future(t) for t in (
        ControllerManager(client_for, config=config).run(), cluster.pods.run(), cluster.play(),
    )]  # fmt: skip
    try:
        for name in ("a", "b"):
            node = make_node(name)
            now = objects.format_time(time.time())
            node["status"]["conditions"][0].update(lastHeartbeatTime=now, lastTransitionTime=now, message="well")
            made = await cluster.admin.create(NODES, node)
            await cluster.admin.update_status(NODES, {**made, "status": node["status"]})
        yield cluster
        assert not any(t.done() for t in tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.stop()


async def test_a_whole_cluster_of_controllers(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with running(tmp_path) as c:
        await until(lambda: c.read(SERVICEACCOUNTS, "default"))
        await until(lambda: c.read(CONFIGMAPS, "kube-root-ca.crt"))
        await until(lambda: _field(c, NODES, "a", "spec", "podCIDR"))
        web = {"replicas": 3, "selector": {"matchLabels": {"app": "web"}}, "template": template({"app": "web"})}
        await c.make(DEPLOYMENTS, "web", web)
        await c.make(SERVICES, "web", {"selector": {"app": "web"}, "ports": [{"port": 80}]})
        await until(lambda: _status(c, DEPLOYMENTS, "web", "availableReplicas", 3))
        await until(lambda: _addresses(c, 3))
        change = {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "j"}]}}}}
        await c.admin.patch(DEPLOYMENTS, "web", change, namespace="default")
        await until(lambda: _rolled(c))
        daemon = {"selector": {"matchLabels": {"app": "ds"}}, "template": template({"app": "ds"})}
        await c.make(DAEMONSETS, "ds", daemon)
        await until(lambda: _status(c, DAEMONSETS, "ds", "numberAvailable", 2))
        claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
        await c.make(STATEFULSETS, "ss", {
            "replicas": 2, "serviceName": "web", "selector": {"matchLabels": {"app": "ss"}},
            "template": template({"app": "ss"}), "volumeClaimTemplates": [{"metadata": {"name": "d"}, "spec": claim}],
            "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Delete", "whenScaled": "Delete"},
        })  # fmt: skip
        await until(lambda: _status(c, STATEFULSETS, "ss", "availableReplicas", 2))
        job = template({}, restartPolicy="Never")
        await c.make(JOBS, "j", {"completions": 3, "parallelism": 2, "completionMode": "Indexed", "template": job})
        await until(lambda: _condition(c, JOBS, "j", "Complete"))
        budget = {"maxUnavailable": 1, "selector": {"matchLabels": {"app": "web"}}}
        await c.make(PODDISRUPTIONBUDGETS, "b", budget)
        await until(lambda: _status(c, PODDISRUPTIONBUDGETS, "b", "disruptionsAllowed", 1))
        await c.make(RESOURCEQUOTAS, "q", {"hard": {"count/deployments.apps": "4"}})
        await until(lambda: _status(c, RESOURCEQUOTAS, "q", "used", {"count/deployments.apps": "1"}))
        await c.make(STORAGECLASSES, "local", {}, provisioner="podwright.io/local-path",
                     volumeBindingMode="WaitForFirstConsumer")  # fmt: skip
        await c.make(PERSISTENTVOLUMECLAIMS, "c", {**claim, "storageClassName": "local"})
        selected = {"metadata": {"annotations": {"volume.kubernetes.io/selected-node": "a"}}}
        await c.admin.patch(PERSISTENTVOLUMECLAIMS, "c", selected, namespace="default")
        await until(lambda: _status(c, PERSISTENTVOLUMECLAIMS, "c", "phase", "Bound"))
        meta = {"name": "t", "namespace": "default", "annotations": {"kubernetes.io/service-account.name": "default"}}
        await c.admin.create(SECRETS, {"apiVersion": "v1", "kind": "Secret", "metadata": meta,
                                       "type": "kubernetes.io/service-account-token"})  # fmt: skip
        await until(lambda: _field(c, SECRETS, "t", "data", "token"))
        await c.admin.delete(DEPLOYMENTS, "web", namespace="default", propagation="Foreground")
        await until(lambda: _count(c, 0, "app=web"))
        await c.make(NAMESPACES, "x", {})
        rc = {"apiVersion": "v1", "kind": "ReplicationController", "metadata": {"name": "rc", "namespace": "x"},
              "spec": {"replicas": 2, "template": template({"app": "rc"})}}  # fmt: skip
        await c.admin.create(REPLICATIONCONTROLLERS, rc)
        await until(lambda: _count(c, 2, "app=rc"))
        await c.admin.delete(NAMESPACES, "x")
        await until(lambda: _gone(c, NAMESPACES, "x"))
    refused = [r.getMessage() for r in caplog.records if "forbidden" in r.getMessage() or r.levelno >= logging.ERROR]
    assert refused == []


async def test_a_hundred_pods_and_then_silence(tmp_path: Path) -> None:
    async with running(tmp_path) as c:
        await until(lambda: c.read(SERVICEACCOUNTS, "default"))
        spec = {"replicas": 0, "selector": {"matchLabels": {"app": "a"}}, "template": template({"app": "a"})}
        await c.make(REPLICASETS, "a", spec)
        await c.admin.patch(REPLICASETS, "a", {"spec": {"replicas": 100}}, namespace="default")
        await until(lambda: _count(c, 100, "app=a"))
        await until(lambda: _status(c, REPLICASETS, "a", "availableReplicas", 100))
        await until(_silence)


async def _silence() -> bool:
    """Whether no controller calls for a second."""
    before = _Counting.calls
    await asyncio.sleep(1.0)
    return _Counting.calls == before


async def _status(c: Cluster, row: Resource, name: str, field: str, value: object) -> bool:
    return bool((await c.read(row, name))["status"].get(field) == value)


async def _field(c: Cluster, row: Resource, name: str, part: str, field: str) -> bool:
    return bool((await c.read(row, name))[part].get(field))


async def _condition(c: Cluster, row: Resource, name: str, kind: str) -> bool:
    return objects.condition_is_true(await c.read(row, name), kind)


async def _rolled(c: Cluster) -> bool:
    web = await c.read(DEPLOYMENTS, "web")
    done = web["status"].get("updatedReplicas") == 3 == web["status"].get("replicas")
    return done and web["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "2"


async def _addresses(c: Cluster, number: int) -> bool:
    endpoints = await c.read(ENDPOINTS, "web")
    pieces = await c.admin.items(ENDPOINTSLICES, namespace="default", label_selector="kubernetes.io/service-name=web")
    return len(endpoints["subsets"][0]["addresses"]) == sum(len(p["endpoints"]) for p in pieces) == number


async def _count(c: Cluster, number: int, selector: str) -> bool:
    return len(await c.admin.items(PODS, label_selector=selector)) == number


async def _gone(c: Cluster, row: Resource, name: str) -> bool:
    try:
        await c.read(row, name)
    except ApiError as refused:
        return refused.code == 404
    return False


async def test_objects_are_written_once_more_and_the_old_version_is_forgotten(tmp_path: Path) -> None:
    async with running(tmp_path) as c:
        def versions(stored: str) -> list[Object]:
            schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
            return [{"name": v, "served": True, "storage": v == stored, "schema": schema} for v in ("v1", "v2")]

        names = {"plural": "bands", "singular": "band", "kind": "Band", "listKind": "BandList"}
        await c.make(CUSTOMRESOURCEDEFINITIONS, "bands.example.com", {
            "group": "example.com", "scope": "Namespaced", "names": names, "versions": versions("v1")})
        bands = Resource(group="example.com", version="v1", plural="bands", kind="Band", namespaced=True, custom=True)
        await until(lambda: c.make(bands, "old", {}))
        seen = [(await c.read(bands, "old"))["metadata"]["resourceVersion"]]
        await c.admin.patch(CUSTOMRESOURCEDEFINITIONS, "bands.example.com", {"spec": {"versions": versions("v2")}})
        await until(lambda: _stored_versions(c, ["v1", "v2"]))
        for name in ("first", "second"):
            await c.make(STORAGEVERSIONMIGRATIONS, name, {"resource": {"group": "example.com", "resource": "bands"}})
            await until(lambda n=name: _condition(c, STORAGEVERSIONMIGRATIONS, n, "Succeeded"))
            seen.append((await c.read(bands, "old"))["metadata"]["resourceVersion"])
        assert seen[0] != seen[1] == seen[2], "written, and only once"
        await until(lambda: _stored_versions(c, ["v2"]))
        definition = await c.read(CUSTOMRESOURCEDEFINITIONS, "bands.example.com")
        assert objects.condition(definition, "StorageMigrating")["reason"] == "MigrationSucceeded"
        done = await c.read(STORAGEVERSIONMIGRATIONS, "first")
        assert [x["type"] for x in done["status"]["conditions"]] == ["Succeeded"] and done["status"]["resourceVersion"]


async def _stored_versions(c: Cluster, wanted: list[str]) -> bool:
    return (await c.read(CUSTOMRESOURCEDEFINITIONS, "bands.example.com"))["status"]["storedVersions"] == wanted
