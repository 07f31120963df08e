"""The real kubectl, verb by verb."""

from __future__ import annotations

import http.client
import json
import os
import pty
import re
import select
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest
import yaml
from tests.e2e.harness import BIN, Cluster, busybox, pod, until


@pytest.fixture(scope="module")
def talker(cluster: Cluster) -> str:
    cluster.apply(_talker())
    cluster.running("talker")
    return "talker"


def _talker() -> dict[str, Any]:
    lines = "echo one; echo two; echo three; echo oops >&2; sleep 3600"
    made = pod("talker", busybox("a", lines), busybox("b", "echo from-b; sleep 3600"), labels={"app": "talker"})
    made["metadata"]["annotations"] = {"kubectl.kubernetes.io/default-container": "b"}
    return made


def described(cluster: Cluster, *what: str) -> Callable[..., None]:
    """kubectl's description of an object. Each call asks for one line with these words in this order."""
    text = cluster.kubectl("describe", *what)

    def has(*words: str) -> None:
        assert re.search(".*".join(map(re.escape, words)), text), f"{words} not in:\n{text}"

    return has


def test_what_the_server_is(cluster: Cluster) -> None:
    version = yaml.safe_load(cluster.kubectl("version", "-o", "yaml"))
    assert version["serverVersion"]["gitVersion"].startswith("v1.37")
    assert re.search(r"(?m)^Client Version: v1\.37.*\n(.*\n)*Server Version: v1\.37", cluster.kubectl("version"))
    server = yaml.safe_load(cluster.kubeconfig.read_text())["clusters"][0]["cluster"]["server"]
    assert f"Kubernetes control plane is running at {server}" in cluster.kubectl("cluster-info")
    resources = cluster.kubectl("api-resources", "--no-headers")
    for short, kind in (("po", "Pod"), ("deploy", "Deployment"), ("sa", "ServiceAccount"), ("no", "Node")):
        assert any(short in line.split() and line.split()[-1] == kind for line in resources.splitlines())
    extensions = cluster.kubectl("api-resources", "--categories=api-extensions", "-o", "name").split()
    assert {"apiservices.apiregistration.k8s.io", "mutatingadmissionpolicies.admissionregistration.k8s.io"} < set(
        extensions
    )
    assert {"v1", "apps/v1", "rbac.authorization.k8s.io/v1"} <= set(cluster.kubectl("api-versions").split())
    components = cluster.kubectl("get", "componentstatuses", "-o", "jsonpath={.items[*].metadata.name}").split()
    assert "Healthy" in cluster.kubectl("get", "componentstatuses", *components) and len(components) == 3
    assert "podwright" in cluster.kubectl("config", "view")
    who = cluster.kubectl("auth", "whoami", "-o", "json")
    assert json.loads(who)["status"]["userInfo"]["username"] == "kubernetes-admin"
    assert cluster.kubectl("auth", "can-i", "create", "pods").strip() == "yes"
    refused = cluster.try_kubectl("auth", "can-i", "create", "pods", "--as", "nobody")
    assert refused.stdout.strip() == "no"
    may = [line.split() for line in cluster.kubectl("auth", "can-i", "--list").splitlines()]
    assert ["*.*", "[]", "[]", "[*]"] in may and ["[*]", "[]", "[*]"] in may and ["[/healthz]", "[]", "[get]"] in may


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
    has = described(cluster, "pod", talker)
    for words in (("Name:", talker), ("Namespace:", "default"), ("Labels:", "app=talker"), ("Status:", "Running"),
                  ("IP:",), ("Image:", "busybox:1.36"), ("State:", "Running"), ("QoS Class:", "BestEffort"),
                  ("Normal", "Scheduled", "default-scheduler", f"Successfully assigned default/{talker} to node-1"),
                  ("Normal", "Started", "kubelet")):
        has(*words)
    assert "Events:" not in cluster.kubectl("describe", "pod", talker, "--show-events=false")
    has = described(cluster, "node", "node-1")
    for words in (("Name:", "node-1"), ("Labels:",), ("Annotations:",), ("CreationTimestamp:",), ("Conditions:",),
                  ("Type", "Status", "LastHeartbeatTime", "LastTransitionTime", "Reason", "Message"), ("Ready", "True"),
                  ("Addresses:",), ("Capacity:",), ("Allocatable:",), ("Kubelet Version:", "v1.37"), ("Pods:",),
                  ("default", talker)):
        has(*words)
    shown = cluster.kubectl("events", "--for", f"pod/{talker}", "--no-headers").splitlines()
    assert {line.split()[2] for line in shown} == {"Scheduled", "Pulled", "Created", "Started"}
    empty = cluster.kubectl("get", "pods", "-n", "kube-public", "-o", "json", "--chunk-size=1")
    assert json.loads(empty)["items"] == []
    missing = cluster.try_kubectl("get", "pods", "abc", "-o", "json")
    assert (missing.stdout, missing.stderr) == ("", 'Error from server (NotFound): pods "abc" not found\n')


