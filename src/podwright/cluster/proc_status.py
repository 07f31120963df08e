"""What /proc says about a process's rights, mounts and namespaces."""

from __future__ import annotations

import os
from pathlib import Path

from podwright.runtime.oci.capabilities import ALL

NAMESPACES = ("mnt", "net", "pid", "ipc", "uts", "user", "cgroup", "time")

_SECCOMP = {"0": "disabled", "1": "strict", "2": "filter"}
_CAPABILITIES = tuple(name.removeprefix("CAP_") for name in ALL)


def capabilities(mask: str) -> list[str]:
    """Names, without CAP_, of a hexadecimal mask."""
    bits = int(mask, 16)
    named = [name for number, name in enumerate(_CAPABILITIES) if bits >> number & 1]
    return named + [str(n) for n in range(len(_CAPABILITIES), bits.bit_length()) if bits >> n & 1]


def rights(status: str) -> dict[str, object]:
    """User, groups, capabilities, seccomp mode and no-new-privileges out of the text of /proc/PID/status."""
    fields = {key: value.strip() for key, _, value in (line.partition(":") for line in status.splitlines())}
    return {
        "uid": int(fields["Uid"].split()[1]),
        "gid": int(fields["Gid"].split()[1]),
        "groups": [int(group) for group in fields.get("Groups", "").split()],
        "capabilities": capabilities(fields["CapEff"]),
        "boundingCapabilities": capabilities(fields["CapBnd"]),
        "seccomp": _SECCOMP.get(fields.get("Seccomp", "0"), fields.get("Seccomp", "")),
        "noNewPrivileges": fields.get("NoNewPrivs") == "1",
    }


def user_map(text: str) -> list[dict[str, int]]:
    """The ranges of /proc/PID/uid_map; the host's own, which maps everything to itself, is left out."""
    rows = [[int(number) for number in line.split()] for line in text.splitlines()]
    return [
        {"inside": inside, "outside": outside, "length": length}
        for inside, outside, length in rows
        if not (inside == outside == 0 and length == 0xFFFFFFFF)
    ]


def mounts(mountinfo: str) -> list[dict[str, str]]:
    """Mount point, type, source, the mounted directory of the source, and options (proc(5), mountinfo)."""
    found = []
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        _, _, _, root, target, options, *_ = left.split(" ")
        kind, source, _ = right.split(" ", 2)
        found.append(
            {"target": _plain(target), "type": kind, "source": _plain(source), "root": _plain(root), "options": options}
        )
    return found


def namespaces(pid: int | str) -> dict[str, int]:
    """Inode by kind, of those that this kernel has."""
    found = {}
    for kind in NAMESPACES:
        link = Path(f"/proc/{pid}/ns/{kind}")
        if os.path.lexists(link):
            found[kind] = int(os.readlink(link).partition("[")[2].rstrip("]"))
    return found


def _plain(text: str) -> str:
    """Spaces and the like are written as octal escapes."""
    for escape, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(escape, character)
    return text
