from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from podwright.cluster import processes
from podwright.cluster.files import write_json
from podwright.cluster.layout import Layout


@pytest.fixture
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    monkeypatch.setattr("podwright.cluster.layout.RUN_ROOT", tmp_path / "run")
    (tmp_path / "run" / "c").mkdir(parents=True)
    return Layout("c", tmp_path / "data")


def test_a_reused_pid_is_not_mistaken_for_ours(layout: Layout) -> None:
    record = {"pid": os.getpid(), "started": processes.start_time(os.getpid()) - 1}
    write_json(layout.process_file("server"), record)
    assert processes.find(layout, "server") is None
    write_json(layout.process_file("server"), {**record, "started": record["started"] + 1})
    assert processes.find(layout, "server") is not None


def test_stop_terminates_and_then_kills(layout: Layout) -> None:
    code = "import signal,time; signal.signal(15, signal.SIG_IGN); print(1, flush=True); time.sleep(60)"
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()
    processes.stop(processes.Process(child.pid, processes.start_time(child.pid)), timeout=0.2)
    assert child.wait(60) == -9


def test_the_first_failure_ends_the_wait_with_its_reason(layout: Layout) -> None:
    reader, writer = os.pipe()
    os.write(writer, b"making keys\nfailed no room\n")
    seen: list[tuple[str, str]] = []
    with pytest.raises(processes.StartFailed, match="server: no room"):
        processes.await_ready({"server": reader}, layout, timeout=5, progress=lambda *a: seen.append(a))
    assert seen == [("server", "making keys")]
    os.close(writer)


def test_a_process_that_ends_early_shows_its_log(layout: Layout) -> None:
    layout.log_file("server").parent.mkdir(parents=True)
    layout.log_file("server").write_text("Traceback …\nValueError: why\n")
    reader, writer = os.pipe()
    os.close(writer)
    with pytest.raises(processes.StartFailed, match="ValueError: why"):
        processes.await_ready({"server": reader}, layout, timeout=5)
