"""Real etcd processes for tests."""

from __future__ import annotations

import asyncio
import contextlib
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

START_TIMEOUT = 60.0


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


class EtcdMember:
    """One etcd process on loopback."""

    def __init__(
        self, directory: Path, name: str, peers: dict[str, int], client_port: int, flags: Sequence[str]
    ) -> None:
        self.port = client_port
        scheme = "https" if "--cert-file" in flags else "http"
        client_url = f"{scheme}://127.0.0.1:{client_port}"
        cluster = ",".join(f"{peer}=http://127.0.0.1:{port}" for peer, port in peers.items())
        peer_url = f"http://127.0.0.1:{peers[name]}"
        self._log = directory / f"{name}.log"
        self._command = [
            shutil.which("etcd") or "etcd",
            *("--name", name, "--data-dir", str(directory / name)),
            *("--listen-client-urls", client_url, "--advertise-client-urls", client_url),
            *("--listen-peer-urls", peer_url, "--initial-advertise-peer-urls", peer_url),
            *("--initial-cluster", cluster, "--initial-cluster-token", str(peers)),
            *("--heartbeat-interval", "50", "--election-timeout", "500"),
            *flags,
        ]
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    async def ready(self) -> None:
        """Waits until the client port is served, which etcd does once it has a leader."""
        assert self.process is not None
        async with asyncio.timeout(START_TIMEOUT):
            while True:
                if self.process.poll() is not None:
                    raise RuntimeError(f"etcd ended: {self._log.read_text()[-2000:]}")
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                except OSError:
                    await asyncio.sleep(0.01)
                    continue
                writer.close()
                return

    async def active_peers(self) -> int:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(b"GET /metrics HTTP/1.0\r\n\r\n")
        text = (await reader.read()).decode()
        writer.close()
        return len(re.findall(r"^etcd_network_active_peers\{.*\} [1-9]", text, re.MULTILINE))

    def kill(self) -> None:
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(signal.SIGKILL)  # ends a stopped process too
            self.process.wait()
            self.process = None

    def pause(self) -> None:
        """Returns once every thread stands still: until then one may still answer."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)
        deadline = time.monotonic() + 60
        while any(_state(thread) not in "TtZ" for thread in Path(f"/proc/{self.process.pid}/task").iterdir()):
            assert time.monotonic() < deadline, "it does not stop"
            time.sleep(0.001)

    def resume(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)


async def joined(members: Sequence[EtcdMember]) -> None:
    """Waits until every two of the members (plain text ones) are connected: only then may the next one fail."""
    async with asyncio.timeout(START_TIMEOUT):
        for member in members:
            while await member.active_peers() < len(members) - 1:
                await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def etcd_cluster(directory: Path, size: int, flags: Sequence[str] = ()) -> AsyncIterator[list[EtcdMember]]:
    """Members that are ready, killed at the end."""
    ports = free_ports(2 * size)
    peers = {f"member-{number}": ports[number] for number in range(size)}
    members = [EtcdMember(directory, name, peers, ports[size + n], flags) for n, name in enumerate(peers)]
    try:
        for member in members:
            member.start()
        for member in members:
            await member.ready()
        yield members
    finally:
        for member in members:
            member.kill()


def _state(thread: Path) -> str:
    """A letter, as proc(5) has it; Z for a thread that is no more."""
    try:
        return (thread / "stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"
