"""The rows of sig-storage in the conformance list, tried from inside of Pods. Most are a Pod that looks at a volume and
says what it sees: all of these run at once, and each row then reads what its Pod has said."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from tests.e2e.harness import Cluster, busybox, has_condition, pod, until

SAY = "/dev/termination-log"
STAY = "trap 'exit 0' TERM; sleep 1000 & wait"
BINARY = base64.b64encode(bytes([0xDE, 0xCA, 0xFE, 0xBA, 0xD0])).decode()


@dataclass(frozen=True)
class Look:
    """A row: what the container does (its output is what it says), and the pattern that it must match."""

    script: str
    expect: str
    volumes: tuple[dict[str, Any], ...] = ()
    user: int | None = None
    group: int | None = None
    mounts: tuple[dict[str, Any], ...] = ()
    resources: dict[str, Any] = field(default_factory=dict)
    more: tuple[dict[str, Any], ...] = ()

    def pod(self, name: str) -> dict[str, Any]:
        mounts = self.mounts or tuple({"name": v["name"], "mountPath": f"/{v['name']}"} for v in self.volumes)
        main = busybox("main", f"umask 0; {{ {self.script}; }} > {SAY} 2>&1", volumeMounts=list(mounts))
        if self.resources:
            main["resources"] = self.resources
        security: dict[str, Any] = {}
        if self.user is not None:
            security["runAsUser"] = self.user
        if self.group is not None:
            security["fsGroup"] = self.group
        containers = [main, *self.more]
        return pod(
            name, *containers, restartPolicy="Never", volumes=list(self.volumes), securityContext=security,
            automountServiceAccountToken=False,
        )  # fmt: skip


def _config(**more: Any) -> dict[str, Any]:
    return {"name": "v", "configMap": {"name": "cm", **more}}


def _secret(**more: Any) -> dict[str, Any]:
    return {"name": "v", "secret": {"secretName": "sec", **more}}


def _projected(*sources: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"name": "v", "projected": {"sources": list(sources), **more}}


def _downward(projected: bool, *items: dict[str, Any], **more: Any) -> dict[str, Any]:
    if projected:
        return _projected({"downwardAPI": {"items": list(items)}}, **more)
    return {"name": "v", "downwardAPI": {"items": list(items), **more}}


def _field(path: str = "podname", name: str = "metadata.name", **more: Any) -> dict[str, Any]:
    return {"path": path, "fieldRef": {"fieldPath": name}, **more}


def _resource(name: str, divisor: str = "1") -> dict[str, Any]:
    return {
        "path": "r", "resourceFieldRef": {"containerName": "main", "resource": name, "divisor": divisor}
    }  # fmt: skip


_MAPPED = {"items": [{"key": "data-2", "path": "path/to/data-2"}]}
_MAPPED_0400 = {"items": [{"key": "data-2", "path": "path/to/data-2", "mode": 0o400}]}
_STAT = "stat -L -c %a"
_TWICE = ({"name": "v", "mountPath": "/v"}, {"name": "w", "mountPath": "/w"})
_LIMITS = {"requests": {"cpu": "250m", "memory": "32Mi"}, "limits": {"cpu": "1250m", "memory": "64Mi"}}


def _named(volume: dict[str, Any], name: str) -> dict[str, Any]:
    return {**volume, "name": name}


def _empty_dir(memory: bool, mode: str, user: int | None) -> Look:
    source = {"name": "v", "emptyDir": {"medium": "Memory"} if memory else {}}
    kind = "tmpfs" if memory else "(ext|xfs|btrfs|overlay)"
    own = user or 0
    script = f"grep ' /v ' /proc/mounts; echo content > /v/f; chmod {mode} /v/f; stat -c '%a %u' /v/f; cat /v/f"
    return Look(script, rf"{kind}.*\n{mode.lstrip('0')} {own}\ncontent", (source,), user=user)


LOOKS: dict[str, Look] = {
    "configmap-multiple-volume-maps": Look(
        "cat /v/data-1 /w/data-1", "value-1value-1", (_config(), _named(_config(), "w")), mounts=_TWICE
    ),
    "configmap-text-and-binary": Look("cat /v/data-1; od -An -tx1 /v/dump.bin", "value-1 de ca fe ba d0", (_config(),)),
    "configmap-with-mapping": Look("cat /v/path/to/data-2; ls /v", "value-2path", (_config(**_MAPPED),)),
    "configmap-with-mapping-non-root": Look(
        "id -u; cat /v/path/to/data-2", "1000\nvalue-2", (_config(**_MAPPED),), 1000
    ),
    "configmap-with-mapping-mode": Look(f"{_STAT} /v/path/to/data-2", "400", (_config(**_MAPPED_0400),)),
    "configmap-without-mapping": Look(f"cat /v/data-1; {_STAT} /v/data-1", "value-1644", (_config(),)),
    "configmap-non-root": Look("id -u; cat /v/data-1", "1000\nvalue-1", (_config(),), 1000),
    "configmap-default-mode": Look(f"{_STAT} /v/data-1", "400", (_config(defaultMode=0o400),)),
    "secret-default": Look(f"cat /v/data-1; {_STAT} /v/data-1", "value-1644", (_secret(),)),
    "secret-mapping": Look("cat /v/path/to/data-2", "value-2", (_secret(**_MAPPED),)),
    "secret-mapping-mode": Look(f"{_STAT} /v/path/to/data-2", "400", (_secret(**_MAPPED_0400),)),
    "secret-multiple-volume-paths": Look(
        "cat /v/path/to/data-2 /w/path/to/data-2", "value-2value-2",
        (_secret(**_MAPPED), _named(_secret(**_MAPPED), "w")), mounts=_TWICE,
    ),
    "secret-mode-0400": Look(f"{_STAT} /v/data-1", "400", (_secret(defaultMode=0o400),)),
    "secret-mode-0440-fsgroup": Look(
        "cat /v/data-1; stat -L -c '%a %g' /v/data-1", "value-1440 1001", (_secret(defaultMode=0o440),), 1000, 1001
    ),
    "secret-same-name-elsewhere": Look("cat /v/data-1", "value-1$", (_secret(),)),
    "secret-and-configmap-together": Look(
        "cat /v/data-1 /w/data-1", "value-1value-1", (_secret(), _named(_config(), "w")), mounts=_TWICE
    ),
    "projected-configmap": Look(
        f"cat /v/data-1; {_STAT} /v/data-1", "value-1644", (_projected({"configMap": {"name": "cm"}}),)
    ),
    "projected-configmap-non-root": Look(
        "cat /v/data-1", "value-1", (_projected({"configMap": {"name": "cm"}}),), 1000
    ),
    "projected-configmap-mode-0400": Look(
        f"{_STAT} /v/data-1", "400", (_projected({"configMap": {"name": "cm"}}, defaultMode=0o400),)
    ),
    "projected-configmap-mapped": Look(
        "cat /v/path/to/data-2", "value-2", (_projected({"configMap": {"name": "cm", **_MAPPED}}),)
    ),
    "projected-configmap-mapped-non-root": Look(
        "cat /v/path/to/data-2", "value-2", (_projected({"configMap": {"name": "cm", **_MAPPED}}),), 1000
    ),
    "projected-configmap-mapped-mode": Look(
        f"{_STAT} /v/path/to/data-2", "400", (_projected({"configMap": {"name": "cm", **_MAPPED_0400}}),)
    ),
    "projected-configmap-twice": Look(
        "cat /v/data-1 /w/data-1", "value-1value-1",
        tuple(_named(_projected({"configMap": {"name": "cm"}}), n) for n in ("v", "w")), mounts=_TWICE,
    ),
    "projected-secret": Look(
        f"cat /v/data-1; {_STAT} /v/data-1", "value-1644", (_projected({"secret": {"name": "sec"}}),)
    ),
    "projected-secret-mode-0400": Look(
        f"{_STAT} /v/data-1", "400", (_projected({"secret": {"name": "sec"}}, defaultMode=0o400),)
    ),
    "projected-secret-non-root-fsgroup": Look(
        "cat /v/data-1; stat -L -c '%a %g' /v/data-1", "value-1440 1001",
        (_projected({"secret": {"name": "sec"}}, defaultMode=0o440),), 1000, 1001,
    ),
    "projected-secret-mapped": Look(
        "cat /v/path/to/data-2", "value-2", (_projected({"secret": {"name": "sec", **_MAPPED}}),)
    ),
    "projected-secret-mapped-mode": Look(
        f"{_STAT} /v/path/to/data-2", "400", (_projected({"secret": {"name": "sec", **_MAPPED_0400}}),)
    ),
    "projected-secret-twice": Look(
        "cat /v/data-1 /w/data-1", "value-1value-1",
        tuple(_named(_projected({"secret": {"name": "sec"}}), n) for n in ("v", "w")), mounts=_TWICE,
    ),
    "projected-combined": Look(
        "cat /v/configmap/data-1 /v/secret/data-1 /v/podname", "value-1value-1look-projected-combined",
        (_projected(
            {"configMap": {"name": "cm", "items": [{"key": "data-1", "path": "configmap/data-1"}]}},
            {"secret": {"name": "sec", "items": [{"key": "data-1", "path": "secret/data-1"}]}},
            {"downwardAPI": {"items": [_field()]}},
        ),),
    ),
    **{
        f"{'projected-' if projected else ''}downward-{name}": look
        for projected in (False, True)
        for name, look in {
            "cpu-limit": Look("cat /v/r", "^2$", (_downward(projected, _resource("limits.cpu")),), resources=_LIMITS),
            "cpu-request": Look(
                "cat /v/r", "^250$", (_downward(projected, _resource("requests.cpu", "1m")),), resources=_LIMITS
            ),
            "memory-limit": Look(
                "cat /v/r", "^67108864$", (_downward(projected, _resource("limits.memory")),), resources=_LIMITS
            ),
            "memory-request": Look(
                "cat /v/r", "^33554432$", (_downward(projected, _resource("requests.memory")),), resources=_LIMITS
            ),
            "cpu-allocatable": Look("cat /v/r", "^CPU$", (_downward(projected, _resource("limits.cpu")),)),
            "memory-allocatable": Look("cat /v/r", "^MEMORY$", (_downward(projected, _resource("limits.memory")),)),
            "podname": Look(
                "cat /v/podname", "^look-(projected-)?downward-podname$", (_downward(projected, _field()),)
            ),
            "default-mode-0400": Look(
                f"cat /v/podname; {_STAT} /v/podname", "0400400$",
                (_downward(projected, _field(), defaultMode=0o400),),
            ),
            "item-mode-0400": Look(
                f"cat /v/podname; {_STAT} /v/podname", "0400400$", (_downward(projected, _field(mode=0o400)),)
            ),
        }.items()
    },
    **{
        f"emptydir-{'memory' if memory else 'default'}-{mode}-{user or 'root'}": _empty_dir(memory, mode, user)
        for memory in (False, True) for mode in ("0644", "0666", "0777") for user in (None, 1001)
    },
    "emptydir-default-mode": Look("stat -c %a /v; ls -ld /v", "777\ndrwxrwxrwx", ({"name": "v", "emptyDir": {}},)),
    "emptydir-memory-mode": Look(
        "stat -c %a /v; ls -ld /v", "777\ndrwxrwxrwx", ({"name": "v", "emptyDir": {"medium": "Memory"}},)
    ),
    "emptydir-shared": Look(
        "until test -s /v/f; do sleep 0.05; done; cat /v/f", "from the other",
        ({"name": "v", "emptyDir": {}},),
        more=(busybox("other", "echo from the other > /v/t; mv /v/t /v/f",
                      volumeMounts=[{"name": "v", "mountPath": "/v"}]),),
    ),
    "subpath-configmap": Look(
        "cat /file", "value-1", (_config(),), mounts=({"name": "v", "mountPath": "/file", "subPath": "data-1"},)
    ),
    "subpath-configmap-over-a-file": Look(
        "cat /etc/passwd", "^value-1$", (_config(),),
        mounts=({"name": "v", "mountPath": "/etc/passwd", "subPath": "data-1"},),
    ),
    "subpath-secret": Look(
        "cat /file", "value-1", (_secret(),), mounts=({"name": "v", "mountPath": "/file", "subPath": "data-1"},)
    ),
    "subpath-downward": Look(
        "cat /file", "look-subpath-downward", (_downward(False, _field()),),
        mounts=({"name": "v", "mountPath": "/file", "subPath": "podname"},),
    ),
    "subpath-projected": Look(
        "cat /file", "value-1", (_projected({"configMap": {"name": "cm"}}),),
        mounts=({"name": "v", "mountPath": "/file", "subPath": "data-1"},),
    ),
}

DATA = {"data-1": "value-1", "data-2": "value-2"}


def _secret_object(name: str, namespace: str = "default", **data: str) -> dict[str, Any]:
    encoded = {k: base64.b64encode(v.encode()).decode() for k, v in data.items()}
    return {
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": namespace}, "data": encoded
    }  # fmt: skip


def _config_object(name: str, **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


@pytest.fixture(scope="module")
def said(cluster: Cluster) -> Iterator[dict[str, str]]:
    """What every looking Pod has said, by the row's key."""
    cluster.apply(
        {**_config_object("cm", **DATA), "binaryData": {"dump.bin": BINARY}}, _secret_object("sec", **DATA),
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "elsewhere"}},
        _secret_object("sec", "elsewhere", **{"data-1": "wrong"}),
    )  # fmt: skip
    cluster.apply(*(look.pod(f"look-{key}") for key, look in LOOKS.items()))

    def ended() -> dict[str, str] | None:
        found = {p["metadata"]["name"]: p for p in cluster.get("pods")["items"]}
        looking = {key: found[f"look-{key}"] for key in LOOKS}
        done = [key for key, p in looking.items() if p["status"].get("phase") in ("Succeeded", "Failed")]
        assert len(done) == len(LOOKS), f"still waiting for {sorted(set(LOOKS) - set(done))[:5]}"
        return {key: _message(p) for key, p in looking.items()}

    yield dict(until(ended, "every Pod has looked"))
    cluster.kubectl("delete", "pods", "--all", "--wait=false")


