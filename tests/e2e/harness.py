"""Clusters for end-to-end tests: started and seen through the front door only (podwright, kubectl, HTTPS)."""

from __future__ import annotations

import base64
import json
import os
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

BIN = Path(sys.executable).parent
MANIFESTS = Path(__file__).resolve().parents[3] / "shared" / "manifests" / "pods"


class Timeout(AssertionError):
    """A condition did not come true in time."""


def until(condition: Callable[[], Any], what: str = "", timeout: float = 120) -> Any:
    """The condition's first true value. An AssertionError or KeyError in it means "not yet"."""
    deadline = time.monotonic() + timeout
    last: Exception | None = None
    while True:
        try:
            value = condition()
            if value:
                return value
        except (AssertionError, KeyError, IndexError) as failed:
            last = failed
        if time.monotonic() > deadline:
            raise Timeout(f"not within {timeout:.0f}s: {what or condition} {last or ''}")
        time.sleep(0.03)


@dataclass
class Cluster:
    """A running cluster; everything else a test needs follows from its kubeconfig."""

    name: str
    kubeconfig: Path
    flags: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.environment = {**os.environ, "KUBECONFIG": str(self.kubeconfig)}

    def podwright(self, *arguments: str, check: bool = True, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        command = [str(BIN / "podwright"), arguments[0]]
        done = subprocess.run(
            [*command, *arguments[1:], "--name", self.name],
            env=self.environment, capture_output=True, text=True, timeout=timeout, check=False,
        )  # fmt: skip
        assert not check or done.returncode == 0, f"podwright {arguments}: {done.stdout}\n{done.stderr}"
        return done

    def up(self) -> None:
        self.podwright("up", "--kubeconfig", str(self.kubeconfig), *self.flags)

    def kubectl(self, *arguments: str, given: str | None = None, timeout: float = 120) -> str:
        done = self.try_kubectl(*arguments, given=given, timeout=timeout)
        assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr}"
        return done.stdout

    def try_kubectl(
        self, *arguments: str, given: str | None = None, timeout: float = 120
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(BIN / "kubectl"), *arguments],
            env=self.environment, input=given, capture_output=True, text=True, timeout=timeout, check=False,
        )  # fmt: skip

    def apply(self, *objects: dict[str, Any]) -> None:
        self.kubectl("apply", "-f", "-", given=yaml.safe_dump_all(objects))

    def get(self, *arguments: str) -> Any:
        return json.loads(self.kubectl("get", *arguments, "-o", "json"))

    def pod(self, name: str, namespace: str = "default") -> dict[str, Any]:
        return dict(self.get("pod", name, "-n", namespace))

    def running(self, name: str, timeout: float = 120) -> dict[str, Any]:
        """The Pod once every container is ready."""
        return dict(until(lambda: self._ready(name), f"pod {name} ready", timeout))

    def _ready(self, name: str) -> dict[str, Any] | None:
        pod = self.pod(name)
        return pod if has_condition(pod, "Ready") else None

    def unschedulable(self, name: str, why: str) -> None:
        """Waits until the Pod's first condition says so: another reason may come before it."""
        def told() -> bool:
            conditions = self.pod(name)["status"].get("conditions")
            return bool(conditions) and why in conditions[0]["message"]

        until(told, f"pod {name} waits: {why}")

    def phase(self, name: str, phase: str, timeout: float = 120) -> dict[str, Any]:
        def reached() -> dict[str, Any] | None:
            pod = self.pod(name)
            return pod if pod["status"].get("phase") == phase else None

        return dict(until(reached, f"pod {name} {phase}", timeout))

    def gone(self, kind: str, name: str, timeout: float = 120) -> None:
        until(lambda: self.try_kubectl("get", kind, name).returncode != 0, f"{kind} {name} gone", timeout)

    def events(self, name: str) -> list[tuple[str, str]]:
        found = self.get("events", "--field-selector", f"involvedObject.name={name}")["items"]
        return [(e["reason"], e.get("message", "")) for e in found]

    def request(
        self,
        method: str,
        path: str,
        body: bytes | str | dict[str, Any] | None = None,
        *,
        content_type: str = "application/json",
        token: str | None = None,
        anonymous: bool = False,
        headers: dict[str, str] | None = None,
    ) -> tuple[int, Any]:
        """A bare HTTPS call, as the admin unless `token` or `anonymous` says otherwise."""
        config = yaml.safe_load(self.kubeconfig.read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        context = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
        if token is None and not anonymous:
            pair = self.kubeconfig.with_name("admin.pem")
            pair.write_bytes(
                base64.b64decode(user["client-certificate-data"]) + base64.b64decode(user["client-key-data"])
            )
            context.load_cert_chain(pair)
        data = json.dumps(body).encode() if isinstance(body, dict) else body.encode() if isinstance(body, str) else body
        request = urllib.request.Request(cluster["server"] + path, data=data, method=method, headers=headers or {})
        if data is not None:
            request.add_header("Content-Type", content_type)
        if token:
            request.add_header("Authorization", f"Bearer {token}")
        try:
            with urllib.request.urlopen(request, context=context, timeout=60) as answer:
                return answer.status, _parsed(answer.read())
        except urllib.error.HTTPError as refused:
            return refused.code, _parsed(refused.read())


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return body.decode(errors="replace")


def has_condition(obj: dict[str, Any], kind: str, status: str = "True") -> bool:
    conditions = obj.get("status", {}).get("conditions") or []
    return any(c["type"] == kind and c["status"] == status for c in conditions)


def container_status(pod: dict[str, Any], name: str) -> dict[str, Any]:
    return next(s for s in pod["status"]["containerStatuses"] if s["name"] == name)


def busybox(name: str, command: str, **more: Any) -> dict[str, Any]:
    """A container that runs a shell command."""
    return {"name": name, "image": "busybox:1.36", "command": ["sh", "-c", command], **more}


def pod(name: str, *containers: dict[str, Any], labels: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, **({"labels": labels} if labels else {})},
        "spec": {"terminationGracePeriodSeconds": 1, "containers": list(containers), **spec},
    }


def host_pids(pod: dict[str, Any]) -> dict[str, int]:
    """Container name → pid on the host, found by the container's id in /proc/PID/cgroup."""
    found = {}
    for status in pod["status"]["containerStatuses"]:
        identity = status["containerID"].partition("://")[2]
        pids = [
            int(entry.name)
            for entry in Path("/proc").iterdir()
            if entry.name.isdigit() and _in_cgroup(entry, identity)
        ]
        # The first process is the one whose parent is outside: pids wrap around, so the smallest says nothing.
        (found[status["name"]],) = (pid for pid in pids if _parent(pid) not in pids)
    return found


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return pid  # It ended meanwhile, so it was a child.


def _in_cgroup(process: Path, identity: str) -> bool:
    try:
        return f"/{identity}" in (process / "cgroup").read_text()
    except OSError:
        return False


def namespace_of(pid: int, kind: str) -> str:
    return os.readlink(f"/proc/{pid}/ns/{kind}")
