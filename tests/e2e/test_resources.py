"""What Pods get of the node: devices of a plugin, CPUs of their own, shares by class, the disk; and what they are
refused. The node's kubelet is configured by a file."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.csi_driver import in_thread
from tests.dra_driver import DraDriver
from tests.e2e.harness import Cluster, busybox, container_status, host_pids, pod, until
from tests.e2e.test_recovery import kill

FLAGS = ("--kubelet-config", str(Path(__file__).with_name("kubelet.yaml")))
THING = "test.example/thing"
WRITES = "podwright.io/disk-write-bps"
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module", autouse=True)
def huge_pages() -> Iterator[None]:
    """Four of 2 MiB, before the node looks."""
    file = Path("/proc/sys/vm/nr_hugepages")
    before = file.read_text()
    file.write_text(str(int(before) + 4))
    yield
    file.write_text(before)


@pytest.fixture(scope="module", autouse=True)
def overfull(huge_pages: None, cluster: Cluster) -> dict[str, str]:
    """Pods that write more than they may, and the kubelet's complaint."""

    def filler(name: str, path: str, limit: str = "", **more: Any) -> dict[str, Any]:
        limits = {"resources": {"limits": {"ephemeral-storage": limit}}} if limit else {}
        return busybox(name, f"dd if=/dev/zero of={path} bs=1M count=12; sleep 3600", **limits, **more)

    mounts = [{"name": "v", "mountPath": "/v"}]
    volumes = [{"name": "v", "emptyDir": {"sizeLimit": "5Mi"}}]
    cluster.apply(
        pod("fills-all", filler("c", "/file", "5Mi")),
        pod("fills-one", filler("c", "/file", "5Mi"), busybox(
            "d", "sleep 3600", resources={"limits": {"ephemeral-storage": "100Mi"}}
        )),
        pod("fills-volume", filler("c", "/v/file", volumeMounts=mounts), volumes=volumes),
    )  # fmt: skip
    return {
        "fills-all": "Pod ephemeral local storage usage exceeds the total limit of containers 5Mi. ",
        "fills-one": 'Container c exceeded its local ephemeral storage limit "5Mi". ',
        "fills-volume": 'Usage of EmptyDir volume "v" exceeds the limit "5Mi". ',
    }


@pytest.fixture(scope="module")
def plugin(cluster: Cluster) -> Iterator[subprocess.Popen[str]]:
    """Two devices."""
    directory = Path("/var/lib/podwright") / cluster.name / "nodes" / "node-1" / "device-plugins"
    command = [sys.executable, "-m", "tests.device_plugin", str(directory), THING, "2"]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, text=True) as started:
        until(lambda: allocatable(cluster).get(THING) == "2", "devices are advertised")
        yield started
        started.kill()


def allocatable(cluster: Cluster) -> dict[str, str]:
    return dict(cluster.get("nodes")["items"][0]["status"]["allocatable"])


def same(**amounts: str) -> dict[str, Any]:
    named = {k.replace("_", "-"): v for k, v in amounts.items()}
    return {"resources": {"requests": named, "limits": named}}


def wanting(name: str, count: int = 1) -> dict[str, Any]:
    return pod(name, busybox("c", "sleep 3600", resources={"limits": {THING: str(count)}}))


def run(cluster: Cluster, name: str, script: str, container: str = "c") -> str:
    return cluster.kubectl("exec", name, "-c", container, "--", "sh", "-c", script).strip()


def cgroup(cluster: Cluster, v1: str, v2: str, *path: str) -> str:
    """A file of the node's groups; `v1` is "controller/file"."""
    controller, file = v1.split("/")
    below = Path("podwright", cluster.name, "node-1", "kubepods", *path)
    if Path("/sys/fs/cgroup/cgroup.controllers").exists():
        return (Path("/sys/fs/cgroup") / below / v2).read_text().strip()
    return (Path("/sys/fs/cgroup", controller) / below / file).read_text().strip()


