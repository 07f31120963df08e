"""The Linux system calls that Python 3.11 lacks: namespaces, mounts, safe path resolution.

Every function raises OSError with the call's errno. `unshare` and `setns` act on the calling thread alone: call them
in a thread that ends afterwards, or that was made for the purpose.
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

CLONE_NEWNS = 0x00020000
CLONE_FS = 0x00000200
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_BIND = 4096
MS_REC = 16384
MS_PRIVATE = 1 << 18
MS_SHARED = 1 << 20
MNT_DETACH = 2
UMOUNT_NOFOLLOW = 8

RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_BENEATH = 0x08
RESOLVE_IN_ROOT = 0x10

_SYS_OPENAT2 = 437
_libc = ctypes.CDLL(None, use_errno=True)


class _OpenHow(ctypes.Structure):
    _fields_ = [("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64)]


def _check(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def unshare(flags: int) -> None:
    _check(_libc.unshare(flags), "unshare")


def setns(fd: int, kind: int) -> None:
    """Moves the calling thread into the namespace that `fd` refers to. For a mount namespace the thread must have
    called ``unshare(CLONE_FS)`` before."""
    _check(_libc.setns(fd, kind), "setns")


def sethostname(name: str) -> None:
    raw = name.encode()
    _check(_libc.sethostname(raw, len(raw)), f"sethostname {name}")


def mount(source: str, target: str | Path, kind: str = "", flags: int = 0, data: str = "") -> None:
    result = _libc.mount(
        source.encode() or None, os.fsencode(target), kind.encode() or None, ctypes.c_ulong(flags),
        data.encode() or None,
    )
    _check(result, f"mount {source or kind or 'flags'} on {target}")


def bind(source: str | Path, target: str | Path, *, recursive: bool = False) -> None:
    mount(str(source), target, "", MS_BIND | (MS_REC if recursive else 0))


def umount(target: str | Path, flags: int = MNT_DETACH | UMOUNT_NOFOLLOW) -> bool:
    """Unmounts what is mounted on top at `target`; False if nothing is, or if there is no such path."""
    if _libc.umount2(os.fsencode(target), flags) == 0:
        return True
    number = ctypes.get_errno()
    if number in (22, 2):  # EINVAL: no mount point; ENOENT
        return False
    raise OSError(number, f"umount {target}: {os.strerror(number)}")


def openat2(dir_fd: int, path: str, flags: int, *, mode: int = 0, resolve: int = RESOLVE_IN_ROOT) -> int:
    """Opens `path` below the directory `dir_fd`; with RESOLVE_IN_ROOT symbolic links and ".." cannot leave it."""
    how = _OpenHow(flags | os.O_CLOEXEC, mode, resolve)
    result: int = _libc.syscall(
        _SYS_OPENAT2, dir_fd, os.fsencode(path or "."), ctypes.byref(how), ctypes.c_size_t(ctypes.sizeof(how))
    )
    return _check(result, f"open {path}")


def syncfs(fd: int) -> None:
    _check(_libc.syncfs(fd), "syncfs")


def boot_id() -> str:
    """What the kernel calls this boot: pids and namespaces recorded under another one are gone."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def process_start(pid: int) -> int:
    """When the process started, in clock ticks since boot, 0 if there is none (or only its zombie). With the pid it
    names a process for good."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return 0 if fields[0] in (b"Z", b"X") else int(fields[19])


def is_mount_point(path: str | Path) -> bool:
    """Also for a bind mount within one filesystem, which os.path.ismount does not see."""
    wanted = os.fsencode(os.path.realpath(path)).replace(b"\\", b"\\134").replace(b" ", b"\\040")
    with open("/proc/self/mountinfo", "rb") as file:
        return any(line.split(b" ", 5)[4] == wanted for line in file)


class _MountAttributes(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in ("set", "clear", "propagation", "user_namespace")]


_SYS_OPEN_TREE, _SYS_MOVE_MOUNT, _SYS_MOUNT_SETATTR = 428, 429, 442
_AT_EMPTY_PATH, _AT_RECURSIVE, _OPEN_TREE_CLONE, _MOVE_MOUNT_F_EMPTY_PATH = 0x1000, 0x8000, 1, 4
_MOUNT_ATTR_IDMAP = 0x00100000


def bind_mapped(source: str | Path, target: str | Path, user_namespace: int, *, recursive: bool = False) -> None:
    """A bind mount in which files belong to whom the user namespace (a descriptor) maps their owners to. The
    filesystem must know how (Linux 5.12 and later; overlayfs does not)."""
    deep = _AT_RECURSIVE if recursive else 0
    flags = _OPEN_TREE_CLONE | os.O_CLOEXEC | deep
    tree = _check(_libc.syscall(_SYS_OPEN_TREE, -100, os.fsencode(source), flags), f"open_tree {source}")
    try:
        attributes = _MountAttributes(set=_MOUNT_ATTR_IDMAP, user_namespace=user_namespace)
        result = _libc.syscall(
            _SYS_MOUNT_SETATTR, tree, b"", _AT_EMPTY_PATH | deep, ctypes.byref(attributes),
            ctypes.c_size_t(ctypes.sizeof(attributes)),
        )  # fmt: skip
        _check(result, f"map the owners of {source}")
        result = _libc.syscall(_SYS_MOVE_MOUNT, tree, b"", -100, os.fsencode(target), _MOVE_MOUNT_F_EMPTY_PATH)
        _check(result, f"mount {source} on {target}")
    finally:
        os.close(tree)
