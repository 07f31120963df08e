"""The real kubectl, verb by verb."""

from __future__ import annotations

import http.client
import json
import os
import pty
import select
import socket
import subprocess
import threading
import time

import pytest
import yaml
from tests.e2e.harness import BIN, Cluster, busybox, pod, until


@pytest.fixture(scope="module")
def talker(cluster: Cluster) -> str:
    lines = "echo one; echo two; echo three; echo oops >&2; sleep 3600"
    cluster.apply(pod("talker", busybox("a", lines), busybox("b", "echo from-b; sleep 3600"), labels={"app": "talker"}))
    cluster.running("talker")
    return "talker"


def test_what_the_server_is(cluster: Cluster) -> None:
    version = yaml.safe_load(cluster.kubectl("version", "-o", "yaml"))
    assert version["serverVersion"]["gitVersion"].startswith("v1.37")
    assert "is running at" in cluster.kubectl("cluster-info")
    resources = cluster.kubectl("api-resources", "--no-headers")
    for short, kind in (("po", "Pod"), ("deploy", "Deployment"), ("sa", "ServiceAccount"), ("no", "Node")):
        assert any(short in line.split() and line.split()[-1] == kind for line in resources.splitlines())
    assert {"v1", "apps/v1", "rbac.authorization.k8s.io/v1"} <= set(cluster.kubectl("api-versions").split())
    assert "podwright" in cluster.kubectl("config", "view")
    who = cluster.kubectl("auth", "whoami", "-o", "json")
    assert json.loads(who)["status"]["userInfo"]["username"] == "kubernetes-admin"
    assert cluster.kubectl("auth", "can-i", "create", "pods").strip() == "yes"
    refused = cluster.try_kubectl("auth", "can-i", "create", "pods", "--as", "nobody")
    assert refused.stdout.strip() == "no"


def test_explain_reaches_every_depth(cluster: Cluster) -> None:
    assert "RESTART" in cluster.kubectl("explain", "pods.spec").upper()
    deep = cluster.kubectl("explain", "pod.spec.containers.livenessProbe")
    assert "initialDelaySeconds" in deep and "grpc" in deep
    recursive = cluster.kubectl("explain", "pods", "--recursive")
    for field in ("activeDeadlineSeconds", "terminationMessagePolicy", "topologySpreadConstraints", "hostUsers"):
        assert field in recursive


def test_get_in_every_form(cluster: Cluster, talker: str) -> None:
    wide = cluster.kubectl("get", "pod", talker, "-o", "wide")
    header, row = wide.splitlines()
    assert header.split()[:5] == ["NAME", "READY", "STATUS", "RESTARTS", "AGE"] and "NODE" in header
    assert row.split()[:4] == [talker, "2/2", "Running", "0"]
    assert yaml.safe_load(cluster.kubectl("get", "pod", talker, "-o", "yaml"))["kind"] == "Pod"
    assert cluster.kubectl("get", "pod", talker, "-o", "name").strip() == f"pod/{talker}"
    assert cluster.kubectl("get", "pod", talker, "-o", "jsonpath={.spec.containers[*].name}") == "a b"
    custom = cluster.kubectl("get", "pod", talker, "-o", "custom-columns=N:.metadata.name,NODE:.spec.nodeName")
    assert custom.split() == ["N", "NODE", talker, "node-1"]
    assert cluster.kubectl("get", "pods", "-l", "app=talker,app!=x", "-o", "name").strip() == f"pod/{talker}"
    assert talker in cluster.kubectl("get", "pods", "-A", "--field-selector", "status.phase=Running")
    assert talker not in cluster.kubectl("get", "pods", "-A", "--field-selector", "status.phase=Pending")
    describe = cluster.kubectl("describe", "pod", talker)
    for part in ("Containers:", "Conditions:", "QoS Class:", "Events:", "Scheduled", "Started"):
        assert part in describe
    node = cluster.kubectl("describe", "node", "node-1")
    for part in ("Capacity:", "Allocatable:", "System Info:", "Non-terminated Pods:", "default"):
        assert part in node
    assert cluster.kubectl("get", "events")


