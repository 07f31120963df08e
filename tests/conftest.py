"""The order of the files. With `--dist loadfile --no-loadscope-reorder` a worker takes the next file when it has done
one: the long ones come first, so that none of them is what everybody waits for in the end."""

from __future__ import annotations

from pathlib import Path

import pytest

_LONG = (
    "e2e/test_faults.py", "e2e/test_manifests.py", "node/test_cgroup_v2.py", "e2e/test_node_conformance.py",
    "e2e/test_network_conformance.py", "e2e/test_apps_conformance.py", "e2e/test_network_policy.py", "e2e/test_ha.py",
    "e2e/test_resources.py", "e2e/test_sudden_deaths.py", "e2e/test_storage_conformance.py", "e2e/test_volumes.py",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    order = {here / name: number for number, name in enumerate(_LONG)}
    items.sort(key=lambda item: order.get(item.path, len(order)))
