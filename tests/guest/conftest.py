"""Tests that need a host with cgroup v2: such a machine, or the guest that ``make test-v2`` boots. In the guest nothing
is skipped."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.node.runtime.conftest import busybox_archive, engine_name, mark, node

__all__ = ["busybox_archive", "engine_name", "mark", "node"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if "PODWRIGHT_GUEST" not in os.environ and not Path("/sys/fs/cgroup/cgroup.controllers").exists():
        for item in items:
            if item.path.parent == Path(__file__).parent:
                item.add_marker(pytest.mark.skip(reason="needs cgroup v2: make test-v2 boots a guest that has it"))
