"""The real helm: install, upgrade, roll back, test and uninstall a chart with a hook, a CRD and things to wait for."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.e2e.clients.widgets import DEFINITION
from tests.e2e.harness import Cluster, busybox, pod

HELM = Path(__file__).parents[3] / "build/clients/helm/helm"


@pytest.fixture(scope="module")
def chart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("chart")
    (directory / "templates").mkdir()
    (directory / "crds").mkdir()
    (directory / "Chart.yaml").write_text("{apiVersion: v2, name: demo, version: 1.0.0, appVersion: '1'}")
    (directory / "values.yaml").write_text("{replicas: 1}")
    labels = {"app": "demo"}
    template = {
        "metadata": {"labels": labels},
        "spec": {"terminationGracePeriodSeconds": 0, "containers": [busybox("main", "sleep 1000")]},
    }
    deployment: dict[str, Any] = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "NAME"},
        "spec": {"replicas": "REPLICAS", "selector": {"matchLabels": labels}, "template": template},
    }
    text = yaml.safe_dump(deployment).replace("NAME", "{{ .Release.Name }}")
    (directory / "templates/deployment.yaml").write_text(text.replace("REPLICAS", "{{ .Values.replicas }}"))
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "demo"},
        "spec": {"selector": labels, "ports": [{"port": 80}]},
    }
    widget = {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "demo"}, "spec": {"replicas": 1}}
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": "before",
            "annotations": {"helm.sh/hook": "pre-install", "helm.sh/hook-delete-policy": "hook-succeeded"},
        },
        "spec": {
            "template": {"spec": {"restartPolicy": "Never", "containers": [busybox("main", "echo before")]}},
        },
    }
    check = pod("check", busybox("main", "echo checked"), restartPolicy="Never")
    check["metadata"]["annotations"] = {"helm.sh/hook": "test"}
    for name, obj in (("service", service), ("widget", widget), ("before", job), ("check", check)):
        (directory / f"templates/{name}.yaml").write_text(yaml.safe_dump(obj))
    (directory / "crds/widgets.yaml").write_text(yaml.safe_dump(DEFINITION))
    return directory


def test_a_release_from_install_to_uninstall(cluster: Cluster, chart: Path) -> None:
    assert HELM.exists(), "scripts/test_clients.py installs it: run make setup"

    def helm(*arguments: str) -> str:
        done = subprocess.run(
            [str(HELM), *arguments], env=cluster.environment, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, f"helm {' '.join(arguments)}: {done.stderr}"
        return done.stdout

    def replicas() -> int:
        return int(cluster.get("deployment", "demo")["status"]["readyReplicas"])

    cluster.kubectl("delete", "crd", DEFINITION["metadata"]["name"], "--ignore-not-found")
    helm("install", "demo", str(chart), "--wait", "--timeout", "40s")
    assert replicas() == 1
    managed = cluster.get("deployment", "demo", "--show-managed-fields")["metadata"]["managedFields"]
    assert {("helm", "Apply")} <= {(m["manager"], m["operation"]) for m in managed}
    assert cluster.try_kubectl("get", "job", "before").returncode != 0
    stored = cluster.get("secret", "sh.helm.release.v1.demo.v1")
    assert stored["type"] == "helm.sh/release.v1" and stored["metadata"]["labels"]["status"] == "deployed"
    helm("upgrade", "demo", str(chart), "--set", "replicas=2", "--wait", "--timeout", "40s")
    assert replicas() == 2
    assert "Phase:          Succeeded" in helm("test", "demo", "--timeout", "40s")
    helm("rollback", "demo", "1", "--wait", "--timeout", "40s")
    assert replicas() == 1
    history = json.loads(helm("history", "demo", "-o", "json"))
    assert [(r["revision"], r["status"]) for r in history] == [
        (1, "superseded"), (2, "superseded"), (3, "deployed"),
    ]  # fmt: skip
    assert [r["name"] for r in json.loads(helm("list", "-o", "json"))] == ["demo"]
    helm("uninstall", "demo", "--wait", "--timeout", "40s")
    for kind in ("deployment", "service", "widget"):
        assert cluster.try_kubectl("get", kind, "demo").returncode != 0
