"""Runs inside a container, under the host's Python: tries what a Pod must not do and prints, as JSON, what became of
each attempt: "did", or the name of the error. Arguments: the pid of another Pod's process, paths not to be read."""

import ctypes
import errno
import json
import os
import signal
import socket
import sys

LIBC = ctypes.CDLL(None, use_errno=True)
SYSCALLS = {
    "add_key": 248, "keyctl": 250, "bpf": 321, "unshare": 272, "setns": 308, "ptrace": 101, "process_vm_readv": 310,
    "open_by_handle_at": 304, "init_module": 175, "kexec_load": 246, "perf_event_open": 298, "userfaultfd": 323,
    "pivot_root": 155, "swapoff": 168, "mount": 165, "umount2": 166, "settimeofday": 164, "iopl": 172, "acct": 163,
    "move_mount": 429, "fsopen": 430, "io_uring_setup": 425, "sethostname": 170, "personality": 135,
}  # fmt: skip


def syscall(name, *arguments):
    ctypes.set_errno(0)
    result = LIBC.syscall(SYSCALLS[name], *arguments)
    if result == -1:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def write(path, text):
    with open(path, "w") as file:
        file.write(text)


def read(path):
    with open(path, "rb") as file:
        file.read(16)


def forks():
    """Forks until it cannot any more; gives how many there were."""
    children, failure = [], "did not end"
    while len(children) < 5000:
        try:
            pid = os.fork()
        except OSError as error:
            failure = errno.errorcode[error.errno]
            break
        if pid == 0:
            signal.pause()
            os._exit(0)
        children.append(pid)
    for pid in children:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    return f"{failure} after {len(children)}" if failure == "EAGAIN" and len(children) < 200 else failure


def escape_of_links():
    """Every way to the host's files through /proc that a link offers."""
    for pid in [p for p in os.listdir("/proc") if p.isdigit()]:
        for way in ("root", "cwd"):
            if os.path.exists(f"/proc/{pid}/{way}/var/lib/podwright"):
                return
    raise FileNotFoundError(errno.ENOENT, "no way")


VERSION_1 = "/sys/fs/cgroup/memory"
CGROUP = f"{VERSION_1}/memory.limit_in_bytes" if os.path.exists(VERSION_1) else "/sys/fs/cgroup/memory.max"


def attempts(other, secrets):
    yield "mount", lambda: syscall("mount", b"none", b"/tmp", b"tmpfs", 0, None)
    yield "remount-root", lambda: syscall("mount", None, b"/", None, 32, None)
    yield "fsopen", lambda: syscall("fsopen", b"tmpfs", 0)
    yield "umount-proc-masks", lambda: syscall("umount2", b"/proc/kcore", 0)
    yield "pivot-root", lambda: syscall("pivot_root", b"/", b"/")
    yield "chroot", lambda: os.chroot("/")
    yield "unshare-user", lambda: syscall("unshare", 0x10000000)
    yield "unshare-mount", lambda: syscall("unshare", 0x00020000)
    yield "setns", lambda: syscall("setns", os.open("/proc/self/ns/net", os.O_RDONLY), 0)
    yield "keyctl", lambda: syscall("keyctl", 0, -3, 0)
    yield "add-key", lambda: syscall("add_key", b"user", b"x", b"x", 1, -3)
    yield "bpf", lambda: syscall("bpf", 0, None, 0)
    yield "perf", lambda: syscall("perf_event_open", ctypes.create_string_buffer(128), 0, -1, -1, 0)
    yield "userfaultfd", lambda: syscall("userfaultfd", 0)
    yield "open-by-handle", lambda: syscall("open_by_handle_at", -100, ctypes.create_string_buffer(64), 0)
    yield "init-module", lambda: syscall("init_module", None, 0, b"")
    yield "kexec", lambda: syscall("kexec_load", 0, 0, None, 0)
    yield "iopl", lambda: syscall("iopl", 3)
    yield "acct", lambda: syscall("acct", None)
    yield "swapoff", lambda: syscall("swapoff", b"/none")
    yield "set-time", lambda: syscall("settimeofday", ctypes.create_string_buffer(16), None)
    yield "host-name", lambda: syscall("sethostname", b"x", 1)
    yield "raw-socket", lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    yield "packet-socket", lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    yield "ptrace-another-pod", lambda: syscall("ptrace", 16, other, 0, 0)
    yield "memory-of-another-pod", lambda: read(f"/proc/{other}/mem")
    yield "kill-another-pod", lambda: os.kill(other, 9)
    yield "sysrq", lambda: write("/proc/sysrq-trigger", "h")
    yield "proc-sys", lambda: write("/proc/sys/kernel/panic", "1")
    yield "core-pattern", lambda: write("/proc/sys/kernel/core_pattern", "|/x")
    yield "kcore", lambda: read("/proc/kcore")
    yield "sys", lambda: write("/sys/kernel/mm/transparent_hugepage/enabled", "never")
    yield "cgroup", lambda: write(CGROUP, "-1")
    yield "new-cgroup", lambda: os.mkdir(os.path.dirname(CGROUP) + "/x")
    yield "disk-device", lambda: os.mknod("/tmp/disk", 0o060600, os.makedev(254, 0))
    yield "memory-device", lambda: read("/dev/mem")
    yield "kernel-log", lambda: read("/dev/kmsg")
    yield "become-root", lambda: os.setuid(0)
    yield "own-group", lambda: os.setgroups([0])
    yield "write-root", lambda: write("/escaped", "x")
    yield "links", escape_of_links
    for number, path in enumerate(secrets):
        yield f"secret-{number}", lambda path=path: read(path)


def main():
    found = {}
    for name, attempt in attempts(int(sys.argv[1]), sys.argv[2:]):
        # Each in a process of its own: one that succeeds must not help the next.
        reader, writer = os.pipe()
        if (pid := os.fork()) == 0:
            try:
                attempt()
                os.write(writer, b"did")
            except OSError as error:
                os.write(writer, errno.errorcode.get(error.errno, str(error.errno)).encode())
            os._exit(0)
        os.close(writer)
        found[name] = os.read(reader, 64).decode()
        os.close(reader)
        os.waitpid(pid, 0)
    found["forks"] = forks()
    print(json.dumps(found))


main()