def _message(found: dict[str, Any]) -> str:
    statuses = {s["name"]: s for s in found["status"].get("containerStatuses") or ()}
    return str(((statuses.get("main") or {}).get("state", {}).get("terminated") or found["status"]).get("message", ""))


@pytest.mark.parametrize("key", sorted(LOOKS))
def test_look(cluster: Cluster, said: dict[str, str], key: str) -> None:
    expect = LOOKS[key].expect
    if expect in ("^CPU$", "^MEMORY$"):
        allocatable = cluster.get("node", "node-1")["status"]["allocatable"]
        memory = int(allocatable["memory"].removesuffix("Ki")) * 1024
        expect = f"^{allocatable['cpu'] if expect == '^CPU$' else memory}$"
    assert re.search(expect, said[key], re.MULTILINE), f"{expect!r} not in {said[key]!r}"


# --- volumes of Pods that run on ---


def test_changes_reach_running_containers(cluster: Cluster) -> None:
    """Created, updated and deleted sources; labels and annotations; each in its own kind of volume and projected."""
    cluster.apply(_config_object("upd", k="1"), _secret_object("upd", k="1"), _config_object("del", k="1"),
                  _secret_object("del", k="1"))  # fmt: skip
    volumes: list[dict[str, Any]] = []
    for name in ("upd", "del", "new"):
        volumes += [
            {"name": f"c-{name}", "configMap": {"name": name, "optional": True}},
            {"name": f"s-{name}", "secret": {"secretName": name, "optional": True}},
            {"name": f"pc-{name}", "projected": {"sources": [{"configMap": {"name": name, "optional": True}}]}},
            {"name": f"ps-{name}", "projected": {"sources": [{"secret": {"name": name, "optional": True}}]}},
        ]
    items = [_field("labels", "metadata.labels"), _field("annotations", "metadata.annotations")]
    volumes += [{"name": "d", "downwardAPI": {"items": items}},
                {"name": "pd", "projected": {"sources": [{"downwardAPI": {"items": items}}]}}]  # fmt: skip
    mounts = [{"name": v["name"], "mountPath": f"/{v['name']}"} for v in volumes]
    cluster.apply(pod("follow", busybox("main", STAY, volumeMounts=mounts), volumes=volumes,
                      labels={"a": "1"}))  # fmt: skip
    cluster.running("follow")

    def sees(script: str) -> str:
        return cluster.kubectl("exec", "follow", "--", "sh", "-c", script)

    before = "for k in c s pc ps; do for n in upd del new; do echo $k-$n $(cat /$k-$n/k 2>/dev/null); done; done"
    lines = {f"{k}-{n}{'' if n == 'new' else ' 1'}" for k in ("c", "s", "pc", "ps") for n in ("upd", "del", "new")}
    assert {line.strip() for line in sees(before).splitlines()} == lines
    cluster.apply(_config_object("upd", k="2"), _secret_object("upd", k="2"), _config_object("new", k="2"),
                  _secret_object("new", k="2"))  # fmt: skip
    cluster.kubectl("delete", "configmap/del", "secret/del")
    cluster.kubectl("label", "pod", "follow", "b=2")
    cluster.kubectl("annotate", "pod", "follow", "note=seen")
    after = {f"{k}-{n}{'' if n == 'del' else ' 2'}" for k in ("c", "s", "pc", "ps") for n in ("upd", "del", "new")}
    until(lambda: {line.strip() for line in sees(before).splitlines()} == after, "all sources")
    until(lambda: sees("cat /d/labels /pd/labels").count('b="2"') == 2, "labels")
    until(lambda: sees("cat /d/annotations /pd/annotations").count('note="seen"') == 2, "annotations")