def test_get_w_shows_changes_as_they_come(cluster: Cluster) -> None:
    watch = subprocess.Popen(
        [str(BIN / "kubectl"), "get", "pods", "-w", "--no-headers", "-l", "w=1"],
        env=cluster.environment, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        cluster.apply(pod("watched", busybox("c", "sleep 3600"), labels={"w": "1"}))
        cluster.running("watched")
        cluster.kubectl("delete", "pod", "watched", "--now")
        assert watch.stdout is not None
        seen: list[str] = []
        reader = threading.Thread(target=lambda: seen.extend(watch.stdout or ()), daemon=True)
        reader.start()
        for state in ("Pending", "Running", "Terminating"):
            until(lambda s=state: s in " ".join(seen), f"the watch shows {state}")
    finally:
        watch.terminate()
        watch.wait(60)


def test_logs_in_every_form(cluster: Cluster, talker: str) -> None:
    assert cluster.kubectl("logs", talker, "-c", "a").split() == ["one", "two", "three", "oops"]
    assert cluster.kubectl("logs", talker, "-c", "a", "--tail=2").split() == ["three", "oops"]
    assert set(cluster.kubectl("logs", talker, "--all-containers").split()) == {"one", "two", "three", "oops", "from-b"}
    assert cluster.kubectl("logs", talker, "-c", "a", "--limit-bytes=2") == "on"
    stamped = cluster.kubectl("logs", talker, "-c", "b", "--timestamps").split()
    assert stamped[0].startswith("20") and stamped[1] == "from-b"
    assert cluster.kubectl("logs", talker, "-c", "a", "--since=1h").split()[0] == "one"
    time.sleep(1.1)  # so that everything written is older than a second
    assert cluster.kubectl("logs", talker, "-c", "a", "--since=1s") == ""
    wrong = cluster.try_kubectl("logs", talker, "-c", "zzz")
    assert "container zzz is not valid for pod talker" in wrong.stderr


def test_logs_follow_and_previous(cluster: Cluster) -> None:
    cluster.apply(pod("crasher", busybox("c", "echo life; sleep 0.3; exit 1")))
    until(lambda: cluster.pod("crasher")["status"]["containerStatuses"][0]["restartCount"] >= 1)
    assert cluster.kubectl("logs", "crasher", "-p").strip() == "life"
    count = busybox("c", "for i in 1 2 3 4 5; do echo $i; sleep 0.2; done")
    cluster.apply(pod("counter", count, restartPolicy="Never"))
    until(lambda: cluster.pod("counter")["status"].get("phase") in ("Running", "Succeeded"))
    assert cluster.kubectl("logs", "-f", "counter").split() == ["1", "2", "3", "4", "5"]
    cluster.kubectl("delete", "pod", "crasher", "counter", "--now")


def test_exec_with_input_exit_code_and_terminal(cluster: Cluster, talker: str) -> None:
    assert cluster.kubectl("exec", talker, "-c", "a", "--", "echo", "hi") == "hi\n"
    assert cluster.kubectl("exec", "-i", talker, "-c", "a", "--", "cat", given="through stdin") == "through stdin"
    failed = cluster.try_kubectl("exec", talker, "-c", "a", "--", "sh", "-c", "echo err >&2; exit 7")
    assert failed.returncode == 7 and "err" in failed.stderr
    missing = cluster.try_kubectl("exec", talker, "-c", "a", "--", "no-such-command")
    assert missing.returncode != 0
    master, slave = pty.openpty()
    shell = subprocess.Popen(
        [str(BIN / "kubectl"), "exec", "-it", talker, "-c", "a", "--", "sh"],
        env=cluster.environment, stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
    )  # fmt: skip
    os.close(slave)
    os.write(master, b"tty; echo $((6*7)); exit 3\n")
    output = b""
    while select.select([master], [], [], 60)[0]:
        try:
            chunk = os.read(master, 4096)
        except OSError:
            break
        if not chunk:
            break
        output += chunk
    os.close(master)
    assert shell.wait(60) == 3
    assert b"42" in output and b"not a tty" not in output


def test_changing_objects(cluster: Cluster) -> None:
    cluster.kubectl("create", "configmap", "cm", "--from-literal=a=1")
    cluster.kubectl("label", "configmap", "cm", "team=x")
    cluster.kubectl("annotate", "configmap", "cm", "note=y")
    meta = cluster.get("configmap", "cm")["metadata"]
    assert meta["labels"] == {"team": "x"} and meta["annotations"]["note"] == "y"
    editor = cluster.kubeconfig.with_name("editor")
    editor.write_text("#!/bin/sh\nexec sed -i 's/^  a: .*/  a: edited/' \"$1\"\n")
    editor.chmod(0o755)
    environment = {**cluster.environment, "KUBE_EDITOR": str(editor)}
    subprocess.run([str(BIN / "kubectl"), "edit", "configmap", "cm"], env=environment, check=True, capture_output=True)
    assert cluster.get("configmap", "cm")["data"] == {"a": "edited"}
    replacement = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "cm"}, "data": {"b": "2"}}
    cluster.kubectl("replace", "-f", "-", given=yaml.safe_dump(replacement))
    assert cluster.get("configmap", "cm")["data"] == {"b": "2"}
    replacement["data"] = {"c": "3"}
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", given=yaml.safe_dump(replacement))
    cluster.kubectl("patch", "configmap", "cm", "-p", '{"data":{"d":"4"}}')
    assert cluster.get("configmap", "cm")["data"]["d"] == "4"
    cluster.kubectl("delete", "configmap", "cm")
    cluster.gone("configmap", "cm")


