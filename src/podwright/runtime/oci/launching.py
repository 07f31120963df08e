"""The last step of a start, and what a user is told when it fails."""

from __future__ import annotations

import re
import subprocess

from podwright.runtime.oci.conmon import CannotLaunch
from podwright.runtime.oci.engine import Engine
from podwright.runtime.oci.paths import Paths
from podwright.runtime.oci.records import ContainerRecord

_TIMEOUT = 30.0
_NOT_FOUND = re.compile(r"executable file `?\"?(?P<name>[^`\"]*)`?\"? not found|exec: \"(?P<quoted>[^\"]*)\"")
_MESSAGES = (
    ("not found in $path", "executable file not found in $PATH"),
    ("permission denied", "permission denied"),
    ("is a directory", "is a directory"),
    ("exec format error", "exec format error"),
    ("no such file or directory", "no such file or directory"),
)


def start_created(engine: Engine, paths: Paths, container_id: str) -> None:
    """Lets the process of a created container go. Blocks. Raises CannotLaunch."""
    done = subprocess.run(
        [engine.path, "--root", str(paths.oci), "start", container_id], stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=_TIMEOUT, cwd="/", check=False,
    )
    if done.returncode != 0:
        raise CannotLaunch(done.stderr.decode(errors="replace").strip())


def explain(complaint: str, record: ContainerRecord) -> tuple[str, str]:
    """(reason, message) for a low-level runtime's complaint. crun and runc word theirs differently; what is common
    among users gets runc's words, which are upstream's."""
    lower = complaint.lower()
    command = (record.config.command or record.config.args or ("",))[0]
    found = _NOT_FOUND.search(complaint)
    if found:
        command = found["name"] or found["quoted"] or command
    for needle, words in _MESSAGES:
        if needle not in lower or not ("exec" in lower or "open executable" in lower):
            continue
        if "not found" in words and "/" in command:
            words = "no such file or directory"
        if words == "no such file or directory":
            words = f"stat {command}: {words}"
        return (
            "RunContainerError",
            f'OCI runtime create failed: unable to start container process: exec: "{command}": {words}',
        )
    return "RunContainerError", f"OCI runtime create failed: {complaint}"