@pytest.mark.parametrize("kind", ["configmap", "secret"])
def test_immutability(cluster: Cluster, kind: str) -> None:
    path = f"/api/v1/namespaces/default/{kind}s"
    made = _config_object("fix", k="1") if kind == "configmap" else _secret_object("fix", k="1")
    assert cluster.request("POST", path, {**made, "immutable": True})[0] == 201
    merge = "application/merge-patch+json"
    for refused in ({"data": {"k": "Mg=="}}, {"immutable": False}):
        code, body = cluster.request("PATCH", f"{path}/fix", refused, content_type=merge)
        assert code == 422 and "field is immutable when `immutable` is set" in body["message"]
    label = {"metadata": {"labels": {"still": "changes"}}}
    assert cluster.request("PATCH", f"{path}/fix", label, content_type=merge)[0] == 200
    assert cluster.request("DELETE", f"{path}/fix")[0] == 200


def test_many_config_maps_mount_without_a_race(cluster: Cluster) -> None:
    cluster.apply(*(_config_object(f"race-{n}", k=str(n)) for n in range(50)))
    volumes = [{"name": f"v{n}", "configMap": {"name": f"race-{n}"}} for n in range(50)]
    mounts = [{"name": f"v{n}", "mountPath": f"/etc/v{n}"} for n in range(50)]
    cluster.apply({
        "apiVersion": "v1", "kind": "ReplicationController", "metadata": {"name": "race"},
        "spec": {
            "replicas": 5,
            "selector": {"app": "race"},
            "template": {
                "metadata": {"labels": {"app": "race"}},
                "spec": {
                    "containers": [busybox("main", f"cat /etc/v*/k | wc -l; {STAY}", volumeMounts=mounts)],
                    "volumes": volumes, "terminationGracePeriodSeconds": 0,
                },
            },
        },
    })  # fmt: skip

    def all_ready() -> bool:
        found = cluster.get("pods", "-l", "app=race")["items"]
        return len(found) == 5 and all(has_condition(p, "Ready") for p in found)

    until(all_ready, "five Pods of fifty volumes")
    cluster.kubectl("delete", "rc", "race", "--wait=false")


