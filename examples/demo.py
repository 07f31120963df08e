"""``make demo``: a Pod, from its manifest to running containers, and what its containers share."""

from __future__ import annotations

from walk import HERE, Walk


def main() -> None:
    walk = Walk("demo")
    try:
        walk.step("A cluster from nothing: API server, store, scheduler, controllers, kubelet")
        walk.podwright("up", "--name", "demo")
        walk.kubectl("get", "nodes", "-o", "wide")

        walk.step("A Pod with two containers: a web server, and one that writes its page into a shared volume")
        walk.kubectl("apply", "-f", str(HERE / "first-pod.yaml"))
        walk.kubectl("wait", "--for=condition=Ready", "pod/first", "--timeout=30s")
        walk.kubectl("get", "pod", "first", "-o", "wide")

        walk.step("They share the network: 'writer' reaches 'web' on localhost")
        walk.kubectl("exec", "first", "-c", "writer", "--", "wget", "-qO-", "http://localhost/")

        walk.step("Real namespaces: net, ipc and uts are the Pod's, mnt and pid are each container's own")
        for container in ("web", "writer"):
            walk.kubectl(
                "exec", "first", "-c", container, "--", "sh", "-c",
                "for n in net ipc uts pid mnt; do readlink /proc/self/ns/$n; done",
            )  # fmt: skip

        walk.step("What happened on its way, told by the components themselves")
        walk.kubectl("get", "events", "--field-selector", "involvedObject.name=first",
                     "-o", "custom-columns=FROM:.source.component,REASON:.reason,MESSAGE:.message")  # fmt: skip

        walk.step("A Deployment heals: one of its Pods is deleted, another takes its place")
        walk.kubectl("apply", "-f", str(HERE / "deployment.yaml"))
        walk.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
        victim = walk.kubectl("get", "pods", "-l", "app=web", "-o", "name", show=False).split()[0]
        walk.kubectl("delete", victim, "--now")
        walk.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
        walk.kubectl("get", "pods", "-o", "wide")
    finally:
        walk.end()


if __name__ == "__main__":
    main()
