"""The order of the files. With `--dist loadfile --no-loadscope-reorder` a worker takes the next file when it has done
one: the long ones come first, so that none of them is what everybody waits for in the end."""

from __future__ import annotations

from pathlib import Path

import pytest

_LONG = (
    "e2e/test_faults.py", "node/test_cgroup_v2.py", "e2e/test_up_down.py", "e2e/test_resources.py", "e2e/test_ha.py",
    "e2e/test_join.py", "e2e/test_scheduling_conformance.py", "e2e/test_network_policy.py", "e2e/test_controllers.py",
    "e2e/test_manifests.py", "e2e/test_cri_runtime.py", "e2e/test_recovery.py", "e2e/test_commands.py",
    "e2e/test_storage_conformance.py", "e2e/test_apps_conformance.py", "e2e/test_kubectl.py", "e2e/test_pods.py",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    order = {here / name: number for number, name in enumerate(_LONG)}
    items.sort(key=lambda item: order.get(item.path, len(order)))
