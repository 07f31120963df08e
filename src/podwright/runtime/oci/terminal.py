"""Starts a process in a container on a terminal of its own.

crun hands the terminal's master end over a socket, so that not a byte is copied in between; runc cannot do that for a
process that it waits for, and copies between the container's terminal and one of ours.
"""

from __future__ import annotations

import array
import os
import select
import socket
import subprocess
import termios
import time
from pathlib import Path

_PATIENCE = 30.0


class NoTerminal(Exception):
    """The runtime ended, or was silent, before it sent one. It has said why elsewhere."""


def start_with_socket(
    command: list[str], place: Path, pass_fds: tuple[int, ...]
) -> tuple[subprocess.Popen[bytes], int]:
    """Runs crun with ``--console-socket`` added before its last argument; gives the process and the master end, -1 if
    none came. Blocks."""
    path = place / f"console-{os.urandom(6).hex()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        listener.listen(1)
        try:
            process = subprocess.Popen(
                [*command[:-1], f"--console-socket={path}", command[-1]], pass_fds=pass_fds, stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/", start_new_session=True,
            )
            try:
                return process, _receive(listener, process)
            except NoTerminal:
                return process, -1
        finally:
            path.unlink()


def _receive(listener: socket.socket, process: subprocess.Popen[bytes]) -> int:
    ended = os.pidfd_open(process.pid)
    try:
        deadline = time.monotonic() + _PATIENCE
        ready, _, _ = select.select([listener.fileno(), ended], [], [], _PATIENCE)
        if listener.fileno() not in ready:
            raise NoTerminal
        connection, _ = listener.accept()
        with connection:
            connection.settimeout(max(0.1, deadline - time.monotonic()))
            descriptors = array.array("i")
            _, ancillary, _, _ = connection.recvmsg(4096, socket.CMSG_LEN(descriptors.itemsize))
            for level, kind, data in ancillary:
                if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                    descriptors.frombytes(data[: descriptors.itemsize])
            if not descriptors:
                raise NoTerminal
            return descriptors[0]
    except TimeoutError:
        raise NoTerminal from None
    finally:
        os.close(ended)


def start_with_copy(command: list[str], pass_fds: tuple[int, ...]) -> tuple[subprocess.Popen[bytes], int]:
    """Runs runc on a terminal of ours; gives the process and our end. Blocks."""
    master, slave = os.openpty()
    try:
        process = subprocess.Popen(
            command, pass_fds=pass_fds, stdin=slave, stdout=slave, stderr=slave, cwd="/", start_new_session=True
        )
    except BaseException:
        os.close(master)
        raise
    finally:
        os.close(slave)
    return process, master


def set_size(fd: int, *, width: int, height: int) -> None:
    termios.tcsetwinsize(fd, (height, width))
