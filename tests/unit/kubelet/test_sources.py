"""Static Pods: manifests in, running Pods and mirrors out, with and without an API server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from podwright.api import objects, pods
from podwright.api.resources import NODES, PODS
from podwright.kubelet.sources.static_pods import BadManifest, parse

from .conftest import Cluster

MANIFEST = """
apiVersion: v1
kind: Pod
metadata:
  name: stat
spec:
  terminationGracePeriodSeconds: 2
  containers:
  - name: main
    image: docker.io/library/busybox:1.36
    args: [{arg}]
"""


def _parse(text: str, origin: str = "/m/a.yaml") -> objects.Object:
    return parse(text.encode(), node_name="node-1", source="file", origin=origin, seen="2026-01-01T00:00:00Z")


def test_static_pod_is_named_for_its_node() -> None:
    pod = _parse(MANIFEST.format(arg="x"))
    assert objects.key(pod) == "default/stat-node-1"
    notes = objects.annotations(pod)
    assert notes[pods.CONFIG_HASH] == objects.uid(pod) and notes[pods.CONFIG_SOURCE] == "file"
    assert pod["spec"]["nodeName"] == "node-1" and pod["spec"]["restartPolicy"] == "Always"
    assert {"operator": "Exists", "effect": "NoExecute"} in pod["spec"]["tolerations"]
    assert _parse(MANIFEST.format(arg="x")) == pod
    assert objects.uid(_parse(MANIFEST.format(arg="y"))) != objects.uid(pod)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{", "couldn't parse"),
        ("kind: ConfigMap\napiVersion: v1", "kind must be Pod"),
        ("apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: []}", "spec.containers"),
        ("apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: 5}", "invalid pod"),
        (
            "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: [{name: a, image: b, nonsense: 1}]}",
            "nonsense",
        ),
        (
            "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: [{name: a, image: b}],"
            " volumes: [{name: v, secret: {secretName: s}}]}",
            "may not reference secret",
        ),
    ],
)  # fmt: skip
def test_broken_manifests_are_refused(text: str, complaint: str) -> None:
    with pytest.raises(BadManifest, match=complaint):
        _parse(text)


@pytest.fixture
def config(tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "manifests").mkdir()
    return {"static_pod_path": tmp_path / "manifests"}


async def test_static_pod_lives_by_its_file(cluster: Cluster, tmp_path: Path) -> None:
    manifest = tmp_path / "manifests" / "stat.yaml"
    manifest.write_text(MANIFEST.format(arg="one"))
    await cluster.until(lambda: cluster.runtime.named("main"))
    mirror = await cluster.until_ready("stat-node-1")
    assert mirror["metadata"]["annotations"][pods.CONFIG_MIRROR] == mirror["metadata"]["annotations"][pods.CONFIG_HASH]
    node = cluster.api.find(NODES, "node-1")
    assert node is not None
    assert mirror["metadata"]["ownerReferences"][0]["uid"] == objects.uid(node)
    first = cluster.runtime.named("main")[0]

    manifest.write_text(MANIFEST.format(arg="two"))
    await cluster.until(
        lambda: [list(cluster.runtime.configs[c.id].args or ()) for c in cluster.runtime.named("main")] == [["two"]]
    )
    assert first.id not in cluster.runtime.containers
    mirror = await cluster.until_ready("stat-node-1")
    assert mirror["spec"]["containers"][0]["args"] == ["two"]

    manifest.unlink()
    await cluster.until(lambda: not cluster.runtime.containers)
    await cluster.until_gone("stat-node-1")


async def test_deleted_mirror_comes_back_and_the_pod_runs_on(cluster: Cluster, tmp_path: Path) -> None:
    (tmp_path / "manifests" / "stat.yaml").write_text(MANIFEST.format(arg="one"))
    mirror = await cluster.until_ready("stat-node-1")
    before = cluster.runtime.named("main")
    await cluster.api.client.delete(PODS, "stat-node-1", namespace="default")
    again = await cluster.until_ready("stat-node-1")
    assert objects.uid(again) != objects.uid(mirror)
    assert cluster.runtime.named("main") == before


async def test_broken_file_harms_nothing_else(cluster: Cluster, tmp_path: Path) -> None:
    (tmp_path / "manifests" / "good.yaml").write_text(MANIFEST.format(arg="one"))
    await cluster.until_ready("stat-node-1")
    (tmp_path / "manifests" / "bad.yaml").write_text("kind: Nonsense")
    await cluster.until(lambda: any(r == "FailedStaticPod" for r, _ in cluster.api.events("node-1")))
    # A manifest that breaks leaves what it said before running.
    before = cluster.runtime.named("main")
    (tmp_path / "manifests" / "good.yaml").write_text("{")
    await cluster.until(lambda: sum(r == "FailedStaticPod" for r, _ in cluster.api.events("node-1")) == 2)
    assert cluster.runtime.named("main") == before


async def test_static_pods_need_no_api(cluster: Cluster, tmp_path: Path) -> None:
    await cluster.kill()
    await cluster.api.set_down(True)
    cluster.kubelet = cluster.new_kubelet()
    await cluster.start()
    (tmp_path / "manifests" / "stat.yaml").write_text(MANIFEST.format(arg="one"))
    container = (await cluster.until(lambda: cluster.runtime.named("main")))[0]
    await cluster.until(lambda: cluster.runtime.containers[container.id].pid)
    cluster.runtime.exit(container.id, 1)
    await cluster.until(lambda: len(cluster.runtime.named("main")) == 2)
    await cluster.api.set_down(False)
    mirror = await cluster.until_ready("stat-node-1")
    assert mirror["status"]["containerStatuses"][0]["restartCount"] == 1
