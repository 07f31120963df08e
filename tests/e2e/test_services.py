"""Services and cluster DNS, as Pods and the host see them."""

from __future__ import annotations

import urllib.request
from typing import Any

from tests.e2e.harness import Cluster, busybox, pod, until

FLAGS = ("--nodes", "2")


def server(name: str, node: str) -> dict[str, Any]:
    serve = f"mkdir /w; echo {name} > /w/index.html; httpd -f -p 8080 -h /w"
    return pod(name, busybox("c", serve), labels={"app": "web"}, nodeName=node)


def test_a_service_reaches_its_pods_by_address_name_and_node_port(cluster: Cluster) -> None:
    service = {
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
        "spec": {"type": "NodePort", "selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]},
    }  # fmt: skip
    cluster.apply(
        server("one", "node-1"), server("two", "node-2"), pod("client", busybox("c", "sleep 3600"), nodeName="node-1"),
        service,
    )  # fmt: skip
    for name in ("one", "two", "client"):
        cluster.running(name)

    def asked(url: str) -> str:
        done = cluster.try_kubectl("exec", "client", "--", "wget", "-qO-", url)
        return done.stdout.strip() if done.returncode == 0 else ""

    address = cluster.get("service", "web")["spec"]["clusterIP"]
    seen: set[str] = set()

    def both(url: str) -> bool:
        seen.add(asked(url))
        return seen >= {"one", "two"}

    until(lambda: both(f"http://{address}/"), "both Pods answer on the Service's address")
    for name in ("web", "web.default", "web.default.svc.cluster.local"):
        assert until(lambda n=name: asked(f"http://{n}/"), name) in ("one", "two")
    port = cluster.get("service", "web")["spec"]["ports"][0]["nodePort"]
    node = cluster.pod("client")["status"]["hostIP"]
    with urllib.request.urlopen(f"http://{node}:{port}/", timeout=5) as answer:
        assert answer.read().strip() in (b"one", b"two")

    cluster.kubectl("delete", "pod", "one")
    until(lambda: len(_ready(cluster)) == 1, "the deleted Pod leaves the Service")
    assert {asked(f"http://{address}/") for _ in range(5)} == {"two"}
    cluster.kubectl("delete", "pod", "two")
    until(lambda: not _ready(cluster), "no Pod is left")
    refused = cluster.try_kubectl("exec", "client", "--", "wget", "-qO-", f"http://{address}/")
    assert "refused" in refused.stderr, "a Service without endpoints refuses at once"


def _ready(cluster: Cluster) -> list[str]:
    slices = cluster.get("endpointslices", "-l", "kubernetes.io/service-name=web")["items"]
    return [a for s in slices for e in s.get("endpoints") or [] if e["conditions"]["ready"] for a in e["addresses"]]


def test_the_api_server_is_reached_from_a_pod_with_its_own_token(cluster: Cluster) -> None:
    cluster.apply(pod("inside", busybox("c", "sleep 3600"), nodeName="node-2"))
    cluster.running("inside")
    script = (
        "cat /var/run/secrets/kubernetes.io/serviceaccount/token | cut -c1-2; "
        "nc -w 3 $KUBERNETES_SERVICE_HOST $KUBERNETES_SERVICE_PORT </dev/null && echo reached; "
        "nslookup kubernetes.default.svc.cluster.local"
    )
    said = cluster.kubectl("exec", "inside", "--", "sh", "-c", script)
    assert said.startswith("ey") and "reached" in said
    assert cluster.get("service", "kubernetes")["spec"]["clusterIP"] in said
