"""Python's Kubernetes clients, unmodified, each at real work."""

from __future__ import annotations

import asyncio
import socket
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import kr8s
import kubernetes_asyncio
import lightkube
import pytest
from kr8s.objects import ConfigMap as Kr8sConfigMap
from kr8s.objects import Deployment as Kr8sDeployment
from kr8s.objects import Pod as Kr8sPod
from kubernetes import client, config, dynamic, informer, stream, watch
from kubernetes.client import ApiException
from kubernetes_asyncio.stream import WsApiClient
from lightkube.core.exceptions import ApiError
from lightkube.generic_resource import create_namespaced_resource
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.apiextensions_v1 import CustomResourceDefinition
from lightkube.resources.core_v1 import ConfigMap, Pod
from lightkube.types import PatchType
from tests.e2e.clients.widgets import DEFINITION, NAME
from tests.e2e.harness import Cluster, busybox, pod, until


@pytest.fixture(scope="module")
def api(cluster: Cluster) -> Iterator[client.ApiClient]:
    with config.new_client_from_config(str(cluster.kubeconfig)) as made:
        yield made


def config_map(name: str, **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def test_kubernetes_crud_and_every_form_of_patch(api: client.ApiClient) -> None:
    core = client.CoreV1Api(api)
    made = core.create_namespaced_config_map("default", config_map("py", a="1"), field_validation="Strict")
    assert made.metadata.uid and made.metadata.resource_version
    with pytest.raises(ApiException) as twice:
        core.create_namespaced_config_map("default", config_map("py"))
    assert (twice.value.status, twice.value.reason) == (409, "Conflict")
    assert core.patch_namespaced_config_map("py", "default", {"data": {"b": "2"}}).data == {"a": "1", "b": "2"}
    operations = [{"op": "test", "path": "/data/a", "value": "1"}, {"op": "remove", "path": "/data/a"}]
    assert core.patch_namespaced_config_map("py", "default", operations).data == {"b": "2"}
    applied = core.patch_namespaced_config_map(
        "py", "default", config_map("py", c="3"), field_manager="me", force=True,
        _content_type="application/apply-patch+yaml",
    )  # fmt: skip
    assert applied.data == {"b": "2", "c": "3"}
    assert {m.manager for m in applied.metadata.managed_fields} >= {"me"}
    made.data = {"stale": "yes"}
    with pytest.raises(ApiException) as stale:
        core.replace_namespaced_config_map("py", "default", made)
    assert stale.value.status == 409
    core.delete_namespaced_config_map("py", "default")
    with pytest.raises(ApiException) as gone:
        core.read_namespaced_config_map("py", "default")
    assert gone.value.status == 404


def test_kubernetes_pages_are_one_snapshot(api: client.ApiClient) -> None:
    core = client.CoreV1Api(api)
    for i in range(7):
        core.create_namespaced_config_map("default", {**config_map(f"page-{i}"), "metadata": {
            "name": f"page-{i}", "labels": {"set": "pages"}}})  # fmt: skip
    first = core.list_namespaced_config_map("default", label_selector="set=pages", limit=3)
    assert len(first.items) == 3 and first.metadata._continue
    core.delete_namespaced_config_map("page-6", "default")
    names = [i.metadata.name for i in first.items]
    page = first
    while page.metadata._continue:
        page = core.list_namespaced_config_map(
            "default", label_selector="set=pages", limit=3, _continue=page.metadata._continue
        )
        assert page.metadata.resource_version == first.metadata.resource_version
        names += [i.metadata.name for i in page.items]
    assert names == [f"page-{i}" for i in range(7)]
    core.delete_collection_namespaced_config_map("default", label_selector="set=pages")
    assert core.list_namespaced_config_map("default", label_selector="set=pages").items == []


def test_kubernetes_watches_again_after_410(cluster: Cluster, web: str) -> None:
    cluster.apply(config_map("old", a="1"))
    old = cluster.get("configmap", "old")["metadata"]["resourceVersion"]
    cluster.apply(config_map("old", a="2"))
    # A server just started remembers no events from before.
    cluster.podwright("down")
    cluster.up()
    # Its status is of before until the kubelet has looked.
    until(lambda: cluster.try_kubectl("exec", web, "--", "true").returncode == 0, "the Pod runs again")
    with config.new_client_from_config(str(cluster.kubeconfig)) as made:
        core = client.CoreV1Api(made)
        with pytest.raises(ApiException) as expired:
            for _ in watch.Watch().stream(
                core.list_namespaced_config_map, "default", resource_version=old, timeout_seconds=2
            ):
                pytest.fail("events that the server cannot have were made up")
        assert expired.value.status == 410
        listed = core.list_namespaced_config_map("default", field_selector="metadata.name=old")
        core.patch_namespaced_config_map("old", "default", {"data": {"a": "3"}})
        again = watch.Watch()
        for event in again.stream(
            core.list_namespaced_config_map, "default", field_selector="metadata.name=old",
            resource_version=listed.metadata.resource_version, timeout_seconds=10,
        ):  # fmt: skip
            assert (event["type"], event["object"].data) == ("MODIFIED", {"a": "3"})
            again.stop()


def test_kubernetes_informer_keeps_up(api: client.ApiClient) -> None:
    core = client.CoreV1Api(api)
    core.create_namespaced_config_map("default", config_map("seen", a="1"))
    changed = threading.Event()
    informed = informer.SharedInformer(core.list_namespaced_config_map, namespace="default")
    informed.add_event_handler(informer.MODIFIED, lambda obj: changed.set() if obj.metadata.name == "seen" else None)
    informed.start()
    try:
        until(lambda: informed.cache.get_by_key("default/seen"), "the first list")
        core.patch_namespaced_config_map("seen", "default", {"data": {"a": "2"}})
        assert changed.wait(60)
        assert informed.cache.get_by_key("default/seen").data == {"a": "2"}
        core.delete_namespaced_config_map("seen", "default")
        until(lambda: informed.cache.get_by_key("default/seen") is None, "its deletion")
    finally:
        informed.stop()


def test_kubernetes_logs_exec_and_port_forward(api: client.ApiClient, web: str) -> None:
    core = client.CoreV1Api(api)
    assert core.read_namespaced_pod_log(web, "default", tail_lines=1) == "started\n"
    shell = stream.stream(
        core.connect_get_namespaced_pod_exec, web, "default", command=["sh", "-c", "read x; echo got $x; exit 3"],
        stdin=True, stdout=True, stderr=True, _preload_content=False,
    )  # fmt: skip
    shell.write_stdin("line\n")
    shell.run_forever(timeout=60)
    assert (shell.read_stdout(), shell.returncode) == ("got line\n", 3)
    forwarded = stream.portforward(core.connect_get_namespaced_pod_portforward, web, "default", ports="8080")
    connection = forwarded.socket(8080)
    connection.setblocking(True)
    connection.settimeout(60)
    connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
    answer = b""
    while part := connection.recv(1024):
        answer += part
    assert answer.endswith(b"hello\n") and forwarded.error(8080) is None
    proxied = core.connect_get_namespaced_pod_proxy_with_path(f"{web}:8080", "default", path="index.html")
    assert proxied == "hello\n"


def test_kubernetes_tokens_and_evictions(cluster: Cluster, api: client.ApiClient) -> None:
    core = client.CoreV1Api(api)
    cluster.apply(pod("guarded", busybox("main", "sleep 1000"), labels={"app": "guarded"}))
    client.PolicyV1Api(api).create_namespaced_pod_disruption_budget("default", {
        "metadata": {"name": "guarded"},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "guarded"}}},
    })  # fmt: skip
    cluster.running("guarded")
    policy = client.PolicyV1Api(api)
    until(lambda: policy.read_namespaced_pod_disruption_budget("guarded", "default").status.expected_pods == 1)
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "guarded"}}
    with pytest.raises(ApiException) as refused:
        core.create_namespaced_pod_eviction("guarded", "default", eviction)
    assert refused.value.status == 429 and "disruption budget" in refused.value.body
    policy.delete_namespaced_pod_disruption_budget("guarded", "default")
    core.create_namespaced_pod_eviction("guarded", "default", eviction)
    cluster.gone("pod", "guarded")

    asked = core.create_namespaced_service_account_token(
        "default", "default", {"spec": {"audiences": None, "expirationSeconds": 600}}
    )
    review = client.AuthenticationV1Api(api).create_token_review({"spec": {"token": asked.status.token}})
    assert review.status.authenticated and review.status.user.username == "system:serviceaccount:default:default"
    as_account = client.Configuration.get_default_copy()
    as_account.host, as_account.ssl_ca_cert = api.configuration.host, api.configuration.ssl_ca_cert
    as_account.api_key = {"authorization": f"Bearer {asked.status.token}"}
    with client.ApiClient(as_account) as bearer, pytest.raises(ApiException) as forbidden:
        client.CoreV1Api(bearer).list_namespaced_secret("default")
    assert forbidden.value.status == 403