def test_wait_and_rollout(cluster: Cluster) -> None:
    cluster.kubectl("create", "deployment", "d", "--image=busybox:1.36", "--replicas=2", "--", "sleep", "3600")
    cluster.kubectl("rollout", "status", "deployment/d", "--timeout=60s")
    cluster.kubectl("scale", "deployment/d", "--replicas=1")
    cluster.kubectl("wait", "--for=jsonpath={.status.readyReplicas}=1", "deployment/d", "--timeout=60s")
    cluster.kubectl("rollout", "restart", "deployment/d")
    cluster.kubectl("rollout", "status", "deployment/d", "--timeout=60s")
    cluster.kubectl("rollout", "undo", "deployment/d")
    cluster.kubectl("rollout", "status", "deployment/d", "--timeout=60s")
    cluster.kubectl("delete", "deployment", "d")
    cluster.kubectl("run", "r", "--image=busybox:1.36", "--restart=Never", "--", "sleep", "3600")
    cluster.kubectl("wait", "--for=condition=Ready", "pod/r", "--timeout=60s")
    cluster.kubectl("delete", "pod", "r", "--now")
    cluster.kubectl("wait", "--for=delete", "pod/r", "--timeout=60s")


def test_a_replication_controller_and_its_services(cluster: Cluster) -> None:
    """Two Pods, scaled to one and back; exposed twice; every Pod annotated; described."""
    labels = {"app": "agnhost", "role": "primary"}
    container = {"name": "c", "image": "docker.io/library/busybox:1.36", "command": ["sleep", "3600"],
                 "ports": [{"name": "server", "containerPort": 6379}]}
    template = {"metadata": {"labels": labels},
                "spec": {"containers": [container], "terminationGracePeriodSeconds": 0}}
    controller = {"apiVersion": "v1", "kind": "ReplicationController", "metadata": {"name": "primary"},
                  "spec": {"replicas": 2, "selector": labels, "template": template}}
    cluster.kubectl("create", "-f", "-", given=yaml.safe_dump(controller))

    def names() -> list[str]:
        return cluster.kubectl("get", "pods", "-l", "app=agnhost", "-o", "name").split()

    until(lambda: cluster.get("rc", "primary")["status"].get("readyReplicas") == 2, "two Pods")
    cluster.kubectl("scale", "rc", "primary", "--replicas=1")
    until(lambda: len(names()) == 1, "one Pod")
    cluster.kubectl("scale", "rc", "primary", "--replicas=2")
    until(lambda: cluster.get("rc", "primary")["status"].get("readyReplicas") == 2, "two Pods again")
    cluster.kubectl("expose", "rc", "primary", "--name=rm2", "--port=1234", "--target-port=6379")
    cluster.kubectl("expose", "service", "rm2", "--name=rm3", "--port=2345", "--target-port=6379")
    for name, port in (("rm2", 1234), ("rm3", 2345)):
        until(lambda n=name: len((cluster.get("endpoints", n).get("subsets") or [{}])[0].get("addresses") or []) == 2)
        assert cluster.get("service", name)["spec"]["ports"][0]["port"] == port
        assert cluster.get("endpoints", name)["subsets"][0]["ports"][0]["port"] == 6379
    for name in names():
        cluster.kubectl("patch", name, "-p", '{"metadata":{"annotations":{"x":"y"}}}')
    found = json.loads(cluster.kubectl("get", "pods", "-l", "app=agnhost", "-o", "json"))["items"]
    assert all(p["metadata"]["annotations"]["x"] == "y" for p in found)
    parts = {
        ("rc", "primary"): ("Replicas:", "2 current / 2 desired", "Pods Status:", "2 Running / 0 Waiting"),
        ("service", "rm2"): ("Type:", "ClusterIP", "TargetPort:", "6379/TCP", "Endpoints:"),
        ("namespace", "default"): ("Name:", "Status:", "Active"),
    }
    for what, expected in parts.items():
        described = cluster.kubectl("describe", *what)
        assert all(part in described for part in expected), described
    cluster.kubectl("delete", "rc,service", "primary", "rm2", "rm3", "--ignore-not-found", "--cascade=background")


