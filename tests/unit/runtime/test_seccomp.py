from __future__ import annotations

from pathlib import Path

import pytest

from podwright.runtime.oci import seccomp
from podwright.runtime.protocol import ProfileType, RuntimeFailure, SecurityContext, SecurityProfile


def allowed(capabilities: list[str]) -> set[str]:
    rules = seccomp.default(capabilities)["syscalls"]
    return {n for r in rules if r["action"] == "SCMP_ACT_ALLOW" and "args" not in r for n in r["names"]}


def test_ordinary_programs_may_and_dangerous_ones_may_not() -> None:
    plain = allowed([])
    assert {"read", "openat", "execve", "futex", "epoll_wait", "fork", "ptrace", "accept4", "statx"} <= plain
    assert not plain & {
        "mount", "umount2", "kexec_load", "init_module", "bpf", "reboot", "keyctl", "add_key", "setns", "unshare",
        "userfaultfd", "io_uring_setup", "open_by_handle_at", "perf_event_open", "personality", "clone", "clone3",
        "socket", "chroot", "settimeofday", "swapon", "acct", "move_mount", "open_tree", "fsopen",
    }


def test_capabilities_open_more() -> None:
    assert {"mount", "setns", "clone", "clone3", "bpf"} <= allowed(["CAP_SYS_ADMIN"])
    assert "chroot" in allowed(["CAP_SYS_CHROOT"])
    assert "reboot" in allowed(["CAP_SYS_BOOT"])


def test_profiles(tmp_path: Path) -> None:
    assert seccomp.load(SecurityContext(), []) is None
    path = tmp_path / "profile.json"
    local = SecurityContext(seccomp=SecurityProfile(ProfileType.LOCALHOST, str(path)))
    with pytest.raises(RuntimeFailure, match="cannot load seccomp profile"):
        seccomp.load(local, [])
    path.write_text('{"defaultAction": "SCMP_ACT_ALLOW"}')
    assert seccomp.load(local, []) == {"defaultAction": "SCMP_ACT_ALLOW"}