def test_a_container_sees_its_device_and_nobody_elses(cluster: Cluster, plugin: subprocess.Popen[str]) -> None:
    cluster.apply(wanting("a"), wanting("b"))
    cluster.running("a"), cluster.running("b")
    cluster.apply(wanting("third"))
    names = {}
    for name in ("a", "b"):
        device = names[name] = run(cluster, name, "echo $TEST_DEVICES")
        assert run(cluster, name, "ls /dev/test; cat /etc/test-devices").split() == [device, device]
        assert run(cluster, name, f": < /dev/test/{device} && echo opened") == "opened"
        assert "not permitted" in run(cluster, name, f"(: > /dev/test/{device}) 2>&1 || true"), "read only"
    assert sorted(names.values()) == ["dev-0", "dev-1"]
    cluster.unschedulable("third", f"Insufficient {THING}")

    # The kubelet dies and comes back: the plugin registers anew, nothing is given twice.
    kill(cluster, "server")
    cluster.up()
    until(lambda: allocatable(cluster).get(THING) == "2", "the plugin is back")
    assert container_status(cluster.pod("a"), "c")["restartCount"] == 0
    assert cluster.pod("third")["status"]["phase"] == "Pending"
    cluster.kubectl("delete", "pod", "a", "--now")
    cluster.running("third")
    assert run(cluster, "third", "echo $TEST_DEVICES") == names["a"]

    # A Pod that nobody scheduled is refused by the kubelet itself.
    cluster.apply({**wanting("forced"), "spec": {**wanting("forced")["spec"], "nodeName": "node-1"}})
    refused = cluster.phase("forced", "Failed")
    assert refused["status"]["reason"] == "UnexpectedAdmissionError"
    assert f"devices unavailable for {THING}. Requested: 1, Available: 0" in refused["status"]["message"]

    assert plugin.stdin is not None
    plugin.stdin.write("-dev-0\n")
    plugin.stdin.flush()
    until(lambda: allocatable(cluster)[THING] == "1", "an unhealthy device is not given")
    assert cluster.get("nodes")["items"][0]["status"]["capacity"][THING] == "2"
    os.kill(plugin.pid, signal.SIGKILL)
    until(lambda: allocatable(cluster)[THING] == "0", "without its plugin no device is given")
    cluster.kubectl("delete", "pod", "b", "third", "forced", "--now", "--wait=false")


def test_a_claimed_device_is_prepared_by_its_driver_and_given_back(cluster: Cluster) -> None:
    driver = DraDriver("dra.test", Path("/var/lib/podwright", cluster.name, "nodes", "node-1"), Path("/var/run/cdi"))
    api, chosen = {"apiVersion": "resource.k8s.io/v1"}, {"cel": {"expression": 'device.driver == "dra.test"'}}
    requests = [{"name": "one", "exactly": {"deviceClassName": "dra.test"}}]
    cluster.apply(
        {**api, "kind": "DeviceClass", "metadata": {"name": "dra.test"}, "spec": {"selectors": [chosen]}},
        {**api, "kind": "ResourceSlice", "metadata": {"name": "dra-test"}, "spec": {
            "driver": "dra.test", "nodeName": "node-1", "devices": [{"name": "dev-0"}],
            "pool": {"name": "pool", "generation": 1, "resourceSliceCount": 1},
        }},
        {**api, "kind": "ResourceClaimTemplate", "metadata": {"name": "one"}, "spec": {
            "spec": {"devices": {"requests": requests}}
        }},
    )  # fmt: skip
    has = busybox("c", "sleep 3600", resources={"claims": [{"name": "thing"}]})
    claims = [{"name": "thing", "resourceClaimTemplateName": "one"}]
    cluster.apply(pod("claims", has, busybox("other", "sleep 3600"), resourceClaims=claims))
    missed = "FailedPrepareDynamicResources"
    until(lambda: any(reason == missed for reason, _ in cluster.events("claims")), "the driver is missed")
    with in_thread(driver):
        running = cluster.running("claims")
        claim = running["status"]["resourceClaimStatuses"][0]["resourceClaimName"]
        assert run(cluster, "claims", "echo $CLAIM") == claim
        assert run(cluster, "claims", "echo $CLAIM", "other") == ""
        cluster.apply(pod("waits", has, resourceClaims=claims))
        cluster.unschedulable("waits", "cannot allocate all claims")
        cluster.kubectl("delete", "pod", "claims", "--now")
        assert driver.last("NodeUnprepareResources")["claims"][0]["name"] == claim
        cluster.gone("resourceclaim", claim)
        cluster.running("waits")
        cluster.kubectl("delete", "pod", "waits", "--now")
    cluster.kubectl("delete", "resourceslice/dra-test", "deviceclass/dra.test", "resourceclaimtemplate/one")


