"""Machines on one network: each a network namespace and a mount namespace with its own clusters and state."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from tests.e2e.harness import BIN

from podwright.cluster import cgroups

STATE, RUN = Path("/var/lib/podwright"), Path("/run/podwright")
_CUT = """
table inet cut {
    chain in { type filter hook input priority -300; policy drop; iif lo accept; }
    chain out { type filter hook output priority -300; policy drop; oif lo accept; }
}
"""


class Machine:
    """`address` is its own on the link that it shares with the others and with us."""

    def __init__(self, link: Link, number: int, directory: Path) -> None:
        self.name = f"{link.name}n{number}"
        self.address = f"{link.network}.{number + 1}"
        self.directory = directory
        self._end = f"{link.name}v{number}"
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        for part in ("lib/archives", "run", "log"):
            (directory / part).mkdir(parents=True)
        for archive in (STATE / "archives").iterdir():
            shutil.copy(archive, directory / "lib/archives")
        _ip(
            f"netns add {self.name}",
            f"link add {self._end} type veth peer name eth0 netns {self.name}",
            f"link set {self._end} master {link.name} up",
            f"-n {self.name} addr add {self.address}/24 dev eth0",
            f"-n {self.name} link set lo up", f"-n {self.name} link set eth0 up",
            f"-n {self.name} route add default via {link.network}.1",
        )  # fmt: skip

    def _command(self, command: tuple[str, ...]) -> list[str]:
        script = f"""
            mount --make-rprivate / && mkdir -p {STATE} {RUN} &&
            mount --bind {self.directory}/lib {STATE} && mount --bind {self.directory}/run {RUN} &&
            exec {shlex.join(command)}
        """
        return ["nsenter", f"--net=/run/netns/{self.name}", "unshare", "--mount", "sh", "-c", script]

    def run(self, *command: str, timeout: float = 90) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self._command(command), capture_output=True, text=True, timeout=timeout, check=False
        )

    def podwright(self, *arguments: str) -> str:
        done = self.run(str(BIN / "podwright"), *arguments)
        assert done.returncode == 0, f"podwright {arguments} on {self.name}: {done.stdout}\n{done.stderr}"
        return done.stdout

    def start(self, process: str, *command: str) -> None:
        """Keeps it running until :meth:`end`."""
        with (self.directory / "log" / process).open("ab") as log:
            self._processes[process] = subprocess.Popen(
                self._command(command), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def send(self, process: str, number: signal.Signals) -> None:
        self._processes[process].send_signal(number)

    def end(self, process: str, number: signal.Signals = signal.SIGKILL) -> None:
        """And waits until it has ended."""
        ended = self._processes.pop(process)
        ended.send_signal(number)
        ended.wait(60)

    def pid(self, process: str) -> int:
        """0 if it does not run."""
        return self._processes[process].pid if process in self._processes else 0

    def log(self, process: str) -> str:
        return (self.directory / "log" / process).read_text()

    def cut_off(self) -> None:
        """From now on all packets to and from it are lost."""
        self._nft(_CUT)

    def mend(self) -> None:
        self._nft("delete table inet cut")

    def _nft(self, rules: str) -> None:
        subprocess.run(["ip", "netns", "exec", self.name, "nft", "-f", "-"], input=rules, text=True, check=True)

    def close(self) -> None:
        for process in list(self._processes):
            self.end(process)
        self._switch_off()
        subprocess.run(["ip", "netns", "del", self.name], check=False, capture_output=True)
        # The kernel takes its time to end a namespace.
        subprocess.run(["ip", "link", "del", self._end], check=False, capture_output=True)


    def _switch_off(self) -> None:
        """Whatever runs there yet, a node that joined above all, ends. Control groups do not go with a machine of ours:
        the kernel, whose they are, goes on."""
        while pids := subprocess.run(["ip", "netns", "pids", self.name], capture_output=True, check=False).stdout:
            subprocess.run(["kill", "-9", *pids.decode().split()], check=False, capture_output=True)
        for cluster in (self.directory / "lib").glob("*/cluster.json"):
            group = f"/podwright/{cluster.parent.name}"
            cgroups.kill(group)
            cgroups.remove(group)


class Link:
    """A bridge of our own, on which `.1` is us."""

    def __init__(self, name: str) -> None:
        number = os.getpid() % 250
        self.name = name
        self.network = f"172.28.{number}"
        _ip(f"link add {name} type bridge", f"addr add {self.network}.1/24 dev {name}", f"link set {name} up")

    def close(self) -> None:
        subprocess.run(["ip", "link", "del", self.name], check=False, capture_output=True)


@contextlib.contextmanager
def machines(directory: Path, count: int) -> Iterator[list[Machine]]:
    """So many of them, gone afterwards with all that was started on them."""
    with contextlib.ExitStack() as stack:
        link = Link(f"pwm{os.getpid() % 10000}")
        stack.callback(link.close)
        made = []
        for number in range(1, count + 1):
            made.append(Machine(link, number, directory / f"machine-{number}"))
            stack.callback(made[-1].close)
        yield made


def wait_for_port(machine: Machine, port: int, timeout: float = 60) -> None:
    import socket

    deadline = time.monotonic() + timeout
    while True:
        try:
            socket.create_connection((machine.address, port), timeout=1).close()
            return
        except OSError:
            assert time.monotonic() < deadline, f"{machine.name}: nothing listens on port {port}"
            time.sleep(0.05)


def _ip(*lines: str) -> None:
    for line in lines:
        done = subprocess.run(["ip", *line.split()], check=False, capture_output=True, text=True)
        assert done.returncode == 0, f"ip {line}: {done.stderr}"
