"""Every manifest of the documentation does what its page says. All run at once, in one cluster of three nodes."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.e2e import manifests
from tests.e2e.conftest import FAST_RESTARTS
from tests.e2e.harness import Cluster, busybox, container_status, has_condition, pod, until

FLAGS = ("--nodes", "3", *FAST_RESTARTS)
Need = dict[str, Any]

# Label → the one node that carries it. The pages have the reader label a node first.
LABELS = {
    "disktype=ssd": "node-2",
    "topology.kubernetes.io/zone=antarctica-east1": "node-2",
    "topology.kubernetes.io/zone=zone-v": "node-3",
    "zone=a": "node-1",
    "zone=b": "node-2",
}
DONGLE = [{"op": "add", "path": "/status/capacity/example.com~1dongle", "value": "4"}]
# Quota and period in µs, wherever the machine's cgroup version has them.
CPU_MAX = ("sh", "-c", "cd /sys/fs/cgroup; cat cpu.max 2>/dev/null || "
           "echo $(cat cpu/cpu.cfs_quota_us) $(cat cpu/cpu.cfs_period_us)")  # fmt: skip
PROFILES = {
    "audit.json": {"defaultAction": "SCMP_ACT_LOG"},
    "fine-grained.json": {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}],
    },
}


@dataclass(frozen=True)
class Seen:
    """One manifest's Pod in the cluster."""

    cluster: Cluster
    space: str
    name: str

    def get(self) -> dict[str, Any]:
        code, found = self.cluster.request("GET", f"/api/v1/namespaces/{self.space}/pods/{self.name}")
        assert code == 200, found
        return dict(found)

    def until(self, condition: Callable[[dict[str, Any]], Any], what: str) -> dict[str, Any]:
        def reached() -> dict[str, Any] | None:
            found = self.get()
            return found if condition(found) else None

        try:
            return dict(until(reached, what))
        except AssertionError as late:
            raise AssertionError(f"{late}\n{json.dumps(self.get()['status'], indent=1)}") from late

    def ready(self) -> dict[str, Any]:
        return self.until(lambda p: has_condition(p, "Ready"), f"{self.space} ready")

    def run(self, *command: str, container: str | None = None) -> str:
        chosen = ("-c", container) if container else ()
        return self.cluster.kubectl("exec", "-n", self.space, self.name, *chosen, "--", *command).strip()

    def logs(self, container: str | None = None) -> str:
        chosen = ("-c", container) if container else ()
        return self.cluster.kubectl("logs", "-n", self.space, self.name, *chosen)

    def patch(self, change: dict[str, Any], subresource: str = "") -> None:
        path = f"/api/v1/namespaces/{self.space}/pods/{self.name}" + (f"/{subresource}" if subresource else "")
        kind = "application/strategic-merge-patch+json"
        code, answer = self.cluster.request("PATCH", path, change, content_type=kind)
        assert code == 200, answer


Check = Callable[[Seen], None]


def ready(node: str = "", qos: str = "") -> Check:
    def check(seen: Seen) -> None:
        found = seen.ready()
        assert not node or found["spec"]["nodeName"] == node
        assert not qos or found["status"]["qosClass"] == qos

    return check


def says(*parts: str, command: tuple[str, ...] = (), container: str | None = None) -> Check:
    """Ready, and a command in it (or else its log) says these things."""

    def check(seen: Seen) -> None:
        seen.ready()

        def told() -> bool:
            text = seen.run(*command, container=container) if command else seen.logs(container)
            assert all(part in text for part in parts), text
            return True

        until(told, f"{seen.space} says {parts}")

    return check


def succeeds(*parts: str) -> Check:
    def check(seen: Seen) -> None:
        seen.until(lambda p: p["status"]["phase"] == "Succeeded", f"{seen.space} succeeds")
        text = seen.logs()
        assert all(part in text for part in parts), text

    return check


