"""``podwright up`` and ``down``: two clusters side by side, and nothing left afterwards."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from tests.e2e.harness import Cluster, busybox, pod, until
from tests.node import leaks


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """Where a user has mounted a fresh one."""
    found = tmp_path / "data"
    found.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "podwright-test", found], check=True)
    (found / "lost+found").mkdir()
    yield found
    subprocess.run(["umount", found], check=True)


def test_purge_leaves_nothing_on_the_host(tmp_path: Path, disk: Path) -> None:
    marks = names = (f"leak-one-{os.getpid()}", f"leak-two-{os.getpid()}")
    before = leaks.take(marks)
    one = Cluster(names[0], tmp_path / "one")
    two = Cluster(names[1], tmp_path / "two", ("--nodes", "2", "--data-dir", str(disk)))
    try:
        links = _live_and_go(one, two)
    finally:
        for cluster in (one, two):
            cluster.podwright("down", "--purge", check=False)
    assert leaks.take(marks).leaked_since(before) == {}
    assert not links & leaks.links()
    # A disk that its user has mounted stays where it is, emptied of what is ours.
    assert disk.is_mount() and [p.name for p in disk.iterdir()] == ["lost+found"]
    assert not Path("/var/lib/podwright", one.name).exists()
    config = yaml.safe_load((tmp_path / "one").read_text())
    assert config["contexts"] == [] and config["users"] == []


def _live_and_go(one: Cluster, two: Cluster) -> set[str]:
    """The network interfaces that were there for the two."""
    one.up()
    two.up()
    for cluster in (one, two):
        cluster.apply(pod("a", busybox("c", "sleep 3600")), pod("b", busybox("c", "sleep 3600"), hostNetwork=True))
        cluster.running("a")
        cluster.running("b")
    links = {link for link in leaks.links() if _belongs_to(link.partition(" ")[2], one, two)}
    assert len(links) >= 4, "the bridge, its two ends and a Pod of the host's network namespace"
    assert one.pod("a")["status"]["podIP"] != two.pod("a")["status"]["podIP"]
    assert json.loads(two.podwright("status", "-o", "json").stdout)["ready"] is True
    two.podwright("down", "--purge")
    one.running("a")
    one.podwright("down", "--purge")
    return links


def _belongs_to(link: str, *clusters: Cluster) -> bool:
    """Whether a network interface was made for one of the clusters: Pods' have a digest of cluster and node in their
    names, the bridge and its ends the cluster's index."""
    registered = json.loads(Path("/var/lib/podwright/registry.json").read_text())
    pods = {"pw" + hashlib.sha256(f"{c.name}/node-1".encode()).hexdigest()[:4] for c in clusters}
    bridges = {f"pw{registered[c.name]['index']}" for c in clusters}
    return link.startswith(tuple(pods)) or link.partition("n")[0] in bridges


def test_up_is_repeatable_and_refuses_other_flags(tmp_path: Path) -> None:
    cluster = Cluster(f"again-{os.getpid()}", tmp_path / "config")
    try:
        cluster.up()
        cluster.apply(pod("kept", busybox("c", "sleep 3600")))
        cluster.running("kept")
        cluster.up()
        assert cluster.pod("kept")["status"]["containerStatuses"][0]["restartCount"] == 0
        refused = cluster.podwright("up", "--nodes", "3", check=False)
        assert refused.returncode == 1
        assert "--nodes: the cluster has 1, asked was 3" in refused.stderr
        cluster.podwright("down")
        assert cluster.podwright("status", check=False).returncode == 3
        assert yaml.safe_load((tmp_path / "config").read_text())["contexts"] == []
        cluster.up()
        until(
            lambda: cluster.running("kept")["status"]["containerStatuses"][0]["restartCount"] >= 1,
            "data is kept, and the Pod runs again",
        )
    finally:
        cluster.podwright("down", "--purge", check=False)


@pytest.mark.parametrize(("name", "line"), [("Bad_Name", "invalid cluster name"), ("nobody", "there is no cluster")])
def test_bad_names_get_one_clear_line(tmp_path: Path, name: str, line: str) -> None:
    done = Cluster(name, tmp_path / "c").podwright("down", check=False)
    assert done.returncode == 1 and line in done.stderr and done.stderr.count("\n") == 1
