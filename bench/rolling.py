"""A rolling update of real Pods under load, on a real cluster: how many requests of a client are lost.

usage: bench/rolling.py [--json FILE] [--pods N]

A client asks the Service's address with a connection for each request, from the node, without pause and without a
second try, before, while and after a Deployment of N web servers with a readiness probe gets a new template. A Pod that
ends serves on for a second (preStop), as Kubernetes' documentation asks of servers whose requests must not be lost: it
is as long as nodes may take to learn that it is no endpoint any more. What is lost without that is printed beside.
"""

from __future__ import annotations

import argparse
import http.client
import json
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import pods as bench
from pods import Api

DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
SERVICES = "/api/v1/namespaces/default/services"


def deployment(name: str, replicas: int, linger: bool) -> dict[str, Any]:
    container: dict[str, Any] = {
        "name": "c", "image": "docker.io/library/nginx:1.22",
        "readinessProbe": {"httpGet": {"port": 80, "path": "/index.html"}, "periodSeconds": 1},
    }  # fmt: skip
    if linger:
        container["lifecycle"] = {"preStop": {"sleep": {"seconds": 1}}}
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container], "terminationGracePeriodSeconds": 5}}
    return {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template},
    }  # fmt: skip


class Client(threading.Thread):
    """Asks until it is told to end."""

    def __init__(self, address: str) -> None:
        super().__init__(daemon=True)
        self._address = address
        self.asked, self.lost = 0, 0
        self.ended = threading.Event()

    def run(self) -> None:
        while not self.ended.is_set():
            self.asked += 1
            connection = http.client.HTTPConnection(self._address, 80, timeout=5)
            try:
                connection.request("GET", "/index.html")
                answer = connection.getresponse()
                if answer.status != 200 or b"nginx" not in answer.read():
                    self.lost += 1
            except (OSError, http.client.HTTPException):
                self.lost += 1
            finally:
                connection.close()


def rolled(api: Api, name: str, replicas: int) -> bool:
    found = api.call(api.connect(), "GET", f"{DEPLOYMENTS}/{name}")
    status = found["status"]
    return bool(
        status.get("observedGeneration") == found["metadata"]["generation"]
        and status.get("updatedReplicas") == replicas == status.get("availableReplicas") == status.get("replicas")
        and not status.get("terminatingReplicas")
    )


def measure(api: Api, name: str, replicas: int, *, linger: bool) -> tuple[float, int, int]:
    """(seconds of the rollout, requests, of them lost)."""
    api.call(api.connect(), "POST", DEPLOYMENTS, deployment(name, replicas, linger))
    spec = {"selector": {"app": name}, "ports": [{"port": 80}]}
    made = api.call(api.connect(), "POST", SERVICES, {
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec})  # fmt: skip
    while not rolled(api, name, replicas):
        time.sleep(0.05)
    time.sleep(0.5)  # Rules of the last endpoints.
    client = Client(made["spec"]["clusterIP"])
    client.start()
    time.sleep(0.5)
    begin = time.perf_counter()
    connection = api.connect()
    change = json.dumps({"spec": {"template": {"metadata": {"annotations": {"version": "2"}}}}})
    headers = {"Content-Type": "application/merge-patch+json"}
    connection.request("PATCH", f"{DEPLOYMENTS}/{name}", change, headers)
    assert connection.getresponse().status == 200
    while not rolled(api, name, replicas):
        time.sleep(0.05)
    taken = time.perf_counter() - begin
    time.sleep(0.5)
    client.ended.set()
    client.join(10)
    api.call(api.connect(), "DELETE", f"{DEPLOYMENTS}/{name}")
    return taken, client.asked, client.lost


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", default="")
    parser.add_argument("--pods", type=int, default=20)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="podwright-bench-") as scratch:
        kubeconfig = Path(scratch) / "kubeconfig"
        with bench.cluster(kubeconfig):
            api = Api(kubeconfig)
            taken, asked, lost = measure(api, "lingers", arguments.pods, linger=True)
            _, plainly_asked, plainly_lost = measure(api, "plain", arguments.pods, linger=False)
    beside = f"of {asked} in {taken:.1f} s; without preStop {plainly_lost} of {plainly_asked}"
    rows = [{"what": f"requests lost while {arguments.pods} real Pods roll", "value": lost, "unit": "", "target": "0",
             "beside": beside}]  # fmt: skip
    print(f"{rows[0]['what']:<56} {lost:>9}      {'0':<8} {beside}")
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(rows, indent=2))
    if lost:
        sys.exit("requests were lost")


if __name__ == "__main__":
    main()