# --- rows that are about the API alone ---

_STORAGE = "/apis/storage.k8s.io/v1"


def _kind(path: str, kind: str, version: str = "storage.k8s.io/v1", **body: Any) -> tuple[str, dict[str, Any]]:
    return path, {"apiVersion": version, "kind": kind, **body}


LIFECYCLES = {
    "csidriver": _kind(f"{_STORAGE}/csidrivers", "CSIDriver", spec={"volumeLifecycleModes": ["Ephemeral"]}),
    "csinode": _kind(f"{_STORAGE}/csinodes", "CSINode", spec={"drivers": []}),
    "csistoragecapacity": _kind(
        f"{_STORAGE}/namespaces/default/csistoragecapacities", "CSIStorageCapacity", storageClassName="sc",
        capacity="1Gi",
    ),
    "storageclass": _kind(f"{_STORAGE}/storageclasses", "StorageClass", provisioner="e2e.test/none"),
    "volumeattachment": _kind(
        f"{_STORAGE}/volumeattachments", "VolumeAttachment",
        spec={"attacher": "e2e.test", "nodeName": "nowhere", "source": {"persistentVolumeName": "pv"}},
    ),
    "persistentvolume": _kind(
        "/api/v1/persistentvolumes", "PersistentVolume", "v1",
        spec={"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": "none",
              "hostPath": {"path": "/tmp"}},
    ),
    "persistentvolumeclaim": _kind(
        "/api/v1/namespaces/default/persistentvolumeclaims", "PersistentVolumeClaim", "v1",
        spec={"accessModes": ["ReadWriteOnce"], "storageClassName": "none",
              "resources": {"requests": {"storage": "1Gi"}}},
    ),
    "pod-with-inline-csi-volume": _kind(
        "/api/v1/namespaces/default/pods", "Pod", "v1",
        spec={"schedulingGates": [{"name": "e2e.test/never"}],
              "containers": [busybox("main", "true", volumeMounts=[{"name": "v", "mountPath": "/v"}])],
              "volumes": [{"name": "v", "csi": {"driver": "inline.e2e.test", "volumeAttributes": {"a": "b"}}}]},
    ),
}  # fmt: skip


