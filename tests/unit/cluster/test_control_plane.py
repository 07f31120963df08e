"""What must be the same on every control plane, and how nodes learn where they are."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from podwright.cluster import control_plane
from podwright.cluster.control_plane import Asked, CannotServe
from podwright.cluster.pki import Pki
from podwright.cluster.registry import Registry
from podwright.cluster.servers import Servers, urls
from podwright.cluster.spec import ClusterSpec

STORE = "etcd://10.0.0.1:2379"


class Machine:
    """Its own registry of clusters, and a store that says `told` of the cluster in it."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        self.told: dict[str, str] = {}
        monkeypatch.setattr(control_plane, "Registry", lambda: Registry(self.root))
        monkeypatch.setattr(control_plane, "_told", lambda url: self.told)
        monkeypatch.setattr("podwright.cluster.layout.RUN_ROOT", root / "run")

    def spec(self) -> ClusterSpec | None:
        layout = Registry(self.root).layout("prod")
        return ClusterSpec.load(layout) if layout else None


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path / "machine", monkeypatch)


def shared_files(directory: Path) -> Path:
    pki, front = Pki(directory), Pki(directory / "front-proxy")
    pki.ensure_ca()
    pki.ensure_service_account_key()
    front.ensure_ca()
    return directory


def test_the_first_makes_the_cluster_and_keeps_what_it_was_asked(machine: Machine) -> None:
    control_plane.ensure("prod", Asked(STORE, "10.0.0.1"))
    spec = machine.spec()
    assert spec is not None
    assert (spec.nodes, spec.store, spec.address, spec.port, spec.node_grace) == (0, STORE, "10.0.0.1", 6443, 50)
    control_plane.ensure("prod", Asked(STORE, "10.0.0.1"))
    with pytest.raises(CannotServe, match=r"--advertise-address: the cluster has '10.0.0.1', asked was '10.0.0.9'"):
        control_plane.ensure("prod", Asked(STORE, "10.0.0.9"))


def test_the_next_one_needs_the_authority_and_keys_of_the_cluster(machine: Machine, tmp_path: Path) -> None:
    first = shared_files(tmp_path / "first")
    machine.told = {"index": "7", "nodeGrace": "50.0", "cluster": "prod", "ca": (first / "ca.crt").read_text()}
    with pytest.raises(CannotServe, match=r"copy ca\.crt, ca\.key, sa\.key, sa\.pub, front-proxy/ca\.crt.* to .*/pki"):
        control_plane.ensure("prod", Asked(STORE, "10.0.0.2"))
    assert machine.spec() is None, "a failure leaves nothing behind"
    shared_files(machine.root / "prod" / "pki")
    with pytest.raises(CannotServe, match="another authority"):
        control_plane.ensure("prod", Asked(STORE, "10.0.0.2"))
    for file in control_plane.SHARED_FILES:
        shutil.copy(first / file, machine.root / "prod" / "pki" / file)
    with pytest.raises(CannotServe, match="--fast-failover"):
        control_plane.ensure("prod", Asked(STORE, "10.0.0.2", fast_failover=True))
    control_plane.ensure("prod", Asked(STORE, "10.0.0.2"))
    assert machine.spec() is not None
    assert Registry(machine.root).ranges("prod").index == 7, "ranges are the cluster's"


class Transport:
    def __init__(self) -> None:
        self.servers = ["https://a:6443"]


def test_a_node_knows_the_servers_also_after_a_restart(tmp_path: Path) -> None:
    ports = [{"name": "https", "port": 6443}]
    endpoints = [{"addresses": ["10.0.0.1"]}, {"addresses": ["fd00::2"]}]
    slice_ = {"metadata": {}, "endpoints": endpoints, "ports": ports}
    expected = ["https://10.0.0.1:6443", "https://[fd00::2]:6443"]
    assert urls(slice_) == expected
    file, first, second = tmp_path / "servers.json", Transport(), Transport()
    servers = Servers("https://a:6443/", file, [first])  # type: ignore[list-item]
    assert first.servers == ["https://a:6443"]
    servers._changed(None, slice_)
    assert first.servers == ["https://a:6443", *expected]
    servers._changed(slice_, None)
    assert first.servers == ["https://a:6443", *expected], "better old ones than none"
    Servers("https://10.0.0.1:6443", file, [second])  # type: ignore[list-item]
    assert second.servers == expected
