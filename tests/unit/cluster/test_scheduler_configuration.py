"""Which word on leader election counts: a flag's before the file's, the file's before the default."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from podwright.cli.server import server
from podwright.client.leader_election import Timing
from podwright.cluster import component_process, components
from podwright.scheduler.config import LeaderElectionConfig

_HEADER = "apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\n"


def started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str | None, *flags: str) -> LeaderElectionConfig:
    """What the scheduler of ``podwright server`` goes by."""
    found: dict[str, Any] = {}
    monkeypatch.setattr(component_process, "run_components", lambda *_, **given: found.update(given))
    (tmp_path / "kubeconfig").write_text("")
    arguments = ["--components", "scheduler", "--kubeconfig", str(tmp_path / "kubeconfig"), *flags]
    if file is not None:
        (tmp_path / "scheduler.yaml").write_text(_HEADER + file)
        arguments += ["--config", str(tmp_path / "scheduler.yaml")]
    result = CliRunner().invoke(server, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    made = components.scheduler(lambda *_: None, found["scheduler"], election=found["election"])  # type: ignore[arg-type,return-value]
    return made._config.leader_election


@pytest.mark.parametrize(
    ("file", "flags", "elects", "timing"),
    [
        (None, (), True, Timing()),
        (None, ("--no-leader-elect",), False, Timing()),
        (None, ("--leader-elect-lease-duration", "30"), True, Timing(30)),
        ("", (), True, Timing()),
        ("leaderElection: {leaderElect: false}\n", (), False, Timing()),
        ("leaderElection: {leaderElect: false}\n", ("--leader-elect",), True, Timing()),
        ("leaderElection: {leaderElect: true}\n", ("--no-leader-elect",), False, Timing()),
        ("leaderElection: {leaseDuration: 1m, retryPeriod: 3s}\n", (), True, Timing(60, 10, 3)),
        (
            "leaderElection: {leaseDuration: 1m, retryPeriod: 3s}\n", ("--leader-elect-retry-period", "4"), True,
            Timing(60, 10, 4),
        ),
    ],
)  # fmt: skip
def test_leader_election(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str | None, flags: tuple[str, ...], elects: bool,
    timing: Timing,
) -> None:
    election = started(tmp_path, monkeypatch, file, *flags)
    assert (bool(election.leader_elect), election.timing) == (elects, timing)


def test_timings_that_cannot_work_are_refused(tmp_path: Path) -> None:
    (tmp_path / "kubeconfig").write_text("")
    (tmp_path / "scheduler.yaml").write_text(_HEADER + "leaderElection: {leaseDuration: 5s}\n")
    arguments = ["--components", "scheduler", "--kubeconfig", str(tmp_path / "kubeconfig")]
    for more in (["--config", str(tmp_path / "scheduler.yaml")], ["--leader-elect-renew-deadline", "20"]):
        result = CliRunner().invoke(server, [*arguments, *more])
        assert result.exit_code == 1
        assert "renew deadline < lease duration must hold" in result.output
