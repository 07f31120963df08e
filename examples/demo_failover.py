"""``make demo-failover``: three nodes, a Deployment and a static Pod. A node dies: the Deployment's Pods come up
elsewhere, the static Pod does not."""

from __future__ import annotations

import json
import time

from walk import HERE, Walk


def main() -> None:
    walk = Walk("failover")
    manifests = walk.directory / "static"
    manifests.mkdir()
    try:
        walk.step("Three nodes; node-1's kubelet also reads a directory of static Pods")
        walk.podwright("up", "--name", "failover", "--nodes", "3", "--fast-failover", "--static-pods", str(manifests))
        (manifests / "static-web.yaml").write_text((HERE / "static-pod.yaml").read_text())
        walk.kubectl("get", "nodes", "-o", "wide")

        walk.step("A Deployment of three Pods, and the static Pod's mirror")
        walk.kubectl("apply", "-f", str(HERE / "deployment.yaml"))
        walk.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
        walk.until("the static Pod runs", lambda: "static-web-node-1" in walk.kubectl(
            "get", "pods", "--field-selector=status.phase=Running", "-o", "name", show=False))  # fmt: skip
        walk.kubectl("get", "pods", "-o", "wide")

        walk.step("node-1 dies, with everything in it")
        killed = time.monotonic()
        walk.podwright("node", "kill", "node-1", "--name", "failover")

        def healed() -> bool:
            pods = json.loads(walk.kubectl("get", "pods", "-l", "app=web", "-o", "json", show=False))["items"]
            ready = [
                p for p in pods
                if p["spec"].get("nodeName") != "node-1" and not p["metadata"].get("deletionTimestamp")
                and any(c["type"] == "Ready" and c["status"] == "True" for c in p["status"].get("conditions", []))
            ]  # fmt: skip
            return len(ready) == 3

        walk.until("three Ready Pods on the nodes that live", healed, timeout=90)
        print(f"    {time.monotonic() - killed:.2f}s after the kill")

        walk.step("Side by side: the Deployment's Pods moved, the static Pod cannot")
        walk.kubectl("get", "nodes")
        walk.kubectl("get", "pods", "-o", "wide")

        walk.step("node-1 boots again: its static Pod is back, nothing is doubled")
        walk.podwright("up", "--name", "failover")
        walk.until("the static Pod runs again", lambda: "static-web-node-1" in walk.kubectl(
            "get", "pods", "--field-selector=status.phase=Running", "-o", "name", show=False))  # fmt: skip
        walk.kubectl("get", "pods", "-o", "wide")
    finally:
        walk.end()


if __name__ == "__main__":
    main()
