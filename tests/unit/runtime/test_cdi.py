"""What CDI devices make of a container's configuration."""

from __future__ import annotations

import copy
import logging
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml

from podwright.runtime.oci import cdi
from podwright.runtime.protocol import RuntimeFailure

DOCUMENT: dict[str, Any] = {
    "process": {"env": ["A=1", "B=2"], "user": {"uid": 0, "gid": 0, "additionalGids": [0, 7]}},
    "mounts": [{"destination": "/proc", "type": "proc", "source": "proc", "options": []}],
    "linux": {"devices": [], "resources": {"devices": [{"allow": False, "access": "rwm"}]}},
}


def device(name: str, **edits: Any) -> dict[str, Any]:
    return {"name": name, "containerEdits": edits}


def written(path: Path, *devices: Any, kind: str = "vendor.test/gpu", **common: Any) -> None:
    path.parent.mkdir(exist_ok=True)
    spec = {"cdiVersion": "0.6.0", "kind": kind, "devices": list(devices), "containerEdits": common}
    path.write_bytes(orjson.dumps(spec) if path.suffix == ".json" else yaml.safe_dump(spec).encode())


@pytest.fixture
def directories(tmp_path: Path) -> list[Path]:
    return [tmp_path / "etc", tmp_path / "run", tmp_path / "missing"]


def applied(directories: list[Path], *names: str) -> dict[str, Any]:
    document = copy.deepcopy(DOCUMENT)
    cdi.apply(document, names, directories)
    return document


def test_a_device_and_what_all_of_its_file_need_once(directories: list[Path]) -> None:
    null = {"path": "/dev/mine", "hostPath": "/dev/null", "permissions": "rw", "uid": 5}
    mount = {"hostPath": "/usr/lib/x.so", "containerPath": "/lib/x.so", "options": ["ro", "bind"]}
    hook = {"hookName": "createContainer", "path": "/bin/ldconfig", "args": ["ldconfig"]}
    written(
        directories[0] / "a.yaml",
        device("0", deviceNodes=[null], env=["B=3"]), device("1", env=["C=4"], additionalGids=[0, 7, 44]),
        mounts=[mount, {"hostPath": "/srv", "containerPath": "/"}], hooks=[hook],
    )  # fmt: skip
    made = applied(directories, "vendor.test/gpu=0", "vendor.test/gpu=1", "vendor.test/gpu=0")
    assert made["process"]["env"] == ["A=1", "B=3", "C=4"]
    assert made["process"]["user"]["additionalGids"] == [0, 7, 44]
    node = made["linux"]["devices"][0]
    assert len(made["linux"]["devices"]) == 1 and (node["path"], node["uid"]) == ("/dev/mine", 5)
    rule = {"allow": True, "access": "rw", "type": "c", "major": 1, "minor": 3}
    assert made["linux"]["resources"]["devices"] == [{"allow": False, "access": "rwm"}, rule]
    assert [m["destination"] for m in made["mounts"]] == ["/", "/proc", "/lib/x.so"]
    assert made["mounts"][0]["options"] == ["rbind"] and made["mounts"][2]["options"] == ["ro", "bind"]
    assert made["hooks"] == {"createContainer": [{"path": "/bin/ldconfig", "args": ["ldconfig"]}]}


def test_a_later_directory_hides_an_earlier_one_and_a_conflict_is_no_device(directories: list[Path]) -> None:
    written(directories[0] / "a.json", device("0", env=["FROM=etc"]), device("1", env=["FROM=etc"]))
    written(directories[1] / "b.json", device("0", env=["FROM=run"]))
    assert "FROM=run" in applied(directories, "vendor.test/gpu=0")["process"]["env"]
    assert "FROM=etc" in applied(directories, "vendor.test/gpu=1")["process"]["env"]
    written(directories[1] / "c.json", device("0", env=["FROM=other"]))
    with pytest.raises(RuntimeFailure, match=r"unresolvable CDI devices vendor.test/gpu=0, vendor.test/gpu=9"):
        applied(directories, "vendor.test/gpu=0", "vendor.test/gpu=9")


def test_a_broken_file_hides_no_other(directories: list[Path], caplog: pytest.LogCaptureFixture) -> None:
    written(directories[0] / "a.json", device("0", env=["X=1"]))
    (directories[0] / "b.json").write_text("{")
    (directories[0] / "c.yaml").write_text("[]")
    with caplog.at_level(logging.WARNING):
        assert "X=1" in applied(directories, "vendor.test/gpu=0")["process"]["env"]
    assert "b.json cannot be read" in caplog.text and "c.yaml cannot be read" in caplog.text


def test_what_is_not_known_here_is_not_left_out_silently(directories: list[Path]) -> None:
    written(directories[0] / "a.json", device("0", intelRdt={"closID": "x"}))
    with pytest.raises(RuntimeFailure, match=r"containerEdits.intelRdt is not supported"):
        applied(directories, "vendor.test/gpu=0")