@pytest.mark.parametrize("key", sorted(LIFECYCLES))
def test_lifecycle(cluster: Cluster, key: str) -> None:
    """Create, get, patch, update, list, delete, delete as a collection; the row about capacities has a watch too."""
    path, body = LIFECYCLES[key]

    def ask(method: str, where: str = "", what: Any = None, want: int = 200, **more: Any) -> Any:
        code, answer = cluster.request(method, path + where, what, **more)
        assert code == want, (method, where, code, answer)
        return answer

    mark = {"e2e": f"life-{key}"}
    selector = f"?labelSelector=e2e=life-{key}"
    for name in ("life-one", "life-two"):
        ask("POST", "", {**body, "metadata": {"name": name, "labels": mark}}, 201)
    assert ask("GET", "/life-one")["metadata"]["name"] == "life-one"
    merge = "application/merge-patch+json"
    ask("PATCH", "/life-one", {"metadata": {"labels": {"patched": "yes"}}}, content_type=merge)

    def updated() -> bool:
        # Controllers write to some of these too.
        fresh = ask("GET", "/life-one")
        fresh["metadata"]["labels"]["updated"] = "yes"
        return cluster.request("PUT", path + "/life-one", fresh)[0] == 200

    until(updated, "updated")
    listed = ask("GET", selector)
    assert len(listed["items"]) == 2
    one = next(i for i in listed["items"] if i["metadata"]["name"] == "life-one")
    assert one["metadata"]["labels"] == {**mark, "patched": "yes", "updated": "yes"}
    grace = {"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0}
    ask("DELETE", "/life-one", grace)
    until(lambda: cluster.request("GET", path + "/life-one")[0] == 404, "deleted")
    ask("DELETE", selector, grace)
    until(lambda: ask("GET", selector)["items"] == [], "deleted as a collection")
    if key != "csistoragecapacity":
        return
    since = listed["metadata"]["resourceVersion"]
    events = cluster.request("GET", f"{path}{selector}&watch=true&resourceVersion={since}&timeoutSeconds=1")[1]
    lines = [events] if isinstance(events, dict) else [json.loads(line) for line in events.splitlines()]
    assert [e["type"] for e in lines].count("DELETED") == 2


def test_discovery_lists_storage_capacities(cluster: Cluster) -> None:
    code, found = cluster.request("GET", _STORAGE)
    assert code == 200 and {"csistoragecapacities", "volumeattachments"} <= {r["name"] for r in found["resources"]}


@pytest.mark.parametrize(
    ("key", "change", "seen"),
    [
        ("volumeattachment", {"status": {"attached": True}}, lambda s: s["attached"] is True),
        ("persistentvolume", {"status": {"conditions": [], "message": "said", "reason": "e2e"}},
         lambda s: s["message"] == "said"),
        ("persistentvolumeclaim", {"status": {"conditions": [
            {"type": "StatusPatched", "status": "True", "reason": "E2E", "message": "m"}]}},
         lambda s: s["conditions"][0]["type"] == "StatusPatched"),
    ],
)  # fmt: skip
def test_status_is_applied(cluster: Cluster, key: str, change: dict[str, Any], seen: Any) -> None:
    path, body = LIFECYCLES[key]
    assert cluster.request("POST", path, {**body, "metadata": {"name": "status"}})[0] == 201
    merge = "application/merge-patch+json"
    code, patched = cluster.request("PATCH", f"{path}/status/status", change, content_type=merge)
    assert code == 200 and seen(patched["status"]), patched

    def updated() -> bool:
        code, found = cluster.request("GET", f"{path}/status/status")
        assert code == 200
        if key == "volumeattachment":
            found["status"]["attached"] = False
        else:
            found["metadata"]["annotations"] = {"kept": "by spec only"}
            found["status"] = {**found["status"], **change["status"]}
        return cluster.request("PUT", f"{path}/status/status", found)[0] == 200

    until(updated, "status updated")
    assert cluster.request("DELETE", f"{path}/status")[0] == 200
