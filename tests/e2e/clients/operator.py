"""A small kopf operator: a ConfigMap a Widget, status, a timer, a finalizer's work, and an admission webhook."""

from __future__ import annotations

import os
from typing import Any

import kopf
import kubernetes_asyncio as kubernetes


@kopf.on.startup()
async def configure(settings: kopf.OperatorSettings, **_: Any) -> None:
    certificate, key = os.environ["CERTIFICATE"], os.environ["KEY"]
    settings.admission.server = kopf.WebhookServer(
        addr="127.0.0.1", certfile=certificate, pkeyfile=key, cafile=certificate
    )
    settings.admission.managed = "widgets.operator.example.com"
    settings.persistence.finalizer = "operator.example.com/done"
    await kubernetes.config.load_kube_config(os.environ["KUBECONFIG"])


@kopf.on.validate("widgets")
def refuse_thirteen(spec: kopf.Spec, **_: Any) -> None:
    if spec.get("replicas") == 13:
        raise kopf.AdmissionError("thirteen brings bad luck", code=418)


@kopf.on.mutate("widgets", operation="CREATE")
def mark(patch: kopf.Patch, **_: Any) -> None:
    patch.meta.annotations["operator.example.com/marked"] = "yes"


@kopf.on.create("widgets")
async def create(name: str, namespace: str, spec: kopf.Spec, body: kopf.Body, **_: Any) -> dict[str, Any]:
    child = {"metadata": {"name": name}, "data": {"replicas": str(spec["replicas"])}}
    kopf.adopt(child, owner=body)
    async with kubernetes.client.ApiClient() as api:
        await kubernetes.client.CoreV1Api(api).create_namespaced_config_map(namespace, child)
    return {"made": name}


@kopf.on.update("widgets", field="spec.replicas")
async def update(name: str, namespace: str, new: int, patch: kopf.Patch, **_: Any) -> None:
    async with kubernetes.client.ApiClient() as api:
        changed = {"data": {"replicas": str(new)}}
        await kubernetes.client.CoreV1Api(api).patch_namespaced_config_map(name, namespace, changed)
    patch.status["replicas"] = new


@kopf.timer("widgets", interval=0.3)
def tick(patch: kopf.Patch, status: kopf.Status, **_: Any) -> None:
    patch.status["ticks"] = min(status.get("ticks", 0) + 1, 3)


@kopf.on.delete("widgets", backoff=0.5)
async def delete(namespace: str, name: str, **_: Any) -> None:
    """Kopf calls it once more when it was told of a change late: it may have been here before."""
    note = {"metadata": {"name": f"{name}-was-here"}}
    async with kubernetes.client.ApiClient() as api:
        try:
            await kubernetes.client.CoreV1Api(api).create_namespaced_config_map(namespace, note)
        except kubernetes.client.ApiException as refused:
            if refused.status != 409:
                raise
