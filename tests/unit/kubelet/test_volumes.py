"""Volumes: atomic content, ownership, parts of them, hostPath checks; no mounts, so no root."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from types import SimpleNamespace

import pytest

from podwright.api.objects import Object
from podwright.client.clock import SystemClock
from podwright.kubelet.volumes import atomic_writer, host_path, payloads, persistent, subpath
from podwright.kubelet.volumes.atomic_writer import BadPayload, FileContent
from podwright.kubelet.volumes.mount_points import remove_tree
from podwright.kubelet.volumes.mounted import VolumeFailure
from podwright.kubelet.volumes.ownership import give_to_group
from podwright.kubelet.volumes.tokens import ServiceAccountTokens

from .fake_api import FakeApi


def _payload(**files: str) -> dict[str, FileContent]:
    return {name.replace("__", "/"): FileContent(text.encode(), 0o640) for name, text in files.items()}


def test_content_changes_all_at_once(tmp_path: Path) -> None:
    assert atomic_writer.write(tmp_path, _payload(a="1", d__b="2"))
    assert (tmp_path / "a").read_text() == "1" and (tmp_path / "d" / "b").read_text() == "2"
    assert os.readlink(tmp_path / "a") == "..data/a" and os.readlink(tmp_path / "d") == "..data/d"
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640
    first = os.readlink(tmp_path / "..data")
    assert not atomic_writer.write(tmp_path, _payload(a="1", d__b="2"))
    assert os.readlink(tmp_path / "..data") == first
    # Whoever holds the old directory sees the old content to the end.
    assert atomic_writer.write(tmp_path, _payload(a="3"))
    assert os.readlink(tmp_path / "..data") != first
    assert sorted(p.name for p in tmp_path.iterdir() if not p.name.startswith("..")) == ["a"]
    assert len([p for p in tmp_path.iterdir() if p.name.startswith("..2")]) == 1


@pytest.mark.parametrize("path", ["/etc/passwd", "../x", "a/../../x", "", "..data"])
def test_paths_that_lead_out_are_refused(tmp_path: Path, path: str) -> None:
    with pytest.raises(BadPayload):
        atomic_writer.write(tmp_path, {path: FileContent(b"", 0o644)})


def test_group_ownership(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir(mode=0o700)
    (tmp_path / "d" / "f").write_text("x")
    (tmp_path / "d" / "f").chmod(0o600)
    (tmp_path / "link").symlink_to("/etc/passwd")
    before = os.stat("/etc/passwd").st_mode
    give_to_group(tmp_path, os.getgid())
    assert (tmp_path / "d" / "f").stat().st_mode & 0o777 == 0o660
    assert (tmp_path / "d").stat().st_mode & 0o7777 == 0o2770
    assert os.stat("/etc/passwd").st_mode == before
    (tmp_path / "d" / "f").chmod(0o600)
    give_to_group(tmp_path, os.getgid(), on_root_mismatch=True)
    assert (tmp_path / "d" / "f").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("kind", "make", "fits"),
    [
        ("", lambda p: None, True),
        ("DirectoryOrCreate", lambda p: None, True),
        ("FileOrCreate", lambda p: None, True),
        ("Directory", lambda p: p.mkdir(), True),
        ("Directory", lambda p: p.touch(), False),
        ("Directory", lambda p: None, False),
        ("File", lambda p: p.touch(), True),
        ("File", lambda p: p.mkdir(), False),
        ("Socket", lambda p: socket.socket(socket.AF_UNIX).bind(str(p)), True),
        ("CharDevice", lambda p: p.touch(), False),
        ("BlockDevice", lambda p: None, False),
        ("DirectoryOrCreate", lambda p: p.touch(), False),
    ],
)
def test_host_path_types(tmp_path: Path, kind: str, make: object, fits: bool) -> None:
    path = tmp_path / "x"
    make(path)  # type: ignore[operator]
    if fits:
        assert host_path.setup({"path": str(path), "type": kind}) == path
        assert path.exists()
    else:
        with pytest.raises(VolumeFailure, match="hostPath type check failed"):
            host_path.setup({"path": str(path), "type": kind})


@pytest.mark.parametrize(
    ("context", "mode", "uid"),
    [({}, 0o644, None), ({"runAsUser": 1000}, 0o600, 1000), ({"fsGroup": 10000}, 0o600, None),
     ({"runAsUser": 1000, "fsGroup": 10000}, 0o600, 1000)],
)  # fmt: skip
async def test_whose_a_projected_token_is(context: dict[str, int], mode: int, uid: int | None) -> None:
    """What the fsGroup may read besides is added with its ownership."""
    api = FakeApi()
    pod: Object = {"metadata": {"name": "web", "namespace": "default", "uid": "u"},
                   "spec": {"securityContext": context, "containers": [{"name": "c"}]}}
    given = SimpleNamespace(
        pod=pod, tokens=ServiceAccountTokens(api.client, SystemClock()), fs_group=context.get("fsGroup")
    )
    (content,) = (await payloads._token(given, {"path": "token"}, 0o644)).values()  # type: ignore[arg-type]
    assert (content.mode, content.uid) == (mode, uid)


@pytest.mark.parametrize("sub_path", ["/abs", "../up", "a/../../up"])
def test_bad_sub_paths(sub_path: str) -> None:
    with pytest.raises(subpath.BadSubPath):
        subpath.check(sub_path)


def test_sub_path_never_leaves_the_volume(tmp_path: Path) -> None:
    volume = tmp_path / "volume"
    volume.mkdir()
    (volume / "out").symlink_to("/etc")
    (volume / "inner").symlink_to("real")
    with pytest.raises(subpath.BadSubPath):
        subpath._open_inside(volume, "out/passwd")
    held = subpath._open_inside(volume, "real/deep")
    os.close(held)
    assert (volume / "real" / "deep").is_dir()
    held = subpath._open_inside(volume, "inner/deep")
    os.close(held)


def test_removal_does_not_follow_links(tmp_path: Path) -> None:
    (tmp_path / "keep").mkdir()
    (tmp_path / "keep" / "f").touch()
    (tmp_path / "gone" / "d").mkdir(parents=True)
    (tmp_path / "gone" / "link").symlink_to(tmp_path / "keep")
    remove_tree(tmp_path / "gone")
    assert not (tmp_path / "gone").exists() and (tmp_path / "keep" / "f").exists()


@pytest.mark.parametrize("status", [0, 32])
def test_nfs_is_mounted_by_the_hosts_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    program, told = tmp_path / "mount", tmp_path / "told"
    program.write_text(f'#!/bin/sh\necho "$@" > {told}\necho no route >&2\nexit {status}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    target = tmp_path / "v"
    spec = {"mountOptions": ["nfsvers=4.2", "hard"], "nfs": {"server": "s.test", "path": "/p", "readOnly": True}}
    arguments = f"-t nfs -o nfsvers=4.2,hard,ro s.test:/p {target}"
    if status == 0:
        assert persistent.mount_nfs(target, spec) == target
    else:
        with pytest.raises(VolumeFailure) as failed:
            persistent.mount_nfs(target, spec)
        assert str(failed.value) == (
            "mount failed: exit status 32\nMounting command: mount\n"
            f"Mounting arguments: {arguments}\nOutput: no route\n"
        )
    assert told.read_text() == arguments + "\n"