def pending(*parts: str) -> Check:
    """The scheduler finds no node and says why."""

    def why(found: dict[str, Any]) -> str:
        conditions = [c for c in found["status"].get("conditions", ()) if c["type"] == "PodScheduled"]
        return " ".join(f"{c.get('reason', '')} {c.get('message', '')}" for c in conditions)

    def check(seen: Seen) -> None:
        found = seen.until(lambda p: all(part in why(p) for part in parts), f"pending because of {parts}")
        assert found["status"]["phase"] == "Pending" and "nodeName" not in found["spec"]

    return check


def waits(reason: str) -> Check:
    def check(seen: Seen) -> None:
        def reached(found: dict[str, Any]) -> bool:
            states = [s["state"] for s in found["status"].get("containerStatuses", ())]
            return any(s.get("waiting", {}).get("reason") == reason for s in states)

        seen.until(reached, f"{seen.space} waits with {reason}")

    return check


def out_of_memory(seen: Seen) -> None:
    def killed(found: dict[str, Any]) -> bool:
        status = found["status"]["containerStatuses"][0]
        ends = [status[s].get("terminated", {}).get("reason") for s in ("state", "lastState")]
        return "OOMKilled" in ends and status["restartCount"] >= 1

    seen.until(killed, "killed for its memory, and restarted")


def liveness(seen: Seen) -> None:
    seen.ready()
    seen.until(lambda p: p["status"]["containerStatuses"][0]["restartCount"] >= 1, "restarted by its probe")
    assert seen.ready()["status"]["containerStatuses"][0]["lastState"]["terminated"]


def grpc_liveness(seen: Seen) -> None:
    seen.ready()
    started = datetime.fromisoformat(container_status(seen.get(), "etcd")["state"]["running"]["startedAt"])
    # The first probe comes after ten seconds: the probe's own view of the server decides only then.
    until(lambda: datetime.now(UTC) - started > timedelta(seconds=13), "a probe has run")
    assert container_status(seen.get(), "etcd")["restartCount"] == 0
    events = seen.cluster.get("events", "-n", seen.space, "--field-selector", "reason=Unhealthy")["items"]
    assert not events, events


def gated(seen: Seen) -> None:
    pending("SchedulingGated")(seen)
    path = f"/api/v1/namespaces/{seen.space}/pods/{seen.name}"
    change: dict[str, Any] = {"spec": {"schedulingGates": []}}
    code, answer = seen.cluster.request("PATCH", path, change, content_type="application/merge-patch+json")
    assert code == 200, answer
    seen.ready()


def bound_to_nobody(seen: Seen) -> None:
    """Its node does not exist: it never runs, and after a while it is collected."""
    path = f"/api/v1/namespaces/{seen.space}/pods/{seen.name}"
    code, found = seen.cluster.request("GET", path)
    if code == 404:
        return
    assert found["spec"]["nodeName"] == "foo-node" and found["status"]["phase"] == "Pending"
    assert not found["status"].get("containerStatuses")


def resized(seen: Seen) -> None:
    seen.ready()
    assert seen.run(*CPU_MAX).split()[0] == "70000"

    def resize(**resources: str) -> None:
        both = {"requests": resources, "limits": resources}
        seen.patch({"spec": {"containers": [{"name": "pause", "resources": both}]}}, "resize")

    def actual(found: dict[str, Any], resource: str, restarts: int) -> Any:
        status = container_status(found, "pause")
        limits = status.get("resources", {}).get("limits", {})
        return limits.get(resource) if status["restartCount"] == restarts else None

    resize(cpu="800m")
    seen.until(lambda p: actual(p, "cpu", 0) == "800m", "CPU resized without a restart")
    assert seen.run(*CPU_MAX).split()[0] == "80000"
    resize(memory="300Mi")
    seen.until(lambda p: actual(p, "memory", 1) == "300Mi", "memory resized with a restart")


def projected_token(seen: Seen) -> None:
    seen.ready()
    payload = seen.run("cat", "/var/run/secrets/tokens/vault-token").split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    assert claims["aud"] == ["vault"] and claims["exp"] - claims["iat"] == 7200
    assert claims["sub"] == f"system:serviceaccount:{seen.space}:default"


