"""Pods as a user sees them: what containers share, restarts, deletion, limits."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
from tests.e2e.harness import Cluster, busybox, container_status, has_condition, host_pids, namespace_of, pod, until

SHARED = ("net", "ipc", "uts")
OWN = ("mnt", "pid")


def test_containers_of_a_pod_share_what_a_pod_shares_and_pods_share_nothing(cluster: Cluster) -> None:
    volume = {"volumes": [{"name": "v", "emptyDir": {}}]}
    mount = {"volumeMounts": [{"name": "v", "mountPath": "/v"}]}
    serve = "hostname > /v/name; echo from-a > /v/index.html; httpd -f -p 8080 -h /v"
    cluster.apply(
        pod("two", busybox("a", serve, **mount), busybox("b", "sleep 3600", **mount), **volume),
        pod("other", busybox("a", "sleep 3600")),
        pod("one-tree", busybox("a", "sleep 3601"), busybox("b", "sleep 3600"), shareProcessNamespace=True),
    )
    two, other, tree = (cluster.running(n) for n in ("two", "other", "one-tree"))
    a, b = host_pids(two)["a"], host_pids(two)["b"]
    o, host = host_pids(other)["a"], os.getpid()
    for kind in SHARED:
        assert namespace_of(a, kind) == namespace_of(b, kind)
        assert len({namespace_of(a, kind), namespace_of(o, kind), namespace_of(host, kind)}) == 3
    for kind in OWN:
        assert len({namespace_of(p, kind) for p in (a, b, o, host)}) == 4
    assert len({namespace_of(p, "pid") for p in host_pids(tree).values()}) == 1
    assert "sleep 3601" in cluster.kubectl("exec", "one-tree", "-c", "b", "--", "ps")

    def run(container: str, *command: str) -> str:
        return cluster.kubectl("exec", "two", "-c", container, "--", *command).strip()

    assert until(lambda: run("b", "wget", "-qO-", "http://localhost:8080/index.html")) == "from-a"
    assert run("b", "cat", "/v/name") == run("b", "hostname") == "two"
    ip = two["status"]["podIP"]
    assert ip == two["status"]["podIPs"][0]["ip"] != other["status"]["podIP"]
    assert f"inet {ip}/" in run("a", "ip", "-o", "-4", "addr") and f"inet {ip}/" in run("b", "ip", "-o", "-4", "addr")
    from_other = cluster.kubectl("exec", "other", "--", "wget", "-qO-", f"http://{ip}:8080/index.html")
    assert from_other.strip() == "from-a", "a Pod reaches another by IP"
    host_ip = two["status"]["hostIP"]
    cluster.kubectl("exec", "other", "--", "ping", "-c", "1", host_ip)


@pytest.mark.parametrize(
    ("policy", "command", "phase", "reason", "code", "restarts"),
    [
        ("Never", "exit 0", "Succeeded", "Completed", 0, False),
        ("Never", "exit 3", "Failed", "Error", 3, False),
        ("OnFailure", "exit 0", "Succeeded", "Completed", 0, False),
        ("OnFailure", "exit 3", "Running", "Error", 3, True),
        ("Always", "exit 0", "Running", "Completed", 0, True),
    ],
)
def test_restart_policies(
    cluster: Cluster, policy: str, command: str, phase: str, reason: str, code: int, restarts: bool
) -> None:
    name = f"r-{policy.lower()}-{code}"
    cluster.apply(pod(name, busybox("c", command), restartPolicy=policy))
    if not restarts:
        status = container_status(cluster.phase(name, phase), "c")
        ended = status["state"]["terminated"]
        assert (ended["reason"], ended["exitCode"], status["restartCount"]) == (reason, code, 0)
        assert ended["startedAt"] <= ended["finishedAt"]
        return

    def backing_off() -> bool:
        current = cluster.pod(name)
        status = container_status(current, "c")
        assert status["restartCount"] >= 2
        assert status["state"]["waiting"]["reason"] == "CrashLoopBackOff"
        assert status["lastState"]["terminated"]["reason"] == reason
        assert status["lastState"]["terminated"]["exitCode"] == code
        assert current["status"]["phase"] == phase and has_condition(current, "Ready", "False")
        return True

    until(backing_off, f"{name} in CrashLoopBackOff")
    assert any(r == "BackOff" for r, _ in cluster.events(name))


def test_a_signal_that_kills_shows_as_128_plus_its_number(cluster: Cluster) -> None:
    cluster.apply(pod("signalled", busybox("c", "sleep 3600"), restartPolicy="Never"))
    os.kill(host_pids(cluster.running("signalled"))["c"], signal.SIGKILL)
    ended = container_status(cluster.phase("signalled", "Failed"), "c")["state"]["terminated"]
    assert ended["exitCode"] == 137 and ended["reason"] == "Error"


def test_an_out_of_memory_kill_is_reported_and_limits_stand_in_the_cgroup(cluster: Cluster) -> None:
    limits = {"resources": {"requests": {"cpu": "100m", "memory": "16Mi"}, "limits": {"cpu": "500m", "memory": "24Mi"}}}
    cluster.apply(
        pod("oom", busybox("c", "head -c 200m /dev/zero | tail", **limits), restartPolicy="Never"),
        pod("limited", busybox("c", "sleep 3600", **limits)),
    )
    ended = container_status(cluster.phase("oom", "Failed"), "c")["state"]["terminated"]
    assert (ended["reason"], ended["exitCode"]) == ("OOMKilled", 137)
    limited = cluster.running("limited")
    assert limited["status"]["qosClass"] == "Burstable"
    pid = host_pids(limited)["c"]
    assert _limit(pid, "memory", "memory.limit_in_bytes", "memory.max") == str(24 << 20)
    if Path("/sys/fs/cgroup/cgroup.controllers").exists():
        assert _limit(pid, "cpu", "", "cpu.max") == "50000 100000"
    else:
        assert _limit(pid, "cpu", "cpu.cfs_quota_us", "") == "50000"
        assert _limit(pid, "cpu", "cpu.shares", "") == "102"


def _limit(pid: int, controller: str, version1: str, version2: str) -> str:
    lines = [line.split(":", 2) for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines()]
    root = Path("/sys/fs/cgroup")
    if (root / "cgroup.controllers").exists():
        path = next(p for n, _, p in lines if n == "0")
        return (root / path.lstrip("/") / version2).read_text().strip()
    path = next(p for _, c, p in lines if controller in c.split(","))
    return (root / controller / path.lstrip("/") / version1).read_text().strip()


def test_deletion_runs_its_course(cluster: Cluster) -> None:
    polite = "trap 'echo bye; exit 0' TERM; while :; do sleep 0.1; done"
    stubborn = "trap '' TERM; while :; do sleep 0.1; done"
    cluster.apply(
        pod("polite", busybox("c", polite), terminationGracePeriodSeconds=600),
        pod("stubborn", busybox("c", stubborn), terminationGracePeriodSeconds=2),
        pod("forced", busybox("c", stubborn), terminationGracePeriodSeconds=600),
        pod("now", busybox("c", stubborn), terminationGracePeriodSeconds=600),
    )
    pids = {n: host_pids(cluster.running(n))["c"] for n in ("polite", "stubborn", "forced", "now")}
    cluster.kubectl("delete", "pod", "polite")
    begin = time.monotonic()
    cluster.kubectl("delete", "pod", "stubborn", "--wait=false")
    assert "deletionTimestamp" in cluster.pod("stubborn")["metadata"]
    cluster.gone("pod", "stubborn")
    assert time.monotonic() - begin > 1.5
    cluster.kubectl("delete", "pod", "now", "--now")
    cluster.kubectl("delete", "pod", "forced", "--grace-period=0", "--force")
    assert cluster.try_kubectl("get", "pod", "forced").returncode
    for name, pid in pids.items():
        until(lambda p=pid: not Path(f"/proc/{p}").exists(), f"process of {name} gone")


def test_a_missing_image_waits_and_says_so(cluster: Cluster) -> None:
    missing = {"name": "c", "image": "localhost:1/no/such:1"}
    cluster.apply(pod("no-image", missing))

    def waiting() -> bool:
        reason = container_status(cluster.pod("no-image"), "c")["state"]["waiting"]["reason"]
        return reason in ("ErrImagePull", "ImagePullBackOff")

    until(waiting)
    assert any(r == "Failed" for r, _ in until(lambda: cluster.events("no-image")))


def test_no_room_leaves_the_pod_pending_with_the_reason(cluster: Cluster) -> None:
    greedy = {"resources": {"requests": {"cpu": "1000"}}}
    cluster.apply(pod("greedy", busybox("c", "sleep 1", **greedy)))

    def refused() -> bool:
        conditions = cluster.pod("greedy")["status"]["conditions"]
        scheduled = next(c for c in conditions if c["type"] == "PodScheduled")
        assert scheduled["status"] == "False" and scheduled["reason"] == "Unschedulable"
        return str(scheduled["message"]).startswith("0/1 nodes are available: 1 Insufficient cpu.")

    until(refused)
    assert ("FailedScheduling" in r for r, _ in cluster.events("greedy"))
    assert cluster.pod("greedy")["status"]["phase"] == "Pending"


RESTRICTED = {
    "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "runAsNonRoot": True, "runAsUser": 1000,
    "seccompProfile": {"type": "RuntimeDefault"},
}  # fmt: skip
FORBIDDEN = {
    "privileged": ({"privileged": True, "allowPrivilegeEscalation": True}, {}, "privileged (container"),
    "escalation": ({"allowPrivilegeEscalation": True}, {}, "allowPrivilegeEscalation != false (container"),
    "capabilities": (
        {"capabilities": {"drop": ["ALL"], "add": ["NET_RAW"]}}, {}, "unrestricted capabilities (container"
    ),
    "root": ({"runAsNonRoot": None}, {}, "runAsNonRoot != true (pod or container"),
    "uid": ({"runAsUser": 0}, {}, "runAsUser=0 (container"),
    "seccomp": ({"seccompProfile": {"type": "Unconfined"}}, {}, "seccompProfile (container"),
    "host-path": (
        {}, {"volumes": [{"name": "v", "hostPath": {"path": "/"}}]},
        'restricted volume types (volume "v" uses restricted volume type "hostPath")',
    ),
    "host-network": ({}, {"hostNetwork": True}, "host namespaces (hostNetwork=true)"),
    "host-pid": ({}, {"hostPID": True}, "host namespaces (hostPID=true)"),
    "sysctls": (
        {}, {"securityContext": {"sysctls": [{"name": "kernel.msgmax", "value": "1"}]}},
        "forbidden sysctls (kernel.msgmax)",
    ),
}  # fmt: skip


def test_a_restricted_namespace_refuses_what_is_forbidden_and_runs_the_rest_confined(cluster: Cluster) -> None:
    enforce = {"pod-security.kubernetes.io/enforce": "restricted"}
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "strict", "labels": enforce}})
    path = "/api/v1/namespaces/strict/pods"
    until(lambda: cluster.request("GET", "/api/v1/namespaces/strict/serviceaccounts/default")[0] == 200, "account")
    for name, (context, spec, message) in FORBIDDEN.items():
        main = busybox("main", "true", securityContext={**RESTRICTED, **context})
        code, answer = cluster.request("POST", path, pod(name, main, **spec))
        assert code == 403 and 'violates PodSecurity "restricted:latest": ' in answer["message"], (name, answer)
        assert message in answer["message"], (name, answer["message"])
    stays = busybox("main", "trap 'exit 0' TERM; sleep 1000 & wait", securityContext=RESTRICTED)
    assert cluster.request("POST", path, pod("fine", stays))[0] == 201
    cluster.kubectl("wait", "-n", "strict", "--for=condition=Ready", "pod/fine", "--timeout=60s")
    status = cluster.kubectl("exec", "-n", "strict", "fine", "--", "cat", "/proc/self/status")
    for line in ("CapEff:\t0000000000000000", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"):
        assert line in status
    assert cluster.kubectl("exec", "-n", "strict", "fine", "--", "id", "-u") == "1000\n"
    cluster.kubectl("delete", "namespace", "strict", "--wait=false")


def test_disk_throughput_is_counted_limited_and_resized(cluster: Cluster) -> None:
    resource = "podwright.io/disk-write-bps"
    node = until(lambda: [n for n in cluster.get("nodes")["items"] if resource in n["status"]["allocatable"]])[0]
    assert set(node["status"]["capacity"]) >= {
        f"podwright.io/disk-{what}" for what in ("read-bps", "write-bps", "read-iops", "write-iops")
    }
    greedy = {"requests": {resource: "900T"}, "limits": {resource: "900T"}}
    slow = {"requests": {resource: "1M"}, "limits": {resource: "8Mi"}}
    mounts = [{"name": "d", "mountPath": "/d"}]
    volumes = [{"name": "d", "emptyDir": {}}]
    cluster.apply(
        pod("asks-too-much", busybox("c", "sleep 3600", resources=greedy)),
        pod("slow", busybox("c", "sleep 3600", resources=slow, volumeMounts=mounts), volumes=volumes),
    )
    cluster.running("slow")
    cluster.unschedulable("asks-too-much", f"Insufficient {resource}")

    def keeps(limit: int, path: str) -> None:
        """In two seconds' worth of writes. The kernel holds the limit; the disk may have less to give."""
        write = f"time dd if=/dev/zero of={path} bs=1M count={2 * limit} oflag=direct"
        told = cluster.kubectl("exec", "slow", "--", "sh", "-c", f"({write}) 2>&1")
        minutes, rest = told.split("real", 1)[1].split("\n")[0].strip().split("m ")
        rate = 2 * limit / (int(minutes) * 60 + float(rest.removesuffix("s")))
        assert limit * 0.05 <= rate <= limit * 1.15, f"{limit} MiB/s at {path}: {rate}"

    keeps(8, "/d/file"), keeps(8, "/file")
    more = '{"spec":{"containers":[{"name":"c","resources":{"limits":{"podwright.io/disk-write-bps":"16Mi"}}}]}}'
    cluster.kubectl("patch", "pod", "slow", "--subresource", "resize", "-p", more)
    until(lambda: container_status(cluster.pod("slow"), "c")["resources"]["limits"][resource] == "16Mi")
    keeps(16, "/d/file")
    assert container_status(cluster.pod("slow"), "c")["restartCount"] == 0
    cluster.kubectl("delete", "pod", "asks-too-much", "slow", "--now")