def test_run_label_diff_dry_run_and_replace(cluster: Cluster) -> None:
    image = "docker.io/library/busybox:1.36"
    cluster.kubectl("run", "ran", f"--image={image}", "--restart=Never", "--", "sleep", "3600")
    spec = cluster.get("pod", "ran")["spec"]
    assert [c["image"] for c in spec["containers"]] == [image] and spec["restartPolicy"] == "Never"
    cluster.running("ran")
    cluster.kubectl("label", "pod", "ran", "testing-label=value")
    assert "value" in cluster.kubectl("get", "pod", "ran", "-L", "testing-label")
    cluster.kubectl("label", "pod", "ran", "testing-label-")
    assert "testing-label" not in cluster.get("pod", "ran")["metadata"]["labels"]
    patch = json.dumps({"spec": {"containers": [{"name": "ran", "image": "other:1"}]}})
    assert "other:1" in cluster.kubectl("patch", "pod", "ran", "-p", patch, "--dry-run=server", "-o", "yaml")

    def replaced() -> bool:
        whole = cluster.get("pod", "ran")
        assert whole["spec"]["containers"][0]["image"] == image
        whole["spec"]["containers"][0]["image"] = "localhost/none:2"
        return cluster.try_kubectl("replace", "-f", "-", given=json.dumps(whole)).returncode == 0

    until(replaced, "replaced, with no status written in between")
    assert cluster.get("pod", "ran")["spec"]["containers"][0]["image"] == "localhost/none:2"
    cluster.kubectl("delete", "pod", "ran", "--now", "--wait=false")
    cluster.kubectl("create", "deployment", "differs", f"--image={image}", "--replicas=0")
    declared = cluster.get("deployment", "differs")
    declared["spec"]["template"]["spec"]["containers"][0]["image"] = "busybox:2"
    shown = cluster.try_kubectl("diff", "-f", "-", given=json.dumps(declared))
    assert shown.returncode == 1, shown.stderr
    assert f"-      - image: {image}" in shown.stdout and "+      - image: busybox:2" in shown.stdout
    cluster.kubectl("delete", "deployment", "differs")


@pytest.mark.parametrize("where", ["port", "socket"])
def test_proxy(cluster: Cluster, where: str) -> None:
    path = cluster.kubeconfig.with_name("proxy.sock")
    listen = ["--port=0", "--disable-filter"] if where == "port" else [f"--unix-socket={path}"]
    proxy = subprocess.Popen(
        [str(BIN / "kubectl"), "proxy", *listen], env=cluster.environment, stdout=subprocess.PIPE, text=True
    )
    try:
        assert proxy.stdout is not None
        said = proxy.stdout.readline().strip()
        client = http.client.HTTPConnection("127.0.0.1", int(said.rpartition(":")[2]) if where == "port" else 80)
        if where == "socket":
            client.sock = socket.socket(socket.AF_UNIX)
            client.sock.connect(str(path))
        client.request("GET", "/api/")
        assert json.loads(client.getresponse().read())["versions"] == ["v1"]
        client.close()
    finally:
        proxy.terminate()
        proxy.wait(60)