def test_kubernetes_dynamic_client_and_a_custom_resource(cluster: Cluster, api: client.ApiClient) -> None:
    cluster.apply(DEFINITION)
    cluster.kubectl("wait", "--for=condition=Established", f"crd/{NAME}")
    resources = dynamic.DynamicClient(api).resources
    widgets = resources.get(api_version="example.com/v1", kind="Widget")
    body = {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "w"}, "spec": {"replicas": 1}}
    widgets.server_side_apply(body=body, namespace="default", name="w", field_manager="one")
    body["spec"] = {"replicas": 2}
    with pytest.raises(dynamic.exceptions.ConflictError) as taken:
        widgets.server_side_apply(body=body, namespace="default", name="w", field_manager="two")
    assert '.spec.replicas' in str(taken.value.body)
    forced = widgets.server_side_apply(
        body=body, namespace="default", name="w", field_manager="two", force_conflicts=True
    )
    assert forced.spec.replicas == 2 and forced.metadata.generation == 2
    assert widgets.scale.get(name="w", namespace="default").spec.replicas == 2
    patched = widgets.status.patch(
        name="w", namespace="default", body={"status": {"replicas": 2}}, content_type="application/merge-patch+json"
    )
    assert patched.status.replicas == 2 and patched.metadata.generation == 2
    widgets.delete(name="w", namespace="default")


