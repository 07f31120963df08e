from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from podwright.runtime.oci import seccomp, seccomp_program
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


_CONFINED = """
import base64, ctypes, os, socket, sys
program = base64.b64decode(sys.stdin.read())
class Filter(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("code", ctypes.c_char_p)]
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, ctypes.byref(Filter(len(program) // 8, program)), 0, 0) == 0, ctypes.get_errno()
socket.socket(socket.AF_INET).close()
libc.personality(0xFFFFFFFF)
refused = []
for what in (lambda: libc.unshare(0x20000), lambda: libc.personality(3), lambda: libc.socket(40, 1, 0),
             lambda: libc.syscall(435, 0, 0), lambda: libc.mount(None, None, None, 0, None)):
    ctypes.set_errno(0)
    what()
    refused.append(ctypes.get_errno())
print(*refused, os.waitpid(os.fork() or os._exit(0), 0)[1])
"""


def test_a_compiled_profile_does_what_it_says() -> None:
    program = seccomp_program.encoded(seccomp.default([]))
    done = subprocess.run(
        [sys.executable, "-c", _CONFINED], input=program, capture_output=True, text=True, check=True, timeout=60
    )
    # EPERM, and ENOSYS for clone3: programs fall back to clone.
    assert done.stdout.splitlines() == ["1 1 1 38 1 0"]
    assert seccomp_program.encoded(seccomp.default(["CAP_SYS_ADMIN"])) != program


@pytest.mark.parametrize("change", [
    {"defaultAction": "SCMP_ACT_NOTIFY"}, {"listenerPath": "/x"}, {"flags": ["SECCOMP_FILTER_FLAG_LOG"]},
    {"architectures": ["SCMP_ARCH_VAX"]}, {"syscalls": [{"names": ["read"], "action": "SCMP_ACT_MAYBE"}]},
])  # fmt: skip
def test_what_is_not_known_is_left_to_the_runtime(change: dict[str, Any]) -> None:
    assert seccomp_program.encoded({"defaultAction": "SCMP_ACT_ALLOW"})
    assert seccomp_program.encoded({"defaultAction": "SCMP_ACT_ALLOW", **change}) == ""
