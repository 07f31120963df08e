"""``podwright server --components …`` as processes of their own, over HTTPS with a kubeconfig, elected."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from podwright.api import objects
from podwright.api.objects import Object
from podwright.api.resources import CLUSTERROLEBINDINGS, DEPLOYMENTS, LEASES, NODES, PODS, SERVICEACCOUNTS
from podwright.apiserver.config import ApiServerConfig
from podwright.apiserver.server import ApiServer
from podwright.client import kubeconfig
from podwright.client.client import Client
from podwright.client.transport import InProcessTransport
from podwright.cluster import kubeconfig as written
from podwright.cluster.component_pages import serving
from podwright.cluster.pki import Pki

_ELECTION = (
    "--leader-elect-lease-duration", "1.5", "--leader-elect-renew-deadline", "1", "--leader-elect-retry-period", "0.2",
)  # fmt: skip


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[tuple[ApiServer, Client, Pki]]:
    pki = Pki(tmp_path / "pki")
    pki.ensure_ca()
    pair = pki.server("apiserver", "kube-apiserver", ["127.0.0.1"])
    made = ApiServer(
        ApiServerConfig(
            store_url="memory://", certificate=pair.certificate, key=pair.key, client_ca=pki.ca.certificate,
            host="127.0.0.1", port=0, service_account_signing_key=pki.ensure_service_account_key(),
            shutdown_seconds=0.2,
        )
    )  # fmt: skip
    await made.start()
    yield made, Client(InProcessTransport(made.local, "admin", ("system:masters",))), pki
    await made.stop()


def _kubeconfig(directory: Path, server: ApiServer, pki: Pki, user: str) -> Path:
    path = directory / f"{user.rpartition(':')[2]}.kubeconfig"
    pair = pki.client(user.replace(":", "_"), user)
    written.write(path, written.document("c", f"https://127.0.0.1:{server.port}", pki.ca.certificate, pair))
    return path


@contextlib.asynccontextmanager
async def _process(*arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "podwright", "server", *arguments)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
            assert await asyncio.wait_for(process.wait(), 60) == 0


async def _until(condition: Callable[[], Awaitable[Any]], seconds: float = 60) -> Any:
    async with asyncio.timeout(seconds):
        while True:
            value = await condition()
            if value:
                return value
            await asyncio.sleep(0.02)


def _pod(name: str) -> Object:
    return {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default"},
        "spec": {"containers": [{"name": "c", "image": "busybox:1.36"}]},
    }  # fmt: skip


async def _add_node(admin: Client) -> None:
    room = {"cpu": "4", "memory": "8Gi", "pods": "110"}
    made = await admin.create(
        NODES,
        {
            "apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"},
            "status": {"capacity": room, "allocatable": room, "conditions": [{"type": "Ready", "status": "True"}]},
        },
    )  # fmt: skip
    await admin.update(NODES, {**made, "spec": {}})


async def test_of_two_schedulers_one_leads_and_the_other_takes_over(
    server: tuple[ApiServer, Client, Pki], tmp_path: Path
) -> None:
    api, admin, pki = server
    path = _kubeconfig(tmp_path, api, pki, "system:kube-scheduler")
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": "default"}}
    await admin.create(SERVICEACCOUNTS, account)
    await _add_node(admin)
    arguments = ("--components", "scheduler", "--kubeconfig", str(path), "--secure-port", "0", *_ELECTION)

    async def bound(name: str) -> bool:
        return bool((await admin.get(PODS, name, namespace="default"))["spec"].get("nodeName"))

    async def holder() -> str:
        leases = (await admin.items(LEASES, namespace="kube-system"))
        return next((str(x["spec"].get("holderIdentity")) for x in leases if objects.name(x) == "kube-scheduler"), "")

    async with _process(*arguments) as first, _process(*arguments) as second:
        leader = await _until(holder)
        await admin.create(PODS, _pod("a"))
        await _until(lambda: bound("a"))
        processes = {first.pid: first, second.pid: second}
        dying = processes.pop(int(leader.split("_")[-2]))
        dying.send_signal(signal.SIGKILL)
        await dying.wait()
        await admin.create(PODS, _pod("b"))
        await _until(lambda: bound("b"))
        assert int((await holder()).split("_")[-2]) in processes


async def test_a_scheduler_with_a_file_is_no_candidate_if_it_is_told_so(
    server: tuple[ApiServer, Client, Pki], tmp_path: Path
) -> None:
    api, admin, pki = server
    path, config = _kubeconfig(tmp_path, api, pki, "system:kube-scheduler"), tmp_path / "scheduler.yaml"
    config.write_text("apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\n")
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": "default"}}
    await admin.create(SERVICEACCOUNTS, account)
    await _add_node(admin)
    await admin.create(PODS, _pod("a"))

    async def bound() -> bool:
        return bool((await admin.get(PODS, "a", namespace="default"))["spec"].get("nodeName"))

    arguments = ("--components", "scheduler", "--kubeconfig", str(path), "--config", str(config), "--secure-port", "0")
    async with _process(*arguments, "--no-leader-elect"):
        await _until(bound)
        assert [objects.name(x) for x in await admin.items(LEASES, namespace="kube-system")] == []


async def test_controllers_call_as_service_accounts_of_their_own(
    server: tuple[ApiServer, Client, Pki], tmp_path: Path
) -> None:
    api, admin, pki = server
    path = _kubeconfig(tmp_path, api, pki, "system:kube-controller-manager")
    arguments = ("--components", "controllers", "--kubeconfig", str(path), "--secure-port", "0", *_ELECTION)
    deployment: Object = {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d", "namespace": "default"},
        "spec": {
            "replicas": 2, "selector": {"matchLabels": {"app": "d"}},
            "template": {"metadata": {"labels": {"app": "d"}}, "spec": _pod("x")["spec"]},
        },
    }  # fmt: skip

    async def two() -> list[Object] | None:
        found = list(await admin.items(PODS, namespace="default"))
        return found if len(found) == 2 else None

    async with _process(*arguments):
        await admin.create(DEPLOYMENTS, deployment)
        pods = await _until(two)
    accounts = {objects.name(a) for a in await admin.items(SERVICEACCOUNTS, namespace="kube-system")}
    assert {"replicaset-controller", "deployment-controller"} <= accounts
    assert {f["manager"] for f in pods[0]["metadata"]["managedFields"]} == {"kube-controller-manager"}
    lease = await admin.get(LEASES, "kube-controller-manager", namespace="kube-system")
    assert lease["spec"]["holderIdentity"] == "", "a process that is asked to end gives its Lease back"


async def test_health_is_open_and_metrics_are_for_who_may_read_them(
    server: tuple[ApiServer, Client, Pki], tmp_path: Path
) -> None:
    api, admin, pki = server
    client = Client(kubeconfig.load(_kubeconfig(tmp_path, api, pki, "system:kube-scheduler")).transport("test"))
    tokens = {}
    for name in ("reader", "other"):
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": "default"}}
        await admin.create(SERVICEACCOUNTS, account)
        asked = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
        made = await admin.create(SERVICEACCOUNTS, asked, namespace="default", name=name, subresource="token")
        tokens[name] = made["status"]["token"]
    await admin.create(CLUSTERROLEBINDINGS, {
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "m"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "system:monitoring"},
        "subjects": [{"kind": "ServiceAccount", "name": "reader", "namespace": "default"}]})
    synced = False
    async with serving(client, 0, {"sched-handler-sync": lambda: synced}) as port, aiohttp.ClientSession() as session:
        async def get(path: str, token: str = "") -> tuple[int, str]:
            headers = {"Authorization": f"Bearer {token}"} if token else {}
            url = f"https://127.0.0.1:{port}{path}"
            async with session.get(url, headers=headers, ssl=False) as answer:
                return answer.status, await answer.text()

        assert await get("/healthz") == await get("/livez") == (200, "ok")
        assert await get("/readyz") == (500, "[-]sched-handler-sync failed: reason withheld\nreadyz check failed\n")
        synced = True
        assert await get("/readyz") == (200, "ok")
        assert (await get("/metrics"))[0] == 401
        assert (await get("/metrics", "nonsense"))[0] == 401
        assert (await get("/metrics", tokens["other"]))[0] == 403
        code, text = await get("/metrics", tokens["reader"])
        assert code == 200 and "process_cpu_seconds_total" in text
    await client.aclose()


def test_a_kubeconfig_that_cannot_be_used_says_why(tmp_path: Path) -> None:
    path = tmp_path / "kc"
    for config, said in (
        ({}, "there is no context"),
        ({"current-context": "c"}, "there is no context 'c'"),
        (_config(user={"exec": {"command": "aws"}}), "exec is not supported"),
        (_config(cluster={}), "has no server"),
        (_config(cluster={"server": "https://x", "certificate-authority": "missing.crt"}), "missing.crt"),
        (_config(cluster={"server": "https://x", "certificate-authority-data": "%"}), "certificate-authority"),
    ):
        path.write_text(yaml.safe_dump(config))
        with pytest.raises(kubeconfig.BadKubeconfig, match=said):
            kubeconfig.load(path)
    path.write_text("{")
    with pytest.raises(kubeconfig.BadKubeconfig, match="kc"):
        kubeconfig.load(path)


def _config(cluster: Object | None = None, user: Object | None = None) -> Object:
    return {
        "current-context": "c", "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
        "clusters": [{"name": "k", "cluster": {"server": "https://x"} if cluster is None else cluster}],
        "users": [{"name": "u", "user": user or {}}],
    }  # fmt: skip


def test_files_named_by_a_kubeconfig_are_relative_to_it(tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_text("CA")
    path = tmp_path / "kc"
    cluster = {"server": "https://x", "certificate-authority": "ca.crt"}
    path.write_text(yaml.safe_dump(_config(cluster, {"tokenFile": "token"})))
    found = kubeconfig.load(path)
    assert (found.ca, found.token_file) == (b"CA", tmp_path / "token")