def test_a_guaranteed_container_has_its_cpu_alone(cluster: Cluster) -> None:
    def cpus(name: str) -> str:
        return run(cluster, name, "grep Cpus_allowed_list /proc/self/status | cut -f2")

    cluster.apply(pod("shared", busybox("c", "sleep 3600")))
    pid = host_pids(cluster.running("shared"))["c"]
    everything = cpus("shared")
    cluster.apply(pod("own", busybox("c", "sleep 3600", **same(cpu="1", memory="16Mi"))))
    cluster.running("own")
    own = cpus("own")
    assert own.isdigit() and own != "0"

    def allowed() -> str:
        status = Path(f"/proc/{pid}/status").read_text()
        return status.split("Cpus_allowed_list:")[1].split()[0]

    until(lambda: own not in allowed().split(","), "a running container leaves the CPU")
    cluster.apply(pod("late", busybox("c", "sleep 3600")))
    cluster.running("late")
    assert cpus("late") == allowed() and allowed().startswith("0")
    more = {"spec": {"containers": [{"name": "c", **same(cpu="1", memory="20Mi")}]}}
    cluster.kubectl("patch", "pod", "own", "--subresource", "resize", "-p", json.dumps(more))
    until(lambda: any(
        c["type"] == "PodResizePending" and c["reason"] == "Infeasible" and "static policy" in c["message"]
        for c in cluster.pod("own")["status"]["conditions"]
    ))  # fmt: skip
    cluster.kubectl("delete", "pod", "own", "--now")
    until(lambda: allowed() == everything, "the CPU is everybody's again")
    cluster.kubectl("delete", "pod", "shared", "late", "--now", "--wait=false")


def test_classes_weigh_what_their_pods_request_and_overhead_counts(cluster: Cluster) -> None:
    handlers = [h["name"] for h in cluster.get("nodes")["items"][0]["status"]["runtimeHandlers"]]
    heavy = {"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": "heavy"}}
    heavy["handler"] = max(handlers)  # the name of the runtime, beside ""
    cluster.apply({**heavy, "overhead": {"podFixed": {"cpu": "250m", "memory": "16Mi"}}})
    burst = {"resources": {"requests": {"cpu": "250m"}, "limits": {"memory": "64Mi"}}}
    cluster.apply(
        pod("burst", busybox("c", "sleep 3600", **burst), runtimeClassName="heavy"),
        pod("light", busybox("c", "sleep 3600")),
        pod("whole", busybox("c", "sleep 3600"), resources={
            "requests": {"cpu": "250m", "memory": "32Mi"}, "limits": {"cpu": "500m", "memory": "48Mi"}
        }),
    )  # fmt: skip
    for name in ("burst", "light", "whole"):
        cluster.running(name)
    shares = ("cpu/cpu.shares", "cpu.weight")
    uid = {name: cluster.pod(name)["metadata"]["uid"] for name in ("burst", "light", "whole")}
    assert cgroup(cluster, *shares, "burstable") in ("768", "30")
    assert cgroup(cluster, *shares, "besteffort") in ("2", "1")
    assert cgroup(cluster, *shares, "burstable", f"pod{uid['burst']}") in ("512", "20")
    assert cgroup(cluster, *shares, "besteffort", f"pod{uid['light']}") in ("2", "1")
    memory = ("memory/memory.limit_in_bytes", "memory.max")
    assert cgroup(cluster, *memory, "burstable", f"pod{uid['burst']}") == str(80 << 20)
    assert cgroup(cluster, *memory, "burstable", f"pod{uid['whole']}") == str(48 << 20)
    assert cgroup(cluster, "pids/pids.max", "pids.max", "besteffort", f"pod{uid['light']}") == "60"
    forks = "(for i in $(seq 80); do sleep 5 & done) 2>&1 | head -1; kill $(pidof sleep) || true"
    forked = run(cluster, "light", forks)
    assert "fork" in forked, "no more processes than podPidsLimit"
    cluster.kubectl("delete", "pod", "burst", "light", "whole", "--now")
    until(lambda: cgroup(cluster, *shares, "burstable") in ("2", "1"), "weighs nothing without Pods")