def no_app_armor(seen: Seen) -> None:
    if Path("/sys/module/apparmor/parameters/enabled").exists():
        pytest.skip("this machine has AppArmor, and the page's profile is not loaded into it")
    found = seen.until(lambda p: p["status"]["phase"] == "Failed", "refused by the kubelet")
    assert found["status"]["reason"] == "AppArmor"
    assert "AppArmor is not enabled on the host" in found["status"]["message"]


def fine_grained(seen: Seen) -> None:
    says("Seccomp:\t2", command=("cat", "/proc/self/status"))(seen)
    denied = seen.cluster.try_kubectl("exec", "-n", seen.space, seen.name, "--", "mkdir", "/x")
    assert denied.returncode != 0 and "not permitted" in denied.stderr


def lifecycle(seen: Seen) -> None:
    says("Hello from the postStart handler", command=("cat", "/usr/share/message"))(seen)
    # preStop ends the server well before the grace period would: kubectl is not waited for that long.
    seen.cluster.kubectl("delete", "pod", "-n", seen.space, seen.name, "--grace-period=600")


def replaced(*pods: str) -> Check:
    def check(seen: Seen) -> None:
        for name in pods:
            Seen(seen.cluster, seen.space, name).ready()

    return check


def exists(seen: Seen) -> None:
    """No Pod: that its objects were taken is what there is to see; the Pods of the same page use them."""


def config_map(name: str, **data: str) -> Need:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name},
            "data": {k.replace("__", "."): v for k, v in data.items()}}  # fmt: skip


def secret(name: str, **data: str) -> Need:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data}


def claim(name: str, volume: str, storage_class: str = "", size: str = "3Gi") -> Need:
    chosen = {"volumeName": volume} if volume else {}
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}, **chosen,
            "storageClassName": storage_class}  # fmt: skip
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": spec}


def volume(name: str) -> Need:
    spec = {"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "10Gi"}, "hostPath": {"path": f"/mnt/{name}"}}
    return {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}, "spec": spec}


def neighbour(node: str, **labels: str) -> Need:
    """A Pod that is there already, on the node that the page's own first Pod would be on."""
    return pod("neighbour", busybox("c", "sleep 3600"), labels=labels, nodeName=node)


def with_hosts_etcd(found: dict[str, Any]) -> None:
    """The manifest's own command, with the machine's etcd and what that needs to run."""
    wanted = {"/usr/local/bin/etcd": "/usr/bin/etcd", "/lib/x86_64-linux-gnu": "/usr/lib/x86_64-linux-gnu",
              "/lib64": "/usr/lib64"}  # fmt: skip
    found["spec"]["volumes"] = [{"name": f"v{i}", "hostPath": {"path": p}} for i, p in enumerate(wanted.values())]
    found["spec"]["containers"][0]["volumeMounts"] = [
        {"name": f"v{i}", "mountPath": p, "readOnly": True} for i, p in enumerate(wanted)
    ]


def with_sub_path_bin(found: dict[str, Any]) -> None:
    found["spec"]["containers"][0]["volumeMounts"][0]["subPath"] = "bin"


@dataclass(frozen=True)
class Case:
    check: Check
    needs: tuple[Need, ...] = ()
    edit: Callable[[dict[str, Any]], None] | None = None


SPECIAL = config_map("special-config", SPECIAL_LEVEL="very", SPECIAL_TYPE="charm", special__how="very")
TEST_SECRET = secret("test-secret", username="my-app", password="39528$vdg7Jb")
LOCAL_PAGE = ("wget", "-qO-", "http://localhost")

