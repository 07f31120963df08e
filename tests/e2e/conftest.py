from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from tests.e2e.harness import Cluster

FAST_RESTARTS = ("--crash-loop-initial", "0.3", "--crash-loop-maximum", "2")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failure shows what the cluster's processes said last: one that died says why."""
    report = yield
    used = getattr(item, "funcargs", {}).get("cluster")
    if report.failed and isinstance(used, Cluster):
        for log in sorted(Path("/var/lib/podwright", used.name).glob("log/*.log")):
            report.sections.append((f"{log.name} of {used.name}", log.read_text(errors="replace")[-3000:]))
    return report


@pytest.fixture(scope="module")
def cluster(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """One cluster a module. The module's FLAGS go to ``podwright up``; its `prepare` is given their {tmp} first. The
    name has our pid, so that two runs of the tests on one machine do not meet."""
    directory: Path = tmp_path_factory.mktemp("cluster")
    getattr(request.module, "prepare", lambda _: None)(directory)
    flags = tuple(getattr(request.module, "FLAGS", FAST_RESTARTS))
    name = f"t-{request.module.__name__.rpartition('.')[2].removeprefix('test_').replace('_', '-')[:24]}-{os.getpid()}"
    started = Cluster(name, directory / "kubeconfig", tuple(f.format(tmp=directory) for f in flags))
    started.podwright("down", "--purge", check=False)
    try:
        started.up()
        yield started
    finally:
        started.podwright("down", "--purge")