async def test_kubernetes_asyncio(cluster: Cluster, web: str) -> None:
    loaded = kubernetes_asyncio.client.Configuration()
    await kubernetes_asyncio.config.load_kube_config(str(cluster.kubeconfig), client_configuration=loaded)
    async with kubernetes_asyncio.client.ApiClient(loaded) as made:
        core = kubernetes_asyncio.client.CoreV1Api(made)
        listed = await core.list_namespaced_config_map("default")
        seen: list[str] = []

        async def follow() -> None:
            following = kubernetes_asyncio.watch.Watch()
            async for event in following.stream(
                core.list_namespaced_config_map, "default", resource_version=listed.metadata.resource_version,
                allow_watch_bookmarks=True,
            ):  # fmt: skip
                if event["type"] == "BOOKMARK":
                    continue
                if event["object"].metadata.name == "async":
                    seen.append(event["type"])
                if event["type"] == "DELETED":
                    following.stop()

        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            group.create_task(follow())
            await core.create_namespaced_config_map("default", config_map("async", a="1"))
            await core.patch_namespaced_config_map("async", "default", {"data": {"a": "2"}})
            await core.delete_namespaced_config_map("async", "default")
        assert seen == ["ADDED", "MODIFIED", "DELETED"]
    async with WsApiClient(loaded) as sockets:
        said = await kubernetes_asyncio.client.CoreV1Api(sockets).connect_get_namespaced_pod_exec(
            web, "default", command=["echo", "over", "WebSocket"], stdin=False, stdout=True, stderr=True, tty=False
        )
        assert said == "over WebSocket\n"


