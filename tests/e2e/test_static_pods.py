"""Static Pods: a file in a directory is all they need."""

from __future__ import annotations

import json
import os
import signal
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml
from tests.e2e.conftest import FAST_RESTARTS
from tests.e2e.harness import Cluster, busybox, container_status, host_pids, pod, until

FLAGS = (*FAST_RESTARTS, "--kubelet-config", "{tmp}/kubelet.yaml", "--static-pods", "{tmp}/static")


class Page:
    """What the URL of the static Pods answers to those who have the token."""

    def __init__(self) -> None:
        self.pods: list[dict[str, Any]] = []
        page = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                found = {"apiVersion": "v1", "kind": "PodList", "items": page.pods}
                body = json.dumps(found).encode()
                self.send_response(200 if self.headers["X-Token"] == "secret" else 403)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/pods"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()


page = Page()


def prepare(directory: Path) -> None:
    configuration = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration", "httpCheckFrequency": "300ms",
        "staticPodURL": page.url, "staticPodURLHeader": {"X-Token": ["secret"]},
        "shutdownGracePeriod": "10s", "shutdownGracePeriodCriticalPods": "5s",
    }  # fmt: skip
    (directory / "kubelet.yaml").write_text(yaml.safe_dump(configuration))


def directory(cluster: Cluster) -> Path:
    path = Path(cluster.flags[-1])
    path.mkdir(exist_ok=True)
    return path


def test_a_static_pods_life(cluster: Cluster) -> None:
    file = directory(cluster) / "web.yaml"
    file.write_text(yaml.safe_dump(pod("web", busybox("c", "sleep 3600"))))
    mirror = cluster.running("web-node-1")
    notes = mirror["metadata"]["annotations"]
    assert notes["kubernetes.io/config.source"] == "file" and "kubernetes.io/config.mirror" in notes
    assert mirror["metadata"]["ownerReferences"][0]["kind"] == "Node"

    os.kill(host_pids(mirror)["c"], signal.SIGKILL)
    until(lambda: container_status(cluster.pod("web-node-1"), "c")["restartCount"] == 1, "restarted when it died")

    cluster.kubectl("delete", "pod", "web-node-1", "--now", "--wait=false")
    until(
        lambda: cluster.pod("web-node-1")["metadata"]["uid"] != mirror["metadata"]["uid"],
        "deleting the mirror only brings a new mirror",
    )

    file.write_text(yaml.safe_dump(pod("web", busybox("c", "sleep 7200"))))
    until(
        lambda: cluster.running("web-node-1")["spec"]["containers"][0]["command"][-1] == "sleep 7200",
        "follows the file",
    )
    pid = host_pids(cluster.running("web-node-1"))["c"]
    file.unlink()
    cluster.gone("pod", "web-node-1")
    until(lambda: not Path(f"/proc/{pid}").exists(), "its process ended")


def test_a_broken_file_is_told_and_harms_nothing_else(cluster: Cluster) -> None:
    where = directory(cluster)
    (where / "broken.yaml").write_text("kind: Pod\nspec: [")
    (where / "invalid.yaml").write_text(yaml.safe_dump(pod("invalid", {"name": "NOT VALID"})))
    (where / "good.yaml").write_text(yaml.safe_dump(pod("good", busybox("c", "sleep 3600"))))
    cluster.running("good-node-1")

    def told() -> bool:
        events = cluster.get("events", "-A", "--field-selector", "involvedObject.name=node-1")["items"]
        text = " ".join(e["message"] for e in events)
        return "broken.yaml" in text and "invalid.yaml" in text

    until(told, "events about both files")
    log = Path(f"/var/lib/podwright/{cluster.name}/log/server.log").read_text()
    assert "broken.yaml" in log and "invalid.yaml" in log


def test_static_pods_of_a_url(cluster: Cluster) -> None:
    page.pods = [pod("one", busybox("c", "sleep 3600")), pod("two", busybox("c", "sleep 3600"))]
    one, two = cluster.running("one-node-1"), cluster.running("two-node-1")
    assert one["metadata"]["annotations"]["kubernetes.io/config.source"] == "http"
    page.pods = [pod("two", busybox("c", "sleep 3600"))]
    cluster.gone("pod", "one-node-1")
    assert cluster.pod("two-node-1")["metadata"]["uid"] == two["metadata"]["uid"]
    page.pods = []
    cluster.gone("pod", "two-node-1")


def test_critical_static_pods_end_last_when_the_node_is_stopped(cluster: Cluster, tmp_path: Path) -> None:
    mount = {"volumeMounts": [{"name": "v", "mountPath": "/v"}]}
    volumes = {"volumes": [{"name": "v", "hostPath": {"path": str(tmp_path)}}], "terminationGracePeriodSeconds": 4}

    def told(name: str) -> dict[str, Any]:
        return busybox("c", f"trap 'echo {name} >> /v/order; exit 0' TERM; sleep 3600 & wait", **mount)

    critical = {"priority": 2_000_001_000, "priorityClassName": "system-node-critical"}
    for name, more in (("critical", critical), ("ordinary", {})):
        file = directory(cluster) / f"{name}.yaml"
        file.write_text(yaml.safe_dump(pod(name, told(name), **volumes, **more)))
    cluster.apply(pod("from-api", told("from-api"), **volumes))
    for name in ("critical-node-1", "ordinary-node-1", "from-api"):
        cluster.running(name)
    cluster.podwright("node", "stop", "node-1")
    order = (tmp_path / "order").read_text().split()
    assert sorted(order[:2]) == ["from-api", "ordinary"] and order[2:] == ["critical"]