def test_the_disk_is_counted_by_quota_limit_range_and_the_kubelet(cluster: Cluster) -> None:
    cluster.kubectl("create", "namespace", "counted")
    quota = {"hard": {f"requests.{WRITES}": "100Mi"}}
    bounds = {"type": "Container", "default": {WRITES: "30Mi"}, "defaultRequest": {WRITES: "20Mi"},
              "max": {WRITES: "60Mi"}}  # fmt: skip
    for kind, name, spec in (("ResourceQuota", "q", quota), ("LimitRange", "l", {"limits": [bounds]})):
        meta = {"name": name, "namespace": "counted"}
        cluster.apply({"apiVersion": "v1", "kind": kind, "metadata": meta, "spec": spec})
    path = "/api/v1/namespaces/counted/pods"
    until(lambda: cluster.request("GET", "/api/v1/namespaces/counted/serviceaccounts/default")[0] == 200)
    until(lambda: "hard" in cluster.get("resourcequota", "q", "-n", "counted").get("status", {}))
    code, made = cluster.request("POST", path, pod("usual", busybox("c", "sleep 3600")))
    assert code == 201
    assert made["spec"]["containers"][0]["resources"] == {"requests": {WRITES: "20Mi"}, "limits": {WRITES: "30Mi"}}
    code, answer = cluster.request("POST", path, pod("much", busybox("c", "true", resources={
        "requests": {WRITES: "50Mi"}, "limits": {WRITES: "70Mi"}
    })))  # fmt: skip
    assert code == 403 and f"maximum {WRITES} usage per Container is 60Mi, but limit is 70Mi" in answer["message"]
    large = {"resources": {"requests": {WRITES: "60Mi"}, "limits": {WRITES: "60Mi"}}}
    assert cluster.request("POST", path, pod("large", busybox("c", "true", **large)))[0] == 201
    code, answer = cluster.request("POST", path, pod("more", busybox("c", "true", **large)))
    assert code == 403
    assert f"requested: requests.{WRITES}=60Mi, used: requests.{WRITES}=80Mi, limited: requests.{WRITES}=100Mi" in (
        answer["message"]
    )
    cluster.kubectl("delete", "namespace", "counted", "--wait=false")

    huge = busybox("c", "true", resources={"requests": {WRITES: "401Mi"}, "limits": {WRITES: "401Mi"}})
    cluster.apply(pod("forced", huge, nodeName="node-1"))
    refused = cluster.phase("forced", "Failed")
    assert refused["status"]["reason"] == f"OutOf{WRITES}"
    cluster.kubectl("delete", "pod", "forced", "--now")


def test_huge_pages_are_advertised_counted_and_a_volume(cluster: Cluster) -> None:
    def free() -> int:
        text = Path("/proc/meminfo").read_text()
        return int(text.split("HugePages_Free:")[1].split()[0])

    assert allocatable(cluster)["hugepages-2Mi"] == "8Mi"
    mounts = [{"name": "huge", "mountPath": "/huge"}]
    volumes = [{"name": "huge", "emptyDir": {"medium": "HugePages-2Mi"}}]
    amounts = {"hugepages-2Mi": "4Mi", "memory": "32Mi"}
    has = busybox("c", "sleep 3600", resources={"limits": amounts}, volumeMounts=mounts)
    without = busybox("c", "sleep 3600", volumeMounts=mounts)
    more = busybox("c", "sleep 3600", resources={"limits": {**amounts, "hugepages-2Mi": "6Mi"}})
    cluster.apply(pod("huge", has, volumes=volumes), pod("without", without, volumes=volumes))
    cluster.running("huge")
    cluster.apply(pod("more", more))
    assert "hugetlbfs rw" in run(cluster, "huge", "grep ' /huge ' /proc/mounts")
    before = free()
    run(cluster, "huge", "fallocate -l 4194304 /huge/file")
    assert free() == before - 2
    cluster.unschedulable("more", "Insufficient hugepages-2Mi")
    no_request = "medium HugePages-2Mi: hugePages storage requested, but there is no resource request for huge pages"
    until(lambda: any(r == "FailedMount" and no_request in m for r, m in cluster.events("without")))
    cluster.kubectl("delete", "pod", "huge", "without", "more", "--now")
    until(lambda: free() == before, "the pages are given back")


