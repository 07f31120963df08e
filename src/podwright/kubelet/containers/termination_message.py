"""The last words of a container: the file at terminationMessagePath, or the end of its log
(documentation page "Determine the Reason for Pod Failure")."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

from podwright.kubelet import labels
from podwright.runtime.protocol import Container

MAX_FILE = 4096
MAX_LOG_BYTES = 2048
MAX_LOG_LINES = 80
MAX_POD = 12 * 1024
"""Bytes that all containers of a Pod share: each may have its part."""


def prepare(directory: Path) -> Path:
    """An empty file that the container may write, whoever it runs as."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / uuid.uuid4().hex[:8]
    path.touch()
    path.chmod(0o666)
    return path


def read(container: Container, longest: int = MAX_FILE) -> str:
    """What the exited container left behind, "" if nothing; not more than `longest` bytes."""
    return _whole(container).encode()[:longest].decode(errors="ignore")


def _whole(container: Container) -> str:
    path = container.annotations.get(labels.MESSAGE_PATH, "")
    text = ""
    for mount in container.mounts:
        if mount.container_path == path and mount.host_path:
            text = _head(Path(mount.host_path))
    if text or container.annotations.get(labels.MESSAGE_POLICY) != "FallbackToLogsOnError" or not container.exit_code:
        return text
    return _log_tail(container.log_path)


def _head(path: Path) -> str:
    try:
        # The container may have put anything there: a link is not followed, a fifo not waited for.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return ""
    try:
        return os.read(descriptor, MAX_FILE).decode(errors="replace")
    except OSError:
        return ""
    finally:
        os.close(descriptor)


def _log_tail(path: Path) -> str:
    """The last 2048 bytes or 80 lines of a log in CRI's format, without its stamps."""
    try:
        with path.open("rb") as log:
            log.seek(0, os.SEEK_END)
            log.seek(max(0, log.tell() - 4 * MAX_LOG_BYTES - 64 * MAX_LOG_LINES))
            lines = log.read().split(b"\n")
    except OSError:
        return ""
    text = b""
    for line in [entry for entry in lines if entry][-MAX_LOG_LINES:]:
        parts = line.split(b" ", 3)
        if len(parts) == 4:
            text += parts[3] + (b"\n" if parts[2].startswith(b"F") else b"")
    return text[-MAX_LOG_BYTES:].decode(errors="replace")