def test_lightkube(cluster: Cluster, web: str) -> None:
    loaded = lightkube.KubeConfig.from_file(str(cluster.kubeconfig))
    with lightkube.Client(config=loaded, field_manager="lightkube") as kube:
        assert kube.get(Pod, web).status.phase == "Running"
        kube.create(ConfigMap(metadata=ObjectMeta(name="light"), data={"a": "1"}))
        kube.patch(ConfigMap, "light", {"data": {"b": "2"}}, patch_type=PatchType.MERGE)
        kube.patch(ConfigMap, "light", [{"op": "remove", "path": "/data/a"}], patch_type=PatchType.JSON)
        applied = kube.apply(ConfigMap(metadata=ObjectMeta(name="light"), data={"c": "3"}))
        assert applied.data == {"b": "2", "c": "3"}
        with pytest.raises(ApiError) as taken:
            kube.apply(ConfigMap(metadata=ObjectMeta(name="light"), data={"c": "4"}), field_manager="other")
        assert taken.value.status.code == 409 and taken.value.status.details.causes[0].field == ".data.c"
        listed = kube.list(ConfigMap, chunk_size=1)
        names = [item.metadata.name for item in listed]
        assert "light" in names and "kube-root-ca.crt" in names
        for kind, item in kube.watch(ConfigMap, fields={"metadata.name": "light"}):
            assert (kind, item.metadata.name) == ("ADDED", "light")
            break
        kube.wait(Pod, web, for_conditions=["Ready"])
        assert list(kube.log(web, tail_lines=1)) == ["started\n"]
        threads = threading.active_count()
        assert kube.exec(web, command=["cat", "/tmp/index.html"], stdout=True).stdout == "hello\n"
        # A thread of the client reads on until the server has closed too, by the number of a descriptor that is closed
        # on this side: whatever is opened meanwhile under that number would lose bytes to it.
        until(lambda: threading.active_count() <= threads, "the client's reader has ended")
        kube.delete(ConfigMap, "light")
        definition = kube.apply(CustomResourceDefinition.from_dict(DEFINITION), force=True)
        kube.wait(CustomResourceDefinition, definition.metadata.name, for_conditions=["Established"])
        widget = create_namespaced_resource("example.com", "v1", "Widget", "widgets")
        kube.apply(widget(metadata=ObjectMeta(name="lw"), spec={"replicas": 1}))
        assert kube.get(widget, "lw")["spec"] == {"replicas": 1}
        kube.delete(widget, "lw")


def test_kr8s(cluster: Cluster, web: str) -> None:
    kube = kr8s.api(kubeconfig=str(cluster.kubeconfig))
    assert kube.whoami() == "kubernetes-admin"
    assert [p.name for p in kube.get("pods", label_selector={"app": "web"})] == ["web"]
    made = Kr8sConfigMap(config_map("kr", a="1"), api=kube)
    made.create()
    made.patch({"data": {"b": "2"}})
    made.label({"tier": "one"})
    made.annotate({"note": "two"})
    assert (made.data.a, made.labels["tier"], made.annotations["note"]) == ("1", "one", "two")
    made.delete()
    served = Kr8sPod.get(web, namespace="default", api=kube)
    assert served.ready() and list(served.logs(tail_lines=1)) == ["started"]
    assert served.exec(["sh", "-c", "echo err >&2; echo out"]).stdout == b"out\n"
    with _forwarded(served) as port:
        assert urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=60).read() == b"hello\n"
    deployment = Kr8sDeployment({
        "metadata": {"name": "kr"},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": "kr"}},
            "template": {
                "metadata": {"labels": {"app": "kr"}},
                "spec": {"terminationGracePeriodSeconds": 0, "containers": [busybox("main", "sleep 1000")]},
            },
        },
    }, api=kube)  # fmt: skip
    deployment.create()
    deployment.wait("condition=Available", timeout=60)
    deployment.scale(2)
    until(lambda: len([p for p in deployment.pods() if p.ready()]) == 2, "two ready Pods")
    deployment.delete(propagation_policy="Foreground")
    deployment.wait("delete", timeout=60)
    assert deployment.pods() == []


@contextmanager
def _forwarded(served: Kr8sPod) -> Iterator[int]:
    forward = served.portforward(remote_port=8080, local_port="auto")
    forward.start()
    try:
        # It returns before it listens.
        until(lambda: socket.socket().connect_ex(("127.0.0.1", forward.local_port)) == 0, "the forwarded port")
        yield forward.local_port
    finally:
        forward.stop()
