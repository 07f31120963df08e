from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.clients.widgets import DEFINITION, NAME
from tests.e2e.harness import Cluster, until

OPERATOR = Path(__file__).with_name("operator.py")


@pytest.fixture
def operator(cluster: Cluster, tmp_path: Path) -> Iterator[None]:
    certificate, key = tmp_path / "tls.crt", tmp_path / "tls.key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1",
         "-subj", "/CN=operator", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out",
         str(certificate)],
        check=True, capture_output=True,
    )  # fmt: skip
    cluster.apply(DEFINITION)
    cluster.kubectl("wait", "--for=condition=Established", f"crd/{NAME}")
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "operated"}})
    log = tmp_path / "operator.log"
    with log.open("w") as output:
        running = subprocess.Popen(
            [sys.executable, "-m", "kopf", "run", str(OPERATOR), "--standalone", "--namespace", "operated"],
            env={**cluster.environment, "CERTIFICATE": str(certificate), "KEY": str(key)},
            stdout=output, stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        until(lambda: _webhooks(cluster, "validating") and _webhooks(cluster, "mutating"), "the operator's webhooks")
        yield
    finally:
        running.terminate()
        running.wait(60)
        print(log.read_text()[-20000:])
        cluster.kubectl("delete", "namespace", "operated", "--wait=false")
        for kind in ("validating", "mutating"):
            cluster.kubectl("delete", f"{kind}webhookconfigurations", "--all")


def _webhooks(cluster: Cluster, kind: str) -> bool:
    items = cluster.get(f"{kind}webhookconfigurations")["items"]
    return any(w["clientConfig"].get("caBundle") for item in items for w in item.get("webhooks") or [])


def widget(**spec: Any) -> dict[str, Any]:
    meta = {"name": "w", "namespace": "operated"}
    return {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": meta, "spec": spec}


def test_a_kopf_operator(cluster: Cluster, operator: None) -> None:
    def child() -> str:
        return str(cluster.get("configmap", "w", "-n", "operated")["data"]["replicas"])

    def status() -> dict[str, Any]:
        return dict(cluster.get("widget", "w", "-n", "operated").get("status") or {})

    code, refused = cluster.request("POST", "/apis/example.com/v1/namespaces/operated/widgets", widget(replicas=13))
    assert code == 418 and "thirteen brings bad luck" in refused["message"]
    cluster.apply(widget(replicas=1))
    until(lambda: child() == "1", "the child")
    until(lambda: status()["create"] == {"made": "w"}, "the handler's result")
    meta = cluster.get("widget", "w", "-n", "operated")["metadata"]
    assert meta["finalizers"] == ["operator.example.com/done"]
    assert meta["annotations"]["operator.example.com/marked"] == "yes"
    cluster.kubectl("scale", "widget/w", "--replicas=2", "-n", "operated")
    until(lambda: child() == "2" and status()["replicas"] == 2, "the change")
    until(lambda: status()["ticks"] == 3, "the timer")
    cluster.kubectl("delete", "widget", "w", "-n", "operated")
    assert cluster.get("configmap", "w-was-here", "-n", "operated")
    until(lambda: cluster.try_kubectl("get", "configmap", "w", "-n", "operated").returncode, "the child collected")