CASES: dict[str, Case] = {
    "assigning-pods-to-nodes-affinity.yaml": Case(ready("node-2")),
    "config/example-redis-config.yaml": Case(exists),
    "config/redis-pod.yaml": Case(
        says("maxmemory 2mb", "maxmemory-policy allkeys-lru", command=("cat", "/usr/local/etc/redis/redis.conf")),
        tuple(manifests.documents("config/example-redis-config.yaml")),
    ),
    "emptydir-volume-mode.yaml": Case(says("1777", command=("stat", "-c", "%a", "/tmp"))),
    "image-volumes-subpath.yaml": Case(says("busybox", command=("ls", "/volume")), edit=with_sub_path_bin),
    "image-volumes.yaml": Case(says("busybox", command=("ls", "/volume/bin"))),
    "inject/dapi-envars-container.yaml": Case(says("\n1\n1\n33554432\n67108864\n")),
    "inject/dapi-envars-pod.yaml": Case(says("node-", "dapi-envars-fieldref\ninject-dapi-envars-pod\n", "default\n")),
    "inject/dapi-volume-resources.yaml": Case(says("250\n125\n64\n32")),
    "inject/dapi-volume.yaml": Case(says('rack="rack-22"', 'zone="us-est-coast"', 'build="two"', 'builder="john-doe"')),
    "inject/dependent-envars.yaml": Case(
        says(
            "SERVICE_ADDRESS=https://172.17.0.1:80", "UNCHANGED_REFERENCE=$(PROTOCOL)://172.17.0.1:80",
            "ESCAPED_REFERENCE=$(PROTOCOL)://172.17.0.1:80", command=("env",),
        )
    ),
    "inject/envars-file-container.yaml": Case(succeeds("DB_ADDRESS=address\n")),
    "inject/envars.yaml": Case(
        says("DEMO_GREETING=Hello from the environment", "DEMO_FAREWELL=Such a sweet sorrow", command=("env",))
    ),
    "inject/secret-envars-pod.yaml": Case(
        says("SECRET_USERNAME=my-app", "SECRET_PASSWORD=39528$vdg7Jb", command=("env",)), (TEST_SECRET,)
    ),
    "inject/secret.yaml": Case(exists),
    "lifecycle-events.yaml": Case(lifecycle),
    "multi-container/adapter.yaml": Case(says("adapted: ", "raw event", container="adapter")),
    "multi-container/ambassador.yaml": Case(
        says("connected", command=("sh", "-c", "nc localhost 5432 </dev/null && echo connected"), container="main-app")
    ),
    "multi-container/localhost.yaml": Case(says("<!DOCTYPE html>", container="client")),
    "multi-container/resources.yaml": Case(ready(qos="Burstable")),
    "multi-container/shared-volume.yaml": Case(says("Hello from the init container", command=LOCAL_PAGE)),
    "pod-configmap-env-var-valueFrom.yaml": Case(succeeds("very charm"), (SPECIAL,)),
    "pod-configmap-volume-specific-key.yaml": Case(succeeds("very"), (SPECIAL,)),
    "pod-multiple-configmap-env-variable.yaml": Case(
        succeeds("SPECIAL_LEVEL_KEY=very", "LOG_LEVEL=INFO"), (SPECIAL, config_map("env-config", log_level="INFO"))
    ),
    "pod-nginx-preferred-affinity.yaml": Case(ready("node-2")),
    "pod-nginx-required-affinity.yaml": Case(ready("node-2")),
    "pod-nginx-specific-node.yaml": Case(bound_to_nobody),
    "pod-nginx.yaml": Case(ready("node-2")),
    "pod-projected-svc-token.yaml": Case(projected_token),
    "pod-rs.yaml": Case(replaced("pod1", "pod2")),
    "pod-single-configmap-env-variable.yaml": Case(succeeds("SPECIAL_LEVEL_KEY=very"), (SPECIAL,)),
    "pod-with-affinity-anti-affinity.yaml": Case(ready()),
    "pod-with-node-affinity-2.yaml": Case(ready()),
    "pod-with-pod-affinity.yaml": Case(ready("node-3"), (neighbour("node-3", security="S1"),)),
    "pod-with-scheduling-gates.yaml": Case(gated),
    "pod-with-toleration.yaml": Case(ready()),
    "private-reg-pod.yaml": Case(waits("InvalidImageName")),
    "probe/grpc-liveness.yaml": Case(grpc_liveness, edit=with_hosts_etcd),
    "probe/http-liveness.yaml": Case(liveness),
    "probe/pod-with-http-healthcheck.yaml": Case(ready()),
    "probe/pod-with-tcp-socket-healthcheck.yaml": Case(ready()),
    "probe/tcp-liveness-readiness.yaml": Case(ready()),
    "qos/qos-pod-2.yaml": Case(ready(qos="Burstable")),
    "qos/qos-pod-3.yaml": Case(ready(qos="BestEffort")),
    "qos/qos-pod-4.yaml": Case(ready(qos="Burstable")),
    "qos/qos-pod-5.yaml": Case(ready(qos="Guaranteed")),
    "qos/qos-pod.yaml": Case(ready(qos="Guaranteed")),
    "resource/cpu-request-limit.yaml": Case(says("100000 100000", command=CPU_MAX)),
    "resource/extended-resource-pod.yaml": Case(ready("node-1")),
    "resource/memory-request-limit-2.yaml": Case(out_of_memory),
    "resource/memory-request-limit-3.yaml": Case(pending("Unschedulable", "0/3 nodes", "Insufficient memory")),
    "resource/pod-level-cpu-request-limit.yaml": Case(ready(qos="Burstable")),
    "resource/pod-level-memory-request-limit.yaml": Case(ready(qos="Burstable")),
    "resource/pod-level-resize.yaml": Case(ready(qos="Guaranteed")),
    # Four CPUs for one Pod; the nodes have what the machine has.
    "resource/pod-level-resource-managers-container-scope-mixed.yaml": Case(pending("Insufficient cpu")),
    "resource/pod-level-resources.yaml": Case(ready(qos="Burstable")),
    "resource/pod-resize.yaml": Case(resized),
    "security/hello-apparmor.yaml": Case(no_app_armor),
    "security/seccomp/ga/audit-pod.yaml": Case(says("Seccomp:\t2", command=("cat", "/proc/self/status"))),
    "security/seccomp/ga/fine-pod.yaml": Case(fine_grained),
    "security/security-context-2.yaml": Case(says("2000", command=("id", "-u"))),
    "security/security-context-4.yaml": Case(says("CapPrm:\t00000000aa0435fb", command=("cat", "/proc/1/status"))),
    "security/security-context-6.yaml": Case(says("uid=1000 gid=3000 groups=3000,4000", command=("id",))),
    "security/security-context.yaml": Case(
        says("2000 1000", command=("sh", "-c", "echo $(stat -c %g /data/demo) $(id -u)"))
    ),
    "storage/expandable-pvc-pod.yaml": Case(
        says("ok", command=("sh", "-c", "touch /data/x && echo ok")),
        (volume("expandable"), claim("expandable-pvc", "expandable")),
    ),
    "storage/projected-secrets-nondefault-permission-mode.yaml": Case(
        says("644 777", command=("sh", "-c", "cd /projected-volume/my-group; echo $(stat -Lc %a *username *password)")),
        (secret("mysecret", username="a"), secret("mysecret2", password="b")),
    ),
    "storage/pv-duplicate.yaml": Case(
        says("from the volume", command=LOCAL_PAGE), (volume("nfs"), claim("test-nfs-claim", "nfs"))
    ),
    "storage/pv-pod.yaml": Case(
        says("Hello from Kubernetes storage", command=LOCAL_PAGE),
        (*manifests.documents("storage/pv-volume.yaml"), claim("task-pv-claim", "", "manual")),
    ),
    "storage/redis.yaml": Case(says("ok", command=("sh", "-c", "touch /data/redis/x && echo ok"))),
    "topology-spread-constraints/one-constraint.yaml": Case(ready("node-2"), (neighbour("node-1", foo="bar"),)),
}

