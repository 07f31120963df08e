"""Counts what a test could leave behind on the host: compare a snapshot before with one after."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path


def subnet() -> str:
    """The first three bytes of addresses that no other worker of this run of the tests uses, nor, most likely, another
    run. Children have those of their parent."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    return os.environ.setdefault(f"PODWRIGHT_TEST_SUBNET_{worker}", f"10.213.{os.getppid() % 60 * 4 + worker % 4}")


@dataclass(frozen=True)
class Snapshot:
    """Things by name. Only those whose name or path has one of the marks given to :func:`take` count, so that other
    tests may run beside."""

    processes: frozenset[str]
    mounts: frozenset[str]
    namespaces: frozenset[str]
    links: frozenset[str]
    routes: frozenset[str]
    tables: frozenset[str]
    cgroups: frozenset[str]
    files: frozenset[str]

    def leaked_since(self, before: Snapshot) -> dict[str, list[str]]:
        """What is here and was not there, by sort; empty if all is well."""
        found: dict[str, list[str]] = {}
        for sort in fields(self):
            more = getattr(self, sort.name) - getattr(before, sort.name)
            if more:
                found[sort.name] = sorted(more)
        return found


def take(marks: Iterable[str], *, link_prefixes: Iterable[str] = (), directories: Iterable[Path] = ()) -> Snapshot:
    """`marks`: strings that everything made under test has in its path or command line (a cluster's name, a directory).
    `link_prefixes`: beginnings of network interface names. `directories`: places whose files count."""
    marks, prefixes = tuple(marks), tuple(link_prefixes)
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    return Snapshot(
        processes=frozenset(_processes(marks)),
        mounts=frozenset(m for m in mounts if _marked(m, marks)),
        namespaces=frozenset(n for n in _run("ip", "netns", "list").split() if _marked(n, marks)),
        links=frozenset(link for link in links() if link.partition(" ")[2].startswith(prefixes or ("\0",))),
        routes=frozenset(line for line in _run("ip", "route").splitlines() if _marked(line, tuple(prefixes))),
        tables=frozenset(t for t in _run("nft", "list", "tables").splitlines() if _marked(t, marks)),
        cgroups=frozenset(_cgroups(marks)),
        files=frozenset(str(p) for d in directories if d.exists() for p in [d, *d.rglob("*")]),
    )


def links() -> frozenset[str]:
    """Every network interface of this namespace as "index name": a name may come again, an index does not."""
    return frozenset(
        f"{line.split(':')[0]} {line.split()[1].partition('@')[0].rstrip(':')}"
        for line in _run("ip", "-o", "link").splitlines()
    )


def _marked(text: str, marks: tuple[str, ...]) -> bool:
    return any(mark in text for mark in marks)


def _processes(marks: tuple[str, ...]) -> Iterator[str]:
    for entry in os.listdir("/proc"):
        if entry.isdigit() and int(entry) != os.getpid():
            with contextlib.suppress(OSError):
                command = Path("/proc", entry, "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                groups = Path("/proc", entry, "cgroup").read_text()
                if (_marked(command, marks) and "pytest" not in command) or _marked(groups, marks):
                    yield f"{entry} {command.strip()}"


def _cgroups(marks: tuple[str, ...]) -> Iterator[str]:
    for directory, below, _ in os.walk("/sys/fs/cgroup"):
        for name in below:
            path = os.path.join(directory, name)
            if _marked(path, marks):
                yield path


def _run(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


@contextlib.contextmanager
def none_left(
    marks: Iterable[str], *, link_prefixes: Iterable[str] = (), directories: Iterable[Path] = (), patience: float = 30.0
) -> Iterator[None]:
    """Fails if anything more is there after the block than before, also if the block failed. The kernel takes some
    things down a moment after their last user is gone: they get `patience` seconds."""
    arguments = {"link_prefixes": tuple(link_prefixes), "directories": tuple(directories)}
    marks = tuple(marks)
    before = take(marks, **arguments)  # type: ignore[arg-type]
    try:
        yield
    finally:
        deadline = time.monotonic() + patience
        while leaked := take(marks, **arguments).leaked_since(before):  # type: ignore[arg-type]
            if time.monotonic() > deadline:
                raise AssertionError(f"left behind: {leaked}")
            time.sleep(0.02)