def rate(cluster: Cluster, name: str, dd: str, amount: float, container: str = "c") -> float:
    """Amount per second of one dd."""
    told = cluster.kubectl("exec", name, "-c", container, "--", "sh", "-c", f"(time dd {dd}) 2>&1")
    minutes, rest = told.split("real", 1)[1].split("\n")[0].strip().split("m ")
    return amount / (int(minutes) * 60 + float(rest.removesuffix("s")))


@pytest.fixture
def other_disk(tmp_path: Path) -> Iterator[Path]:
    """A directory on a disk of its own."""
    image, directory = tmp_path / "image", tmp_path / "disk"
    with image.open("wb") as file:
        file.truncate(128 << 20)
    directory.mkdir()
    subprocess.run(["mkfs.ext4", "-q", image], check=True)
    subprocess.run(["mount", "-o", "loop", image, directory], check=True)
    yield directory
    # A container that ends keeps its copy of the mount for a moment.
    until(lambda: subprocess.run(["umount", directory], capture_output=True, check=False).returncode == 0)


def test_disk_limits_of_each_kind_hold_beside_a_busy_neighbour(cluster: Cluster, other_disk: Path) -> None:
    def limited(name: str, what: str, limit: str) -> dict[str, Any]:
        limits = {f"podwright.io/disk-{what}": limit}
        mounts = [{"name": "host", "mountPath": "/host"}]
        return busybox(name, "sleep 3600", resources={"requests": limits, "limits": limits}, volumeMounts=mounts)

    volumes = [{"name": "host", "hostPath": {"path": str(other_disk), "type": "Directory"}}]
    level = busybox("c", "sleep 3600", volumeMounts=[{"name": "host", "mountPath": "/host"}])
    kinds = {"write-bps": ("8Mi", 8.0), "read-bps": ("8Mi", 8.0), "write-iops": ("100", 100), "read-iops": ("100", 100)}
    cluster.apply(
        pod("slow", *(limited(what, what, limit) for what, (limit, _) in kinds.items()), volumes=volumes),
        pod("level", level, volumes=volumes, resources={"requests": {WRITES: "4Mi"}, "limits": {WRITES: "4Mi"}}),
        pod("neighbour", busybox("c", "while :; do dd if=/dev/zero of=/file bs=1M count=64 oflag=direct; done")),
    )
    for name in ("slow", "level", "neighbour"):
        cluster.running(name)
    run(cluster, "slow", "dd if=/dev/zero of=/host/read bs=1M count=16 oflag=direct 2>/dev/null", "write-iops")
    found: dict[str, float] = {}

    def measure(what: str, dd: str, amount: float) -> None:
        name, container = ("level", "c") if what == "level" else ("slow", what)
        found[what] = rate(cluster, name, dd, amount, container)

    work = {
        "write-bps": ("if=/dev/zero of=/host/written bs=1M count=16 oflag=direct", 16.0),
        "read-bps": ("if=/host/read of=/dev/null bs=1M count=16 iflag=direct", 16.0),
        "write-iops": ("if=/dev/zero of=/host/small bs=4k count=200 oflag=direct", 200.0),
        "read-iops": ("if=/host/read of=/dev/null bs=4k count=200 iflag=direct", 200.0),
        "level": ("if=/dev/zero of=/host/level bs=1M count=8 oflag=direct", 8.0),
    }
    threads = [threading.Thread(target=measure, args=(what, *args)) for what, args in work.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for what, limit in {**{what: limit for what, (_, limit) in kinds.items()}, "level": 4.0}.items():
        # The kernel holds the limit; how much of it there is to be had depends on what else the disk is asked for.
        assert limit * 0.05 <= found[what] <= limit * 1.15, (what, found)
    # No limit is the neighbour's.
    free = cluster.pod("neighbour")
    identity = container_status(free, "c")["containerID"].partition("://")[2]
    place = ("besteffort", f"pod{free['metadata']['uid']}", identity)
    assert cgroup(cluster, "blkio/blkio.throttle.write_bps_device", "io.max", *place) == ""

    if not Path("/sys/fs/cgroup/cgroup.controllers").exists():
        events = [reason for reason, _ in cluster.events("slow")]
        assert events.count("BufferedWritesNotLimited") == 1
    summary = json.loads(cluster.kubectl("get", "--raw", "/api/v1/nodes/node-1/proxy/stats/summary"))
    slow, beside = (next(p for p in summary["pods"] if p["podRef"]["name"] == n) for n in ("slow", "neighbour"))
    used = {c["name"]: c["io"] for c in slow["containers"]}
    assert beside["containers"][0]["io"]["writeBytes"] > 0
    assert used["write-bps"]["writeBytes"] >= 16 << 20 and used["read-iops"]["reads"] >= 200
    metrics = cluster.kubectl("get", "--raw", "/api/v1/nodes/node-1/proxy/metrics/cadvisor")
    written = next(
        float(line.split()[-1]) for line in metrics.splitlines()
        if line.startswith("container_fs_writes_bytes_total") and 'container="write-bps"' in line
    )  # fmt: skip
    assert written >= 16 << 20
    cluster.kubectl("delete", "pod", "slow", "level", "neighbour", "--now")


def test_pods_over_their_ephemeral_storage_are_evicted(cluster: Cluster, overfull: dict[str, str]) -> None:
    for name, message in overfull.items():
        evicted = cluster.phase(name, "Failed")["status"]
        assert (evicted["reason"], evicted["message"]) == ("Evicted", message)
        assert ("Evicted", message) in cluster.events(name)
    cluster.kubectl("delete", "pod", *overfull, "--now", "--wait=false")


@pytest.mark.parametrize(
    ("resources", "where", "what"),
    [
        ({"limits": {"hugepages-2Mi": "4Mi"}}, "spec.containers[0].resources", "HugePages require cpu or memory"),
        ({"requests": {THING: "1"}}, "spec.containers[0].resources.limits", "Limit must be set for non overcommitable"),
        (
            {"requests": {THING: "1"}, "limits": {THING: "2"}},
            "spec.containers[0].resources.requests", f"must be equal to {THING} limit of 2",
        ),
        ({"limits": {THING: "500m"}}, f"spec.containers[0].resources.limits[{THING}]", "must be an integer"),
        (
            {"requests": {WRITES: "2Mi"}, "limits": {WRITES: "1Mi"}},
            "spec.containers[0].resources.requests", f"must be less than or equal to {WRITES} limit of 1Mi",
        ),
        ({"limits": {WRITES: "1.5"}}, f"spec.containers[0].resources.limits[{WRITES}]", "must be an integer"),
        ({"limits": {"swap": "1Gi"}}, "spec.containers[0].resources.limits[swap]", "must be a standard resource"),
        (
            {"limits": {"hugepages-2Mi": "3Mi", "memory": "16Mi"}},
            "spec.containers[0].resources.limits[hugepages-2Mi]", "positive integer multiple",
        ),
        (
            {"requests": {"memory": "32Mi"}, "limits": {"memory": "16Mi"}},
            "spec.containers[0].resources.requests", "must be less than or equal to memory limit of 16Mi",
        ),
    ],
)  # fmt: skip
def test_impossible_resources_are_refused_with_their_field(
    cluster: Cluster, resources: dict[str, Any], where: str, what: str
) -> None:
    bad = pod("bad", busybox("c", "true", resources=resources))
    code, answer = cluster.request("POST", "/api/v1/namespaces/default/pods", bad)
    assert code == 422, answer
    causes = answer["details"]["causes"]
    assert any(c["field"].startswith(where) and what in c["message"] for c in causes), causes
