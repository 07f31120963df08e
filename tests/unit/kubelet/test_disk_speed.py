"""Disk throughput is measured once a machine, and what is found can be advertised."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from podwright.kubelet.node import disk_speed


def test_measured_once_a_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    speeds = dict.fromkeys(disk_speed.NAMES, "1000")
    calls: list[Path] = []

    def measure(directory: Path) -> dict[str, str]:
        calls.append(directory)
        return speeds

    monkeypatch.setattr(disk_speed, "measure", measure)
    cache = tmp_path / "speeds.json"
    assert disk_speed.measured_once(cache, tmp_path) == speeds
    assert disk_speed.measured_once(cache, tmp_path) == speeds
    assert calls == [tmp_path]
    disk_speed.measured_once(cache, tmp_path, anew=True)
    assert len(calls) == 2


@pytest.mark.parametrize("text", ["", "{", "[]", json.dumps({"254:0": {}})])
def test_a_spoilt_cache_is_measured_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    speeds = dict.fromkeys(disk_speed.NAMES, "7")
    monkeypatch.setattr(disk_speed, "measure", lambda directory: speeds)
    cache = tmp_path / "speeds.json"
    cache.write_text(text)
    assert disk_speed.cached(cache, tmp_path) is None
    assert disk_speed.measured_once(cache, tmp_path) == speeds
    assert disk_speed.cached(cache, tmp_path) == speeds


def test_the_probe_leaves_nothing(tmp_path: Path) -> None:
    try:
        found = disk_speed.measure(tmp_path)
    except OSError as refused:
        pytest.skip(f"no direct I/O here: {refused}")
    assert set(found) == set(disk_speed.NAMES)
    assert all(int(amount) > 0 for amount in found.values())
    assert list(tmp_path.iterdir()) == []


def test_of_several_probes_the_best_counts(tmp_path: Path) -> None:
    probes = iter([(1.0, 20.0, 300.0, 4.0), (10.0, 2.0, 3.0, 40.5), (5.0, 5.0, 5.0, 5.0)])
    found = disk_speed.measure(tmp_path, lambda directory: next(probes))
    assert [found[name] for name in disk_speed.NAMES] == ["10", "20", "300", "40"]
