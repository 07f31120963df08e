"""The core of ``make test-v2``, part of ``make test``: control groups of version 2, which users have, in a guest, while
the other tests take what the host has."""

from __future__ import annotations

import sys

import pytest
from tests.guest import machine


@pytest.mark.timeout(580)
def test_limits_hold_under_cgroup_v2() -> None:
    command = [sys.executable, "-m", "pytest", "tests/guest/test_limits.py", "-k", "crun", "-q", "--color", "no"]
    code, said = machine.run([*command, "-p", "no:cacheprovider"], timeout=560)
    print(said[-8000:])
    assert code == 0
    assert "3 passed" in said
