"""Kubeconfig files: one of the cluster's own, and the user's, into which a context is merged and taken out again."""

from __future__ import annotations

import base64
import os
import pwd
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from podwright.cluster.files import write_atomically
from podwright.cluster.pki import KeyPair

_SECTIONS = ("clusters", "users", "contexts")


class NotAKubeconfig(ValueError):
    """The file is there and is something else, or cannot be read; the message names it. It is left as it is."""


def document(context: str, server: str, ca: Path, user: KeyPair) -> dict[str, Any]:
    """A kubeconfig with one context whose certificates are embedded."""
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "preferences": {},
        "current-context": context,
        "clusters": [{"name": context, "cluster": {"server": server, "certificate-authority-data": _embed(ca)}}],
        "users": [
            {
                "name": context,
                "user": {"client-certificate-data": _embed(user.certificate), "client-key-data": _embed(user.key)},
            }
        ],
        "contexts": [{"name": context, "context": {"cluster": context, "user": context}}],
    }


def _embed(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


def write(path: Path, config: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, yaml.safe_dump(config, sort_keys=False).encode(), mode=0o600)


def user_file(explicit: str = "") -> tuple[Path, tuple[int, int] | None]:
    """The file to merge into and, under sudo, the (uid, gid) that should own it: `explicit`, else the first of
    $KUBECONFIG, else ~/.kube/config of the user who called (under sudo: the invoking one)."""
    owner = None
    home = Path.home()
    if os.geteuid() == 0 and os.environ.get("SUDO_UID"):
        entry = pwd.getpwuid(int(os.environ["SUDO_UID"]))
        owner = (entry.pw_uid, entry.pw_gid)
        home = Path(entry.pw_dir)
    if explicit:
        return Path(explicit).absolute(), owner
    variable = next((p for p in os.environ.get("KUBECONFIG", "").split(":") if p), "")
    return (Path(variable).absolute() if variable else home / ".kube" / "config"), owner


def merge(path: Path, addition: dict[str, Any], owner: tuple[int, int] | None = None) -> None:
    """Puts the entries of `addition` into the file (replacing those of the same name) and makes its context current.
    Everything else in the file stays. Raises NotAKubeconfig."""
    new_directories = [p for p in (path.parent, *path.parent.parents) if not p.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    if owner is not None:
        for directory in new_directories:
            os.chown(directory, *owner)
    with _locked(path):
        config = read(path)
        for section in _SECTIONS:
            names = {entry["name"] for entry in addition[section]}
            kept = [e for e in config.get(section) or [] if e.get("name") not in names]
            config[section] = kept + addition[section]
        config["current-context"] = addition["current-context"]
        write_atomically(path, yaml.safe_dump(config, sort_keys=False).encode(), mode=0o600, owner=owner)


def remove(path: Path, context: str) -> None:
    """Takes a context, its cluster and its user out of the file; no error if the file or the context is not there.
    Raises NotAKubeconfig."""
    if not path.exists():
        return
    info = path.stat()
    with _locked(path):
        config = read(path)
        for section in _SECTIONS:
            config[section] = [e for e in config.get(section) or [] if e.get("name") != context]
        if config.get("current-context") == context:
            config["current-context"] = ""
        write_atomically(
            path, yaml.safe_dump(config, sort_keys=False).encode(), mode=0o600, owner=(info.st_uid, info.st_gid)
        )


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """kubectl's own lock: a file FILE.lock that only one can create. It is held for milliseconds; one that stays for
    longer than 10 s was left by somebody who died."""
    lock = path.with_name(path.name + ".lock")
    deadline = time.monotonic() + 10.0
    while True:
        try:
            os.close(os.open(lock, os.O_CREAT | os.O_EXCL, 0o600))
            break
        except FileExistsError:
            if time.monotonic() > deadline:
                lock.unlink(missing_ok=True)
                deadline += 10.0
            time.sleep(0.01)
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)


def read(path: Path) -> dict[str, Any]:
    """What the file says; an empty kubeconfig if it is empty or not there. Raises NotAKubeconfig."""
    try:
        config = yaml.safe_load(path.read_text()) or {"apiVersion": "v1", "kind": "Config", "preferences": {}}
    except FileNotFoundError:
        return {"apiVersion": "v1", "kind": "Config", "preferences": {}}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as failed:
        raise NotAKubeconfig(f"kubeconfig {path} cannot be read: {' '.join(str(failed).split())}") from failed
    if not isinstance(config, dict) or not all(_is_section(config.get(section) or []) for section in _SECTIONS):
        raise NotAKubeconfig(f"{path} is no kubeconfig")
    return config


def _is_section(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(entry, dict) for entry in value)
