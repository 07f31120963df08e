"""Who a container runs as: names looked up in the image's /etc/passwd and /etc/group.

The files are foreign: they are opened with the image's root as root, and read up to a bound.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from podwright.runtime import linux
from podwright.runtime.protocol import RuntimeFailure, SecurityContext

_MAX_SIZE = 8 << 20


@dataclass(frozen=True, slots=True)
class Account:
    name: str
    uid: int
    gid: int
    home: str


@dataclass(frozen=True, slots=True)
class Identity:
    """`groups` are the supplemental ones, the primary one among them."""

    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str


def read_in_root(root: Path, path: str) -> str:
    """The text of a regular file of the image, "" if there is none. Links cannot leave the image."""
    root_fd = os.open(root, os.O_PATH | os.O_DIRECTORY)
    try:
        fd = linux.openat2(root_fd, path, os.O_RDONLY | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return ""
    finally:
        os.close(root_fd)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        return ""
    with open(fd, "rb") as file:
        return file.read(_MAX_SIZE).decode("utf-8", "replace")


def parse_passwd(text: str) -> list[Account]:
    found = []
    for line in text.splitlines():
        parts = line.split(":")
        if len(parts) >= 6 and parts[2].isdigit() and parts[3].isdigit():
            found.append(Account(parts[0], int(parts[2]), int(parts[3]), parts[5]))
    return found


def parse_group(text: str) -> list[tuple[str, int, list[str]]]:
    found = []
    for line in text.splitlines():
        parts = line.split(":")
        if len(parts) >= 4 and parts[2].isdigit():
            found.append((parts[0], int(parts[2]), [m for m in parts[3].split(",") if m]))
    return found


def identify(security: SecurityContext, image_user: str, passwd: str, group: str) -> Identity:
    """Resolves the security context, or else the image's "user[:group]", against the image's files.

    Raises:
        RuntimeFailure: a name is not in the image.
    """
    accounts, groups = parse_passwd(passwd), parse_group(group)
    wanted_group = ""
    if security.run_as_user is not None:
        wanted_user = str(security.run_as_user)
    elif security.run_as_username:
        wanted_user = security.run_as_username
    else:
        wanted_user, _, wanted_group = image_user.partition(":")
    account = _account(accounts, wanted_user or "0")
    gid = account.gid
    if security.run_as_group is not None:
        gid = security.run_as_group
    elif wanted_group:
        gid = _group(groups, wanted_group)
    members: list[int] = []
    if security.supplemental_groups_policy != "Strict" and account.name:
        members = [number for _, number, names in groups if account.name in names]
    merged = dict.fromkeys([gid, *members, *security.supplemental_groups])
    return Identity(account.uid, gid, tuple(merged), account.home or "/")


def _account(accounts: list[Account], wanted: str) -> Account:
    for account in accounts:
        if account.name == wanted:
            return account
    if wanted.isdigit():
        number = int(wanted)
        return next((a for a in accounts if a.uid == number), Account("", number, 0, "/"))
    raise RuntimeFailure(f"unable to find user {wanted}: no matching entries in passwd file", "CreateContainerError")


def _group(groups: list[tuple[str, int, list[str]]], wanted: str) -> int:
    for name, number, _ in groups:
        if name == wanted:
            return number
    if wanted.isdigit():
        return int(wanted)
    raise RuntimeFailure(f"unable to find group {wanted}: no matching entries in group file", "CreateContainerError")