# Files that the server does not take, and what it answers.
REFUSED: dict[str, tuple[int, str]] = {
    # A list where the API has an object.
    "pod-with-node-affinity.yaml": (400, "requiredDuringSchedulingIgnoredDuringExecution"),
    "security/seccomp/fields.yaml": (422, "spec.ephemeralContainers: Forbidden: cannot be set on create"),
    # A configuration of the tool kind, not an object of a cluster.
    "security/seccomp/kind.yaml": (404, ""),
    # No such field in the API of this release.
    "security/security-context-7.yaml": (400, 'unknown field "spec.containers[0].securityContext.cgroupOptions"'),
}

# storage/pv-volume.yaml is made and used as what storage/pv-pod.yaml needs.
ELSEWHERE = {"storage/pv-volume.yaml"}


def test_no_file_is_forgotten() -> None:
    assert sorted([*CASES, *REFUSED, *ELSEWHERE]) == manifests.names()


@pytest.fixture(scope="module")
def applied(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """All files at once, after what they need."""
    host = tmp_path_factory.mktemp("host")
    _prepare_nodes(cluster)
    _fill_volumes(host)
    spaces = {name: manifests.namespace(name) for name in CASES}
    assert len(set(spaces.values())) == len(CASES)
    cluster.apply(*({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": s}} for s in spaces.values()))
    until(lambda: _accounts(cluster) >= set(spaces.values()), "a service account in each namespace")
    needed = [_on_host(manifests.placed(n, spaces[f]), host) for f, case in CASES.items() for n in case.needs]
    cluster.apply(*needed)
    pods = []
    for name, case in CASES.items():
        for document in manifests.documents(name):
            placed = manifests.placed(document, spaces[name])
            if case.edit:
                case.edit(placed)
            pods.append(placed)
    cluster.apply(*pods)
    yield cluster


def _prepare_nodes(cluster: Cluster) -> None:
    for label, node in LABELS.items():
        cluster.kubectl("label", "node", node, label)
    kind = "application/json-patch+json"
    code, answer = cluster.request("PATCH", "/api/v1/nodes/node-1/status", json.dumps(DONGLE), content_type=kind)
    assert code == 200, answer
    for node in ("node-1", "node-2", "node-3"):
        profiles = Path("/var/lib/podwright", cluster.name, "nodes", node, "seccomp", "profiles")
        profiles.mkdir(parents=True)
        for name, profile in PROFILES.items():
            (profiles / name).write_text(json.dumps(profile))


def _fill_volumes(host: Path) -> None:
    host.chmod(0o755)
    for name in ("data", "nfs/html", "expandable"):
        (host / name).mkdir(parents=True)
    (host / "data/index.html").write_text("Hello from Kubernetes storage\n")
    (host / "nfs/html/index.html").write_text("from the volume\n")
    server = "server { listen 80; root /usr/share/nginx/html; }"
    (host / "nfs/nginx.conf").write_text(f"pid /tmp/n.pid; events {{}} http {{ access_log off; {server} }}\n")


def _on_host(obj: dict[str, Any], host: Path) -> dict[str, Any]:
    if obj["kind"] == "PersistentVolume":
        obj["spec"]["hostPath"]["path"] = obj["spec"]["hostPath"]["path"].replace("/mnt", str(host))
    return obj


def _accounts(cluster: Cluster) -> set[str]:
    code, found = cluster.request("GET", "/api/v1/serviceaccounts")
    assert code == 200
    return {a["metadata"]["namespace"] for a in found["items"] if a["metadata"]["name"] == "default"}


@pytest.mark.parametrize("name", sorted(CASES))
def test_a_manifest_does_what_its_page_says(applied: Cluster, name: str) -> None:
    first = manifests.documents(name)[0]
    CASES[name].check(Seen(applied, manifests.namespace(name), first["metadata"]["name"]))


def test_processes_are_limited_as_the_page_of_pid_limits_says(applied: Cluster) -> None:
    forks = busybox("c", "for i in $(seq 200); do sleep 9 & done")
    applied.apply(pod("forks", forks, restartPolicy="Never", resources={"limits": {"pids": "128"}}))
    seen = Seen(applied, "default", "forks")
    seen.until(lambda p: p["status"]["phase"] == "Failed", "no more processes than its limit")
    assert "can't fork" in seen.logs()


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_a_manifest_is_refused(cluster: Cluster, name: str) -> None:
    (document,) = manifests.documents(name)
    version, kind = document["apiVersion"], document["kind"]
    root = "/api/v1" if version == "v1" else f"/apis/{version}"
    path = f"{root}/namespaces/default/{kind.lower()}s?fieldValidation=Strict"
    code, answer = cluster.request("POST", path, document)
    expected, part = REFUSED[name]
    assert code == expected, answer
    assert part in (answer["message"] if part else ""), answer
