"""What the demos share: a cluster of their own, the real kubectl, and steps that say how long they took."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).resolve().parent
BIN = Path(sys.executable).parent


class Walk:
    """A printed walk over one cluster. The cluster is gone at the end unless KEEP=1 is set."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.keep = os.environ.get("KEEP") == "1"
        self._scratch = tempfile.TemporaryDirectory(prefix="podwright-demo-")
        self.directory = Path(self._scratch.name)
        self._begin = time.monotonic()
        self._kubeconfig: Path | None = None if self.keep else self.directory / "kubeconfig"

    def step(self, title: str) -> None:
        print(f"\n[{time.monotonic() - self._begin:6.2f}s] {title}")

    def podwright(self, *arguments: str) -> None:
        print(f"  $ podwright {' '.join(arguments)}")
        done = subprocess.run([BIN / "podwright", *arguments], env=self._environment(), check=False)
        if done.returncode:
            raise SystemExit(f"podwright {arguments[0]} failed")

    def kubectl(self, *arguments: str, show: bool = True) -> str:
        """Runs kubectl, prints the command and its output, and gives the output."""
        context = "podwright" if self.name == "podwright" else f"podwright-{self.name}"
        if show:
            print(f"  $ kubectl {' '.join(arguments)}")
        begin = time.monotonic()
        done = subprocess.run(
            [BIN / "kubectl", "--context", context, *arguments],
            env=self._environment(), capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise SystemExit(f"kubectl {' '.join(arguments)}: {done.stderr}")
        if show:
            print("".join(f"    {line}\n" for line in done.stdout.splitlines()), end="")
            print(f"    ({time.monotonic() - begin:.2f}s)")
        return done.stdout

    def until(self, what: str, condition: Callable[[], bool], timeout: float = 60.0) -> float:
        """Waits for a condition; gives and prints the seconds it took."""
        begin = time.monotonic()
        while not condition():
            if time.monotonic() - begin > timeout:
                raise SystemExit(f"not within {timeout:.0f}s: {what}")
            time.sleep(0.05)
        took = time.monotonic() - begin
        print(f"    {what}: after {took:.2f}s")
        return took

    def end(self) -> None:
        if self.keep:
            print(f"\nThe cluster stays up: kubectl get pods -A; podwright down --name {self.name} --purge ends it.")
        else:
            self.step("Down, and nothing is left")
            self.podwright("down", "--name", self.name, "--purge")
        self._scratch.cleanup()

    def _environment(self) -> dict[str, str]:
        environment = dict(os.environ)
        if self._kubeconfig is not None:
            environment["KUBECONFIG"] = str(self._kubeconfig)
        return environment
