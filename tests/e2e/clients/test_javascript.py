from __future__ import annotations

import re
import subprocess
from pathlib import Path

from tests.e2e.harness import Cluster

WALK = Path(__file__).with_name("walk.mjs")
ENTRY = Path(__file__).parents[3] / "build/clients/node_modules/@kubernetes/client-node/dist/index.js"


def test_client_node(cluster: Cluster, web: str) -> None:
    assert ENTRY.exists(), "scripts/test_clients.py installs it: run make setup"
    done = subprocess.run(
        ["node", str(WALK), web],
        env={**cluster.environment, "CLIENT": str(ENTRY)}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"after {done.stdout.split()}: {done.stderr}"
    assert done.stdout.split() == re.findall(r"^  async (\w+)\(", WALK.read_text(), re.M)