def test_get_w_shows_changes_as_they_come(cluster: Cluster) -> None:
    cluster.apply(pod("herald", busybox("c", "true"), labels={"w": "1"}, nodeSelector={"no": "where"}))
    watch = subprocess.Popen(
        [str(BIN / "kubectl"), "get", "pods", "-w", "--no-headers", "-l", "w=1"],
        env=cluster.environment, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        seen: list[str] = []
        reader = threading.Thread(target=lambda: seen.extend(watch.stdout or ()), daemon=True)
        reader.start()
        until(lambda: "herald" in " ".join(seen), "the list that the watch begins with")
        cluster.apply(pod("watched", busybox("c", "sleep 3600"), labels={"w": "1"}))
        cluster.running("watched")
        cluster.kubectl("delete", "pod", "watched", "--now")
        for state in ("Pending", "Running", "Terminating"):
            until(lambda s=state: any(line.split()[::2][:2] == ["watched", s] for line in seen), f"it shows {state}")
    finally:
        watch.terminate()
        watch.wait(60)
    cluster.kubectl("delete", "pod", "herald", "--now")


def test_logs_in_every_form(cluster: Cluster, talker: str) -> None:
    assert cluster.kubectl("logs", talker, "-c", "a").split() == ["one", "two", "three", "oops"]
    assert cluster.kubectl("logs", talker, "-c", "a", "--tail=2").split() == ["three", "oops"]
    assert set(cluster.kubectl("logs", talker, "--all-containers").split()) == {"one", "two", "three", "oops", "from-b"}
    assert cluster.kubectl("logs", talker) == "from-b\n", "the container that the annotation names"
    assert cluster.kubectl("logs", talker, "-c", "a", "--limit-bytes=1") == "o"
    (stamped,) = cluster.kubectl("logs", talker, "-c", "a", "--tail=1", "--timestamps").splitlines()
    when, _, line = stamped.partition(" ")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", when) and line in ("oops", "three")
    assert len(cluster.kubectl("logs", talker, "-c", "a", "--since=24h").splitlines()) == 4
    time.sleep(1.1)  # so that everything written is older than a second
    assert cluster.kubectl("logs", talker, "-c", "a", "--since=1s") == ""
    wrong = cluster.try_kubectl("logs", talker, "-c", "zzz")
    assert "container zzz is not valid for pod talker out of: a, b" in wrong.stderr


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
    run = ("run", "-i", "--rm", "--restart=Never", "--image=docker.io/library/busybox:1.36", "once", "--")
    once = cluster.try_kubectl(*run, "sh", "-c", "cat && exit 42", given="abcd1234")
    assert once.returncode == 42 and once.stdout.count("abcd1234") == 1, once.stderr
    assert "couldn't attach" not in once.stderr, "an attachment ends well, whatever the container does"
    assert 'pod "once" deleted' in once.stdout
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
    unfit = cluster.try_kubectl("patch", "configmap", "cm", "-p", '{"metadata":{"labels":"invalid"}}').stderr
    assert unfit == (
        'The request is invalid: patch: Invalid value: "map[metadata:map[labels:invalid]]": '
        "cannot restore map from string\n"
    )
    assert "(no change)" in cluster.kubectl("patch", "configmap", "cm", "-p", '{"data":{"d":"4"}}')
    cluster.kubectl("delete", "configmap", "cm")
    cluster.gone("configmap", "cm")


def test_apply_changes_hands_and_prunes(cluster: Cluster, talker: str) -> None:
    """From the client's apply to the server's and back; what is not applied any more goes, by labels and by a set."""
    made = _talker()
    for label, arguments in (("1", ("--server-side",)), ("2", ("--server-side",)), ("3", ())):
        made["metadata"]["labels"]["hand"] = label
        cluster.kubectl("apply", *arguments, "-f", "-", given=yaml.safe_dump(made))
        assert f'"hand": "{label}"' in cluster.kubectl("apply", "view-last-applied", f"pod/{talker}", "-o", "json")
    spec = cluster.pod(talker)["spec"]
    assert spec["serviceAccountName"] == "default" and spec["volumes"], "nobody's to take away"
    made["metadata"]["labels"]["hand"] = "4"
    conflict = cluster.try_kubectl("apply", "--server-side", "--field-manager=x", "-f", "-", given=yaml.safe_dump(made))
    assert 'conflict with "kubectl-client-side-apply" using v1: .metadata.labels.hand' in conflict.stderr
    by_label = ("--prune", "-l", "pruned=1", "--prune-allowlist=core/v1/ConfigMap")
    for arguments in (by_label, ("--prune", "--applyset=set", "-n", "default")):
        for name in ("one", "two"):
            metadata = {"name": name, "labels": {"pruned": "1"}, "namespace": "default"}
            given = yaml.safe_dump({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata})
            done = subprocess.run(
                [str(BIN / "kubectl"), "apply", *arguments, "-f", "-"], input=given, text=True, capture_output=True,
                env={**cluster.environment, "KUBECTL_APPLYSET": "true"}, check=False,
            )  # fmt: skip
            assert done.returncode == 0, done.stderr
            listed = cluster.kubectl("get", "cm", "-l", "pruned=1", "-o", "name").split()
            assert listed == [f"configmap/{name}"]
        cluster.kubectl("delete", "cm", "two")
    cluster.kubectl("delete", "secret", "set")


def test_taints_and_cordons(cluster: Cluster) -> None:
    def taints() -> list[Any]:
        return [t for t in cluster.get("node", "node-1")["spec"].get("taints", []) if t["key"] == "dedicated"]

    cluster.kubectl("taint", "node", "node-1", "dedicated=foo:PreferNoSchedule", "--dry-run=server")
    assert not taints()
    cluster.kubectl("taint", "node", "node-1", "dedicated=foo:PreferNoSchedule")
    has = described(cluster, "node", "node-1")
    has("Taints:", "dedicated=foo:PreferNoSchedule")
    cluster.kubectl("taint", "node", "node-1", "dedicated-")
    assert not taints()
    cluster.kubectl("cordon", "node-1")
    assert cluster.kubectl("get", "node", "node-1", "--no-headers").split()[1] == "Ready,SchedulingDisabled"
    assert "already cordoned" in cluster.kubectl("drain", "node-1", "--dry-run=server", "--force")
    assert "node/node-1 uncordoned" in cluster.kubectl("uncordon", "node-1")


def _through(cluster: Cluster, target: str, port: str) -> bytes:
    """What a server's root page says through a forwarded port."""
    forward = subprocess.Popen(
        [str(BIN / "kubectl"), "port-forward", target, port], env=cluster.environment, stdout=subprocess.PIPE, text=True
    )
    try:
        assert forward.stdout is not None
        address = forward.stdout.readline().split()[2]
        with urllib.request.urlopen(f"http://{address}/", timeout=60) as page:
            return bytes(page.read())
    finally:
        forward.terminate()
        forward.wait(60)


def test_wait_and_rollout(cluster: Cluster) -> None:
    serves = "echo here; mkdir /w; echo hello > /w/index.html; exec httpd -f -p 8080 -h /w"
    cluster.kubectl("create", "deployment", "d", "--image=busybox:1.36", "--replicas=2", "--", "sh", "-c", serves)
    cluster.kubectl("rollout", "status", "deployment/d", "--timeout=60s")
    names = [name.removeprefix("pod/") for name in cluster.kubectl("get", "pods", "-l", "app=d", "-o", "name").split()]
    said = cluster.kubectl("logs", "deploy/d", "--all-pods", "--all-containers").splitlines()
    assert sorted(said) == sorted(f"[pod/{name}/busybox] here" for name in names) and len(names) == 2
    cluster.kubectl("expose", "deployment", "d", "--port=80", "--target-port=8080")
    until(lambda: (cluster.get("endpointslices", "-l", "kubernetes.io/service-name=d")["items"][0]["endpoints"]))
    assert _through(cluster, "svc/d", ":80") == _through(cluster, "deploy/d", ":8080") == b"hello\n"
    assert cluster.kubectl("exec", "svc/d", "--", "hostname").strip() in names
    cluster.kubectl("delete", "service", "d")
    cluster.kubectl("scale", "deployment/d", "--replicas=1")
    cluster.kubectl("wait", "--for=jsonpath={.status.readyReplicas}=1", "deployment/d", "--timeout=60s")
    cluster.kubectl("rollout", "restart", "deployment/d")
    cluster.kubectl("rollout", "status", "deployment/d", "--timeout=60s")
    cluster.kubectl("rollout", "pause", "deployment/d")
    paused = cluster.try_kubectl("rollout", "undo", "deployment/d").stderr
    assert "you cannot rollback a paused deployment" in paused
    cluster.kubectl("rollout", "resume", "deployment/d")
    cluster.kubectl("rollout", "undo", "deployment/d")
    cluster.kubectl("rollout", "status", "deployment/d", "--timeout=60s")
    assert "unable to find specified revision 100" in cluster.try_kubectl(
        "rollout", "undo", "deployment/d", "--to-revision=100"
    ).stderr
    newest = described(cluster, "deployment", "d")
    newest("Annotations:", "deployment.kubernetes.io/revision: 3")
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
    name = names()[0].removeprefix("pod/")
    for what, lines in (
        (("rc", "primary"), (
            ("Name:", "primary"), ("Namespace:", "default"), ("Selector:", "app=agnhost,role=primary"),
            ("Labels:", "app=agnhost"), ("role=primary",), ("Annotations:",), ("Replicas:", "2 current", "2 desired"),
            ("Pods Status:", "2 Running", "0 Waiting", "0 Succeeded", "0 Failed"), ("Pod Template:",),
            ("Image:", "docker.io/library/busybox:1.36"), ("Events:",),
            ("SuccessfulCreate", "replication-controller", f"Created pod: {name}"),
        )),
        (("pod", name), (("Controlled By:", "ReplicationController/primary"),)),
        (("service", "rm2"), (
            ("Name:", "rm2"), ("Namespace:", "default"), ("Labels:", "app=agnhost"), ("Annotations:",),
            ("Selector:", "app=agnhost,role=primary"), ("Type:", "ClusterIP"), ("IP:",),
            ("Port:", "<unset>", "1234/TCP"), ("TargetPort:", "6379/TCP"), ("Endpoints:", ":6379"),
            ("Session Affinity:", "None"),
        )),
        (("namespace", "default"), (
            ("Name:", "default"), ("Labels:",), ("Annotations:",), ("Status:", "Active"), ("No resource quota",),
            ("No LimitRange resource",),
        )),
    ):
        has = described(cluster, *what)
        for words in lines:
            has(*words)
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
    assert cluster.get("pod", "ran")["spec"]["containers"][0]["image"] == image

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


@pytest.mark.parametrize("where", ["port", "prefix", "socket"])
def test_proxy(cluster: Cluster, where: str) -> None:
    path = cluster.kubeconfig.with_name("proxy.sock")
    prefix = "/custom" if where == "prefix" else ""
    listen = {"port": ["--port=0", "--disable-filter"], "prefix": ["--port=0", f"--api-prefix={prefix}"],
              "socket": [f"--unix-socket={path}"]}[where]
    proxy = subprocess.Popen(
        [str(BIN / "kubectl"), "proxy", *listen], env=cluster.environment, stdout=subprocess.PIPE, text=True
    )
    try:
        assert proxy.stdout is not None
        said = proxy.stdout.readline().strip()
        client = http.client.HTTPConnection("127.0.0.1", 80 if where == "socket" else int(said.rpartition(":")[2]))
        if where == "socket":
            client.sock = socket.socket(socket.AF_UNIX)
            client.sock.connect(str(path))
        client.request("GET", f"{prefix}/api/")
        assert json.loads(client.getresponse().read())["versions"] == ["v1"]
        client.close()
    finally:
        proxy.terminate()
        proxy.wait(60)
