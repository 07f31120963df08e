"""What every cluster has from its first second: system namespaces, the kubernetes Service, default roles."""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Sequence
from pathlib import Path

import orjson

from podwright.api.objects import Object, deepcopy
from podwright.api.resources import (
    CONFIGMAPS,
    NAMESPACES,
    SERVICES,
    Resource,
)
from podwright.api.status import ApiError
from podwright.apiserver import flowcontrol
from podwright.apiserver.authorization import bootstrap_policy
from podwright.apiserver.config import ApiServerConfig
from podwright.apiserver.requests import Objects, Writer

_log = logging.getLogger(__name__)

NAMESPACE_NAMES = ("default", "kube-system", "kube-public", "kube-node-lease")
_AUTHENTICATION = "extension-apiserver-authentication"
AUTHENTICATION = f"kube-system/{_AUTHENTICATION}"


async def namespaces(writer: Writer, objects: Objects) -> None:
    for name in NAMESPACE_NAMES:
        if objects.get(NAMESPACES, "", name) is None:
            await _create(writer, NAMESPACES, {"metadata": {"name": name}})


async def policy(writer: Writer, objects: Objects) -> None:
    written = await bootstrap_policy.ensure(writer, objects)
    if written:
        _log.info("wrote %d default roles and bindings", written)


async def flow_control(writer: Writer, objects: Objects) -> None:
    """The mandatory and the suggested configuration; a spec is set right unless the object is marked to be left
    alone. How much the exempt level lends is everybody's own."""
    for row, obj in flowcontrol.default_objects():
        present = objects.get(row, "", obj["metadata"]["name"])
        if present is None:
            await _create(writer, row, obj)
            continue
        kept = (present["metadata"].get("annotations") or {}).get(flowcontrol.AUTOUPDATE) == "true"
        wanted = {k: v for k, v in obj["spec"].items() if k != "exempt"}
        if kept and not flowcontrol.includes(present.get("spec"), wanted):
            await _update(writer, row, {**deepcopy(present), "spec": {**present["spec"], **wanted}})


def service_ip(cidr: str) -> str:
    """The first address of the Service range: the kubernetes Service's."""
    network = ipaddress.ip_network(cidr)
    return str(network[1])


async def kubernetes_service(writer: Writer, objects: Objects, config: ApiServerConfig, port: int) -> None:
    """The Service kubernetes in default. Its endpoints are kept by the servers themselves (peers.py)."""
    labels = {"component": "apiserver", "provider": "kubernetes"}
    if objects.get(SERVICES, "default", "kubernetes") is None:
        address = service_ip(config.service_cidr)
        await _create(
            writer, SERVICES,
            {
                "metadata": {"name": "kubernetes", "namespace": "default", "labels": labels},
                "spec": {
                    "type": "ClusterIP", "clusterIP": address, "clusterIPs": [address], "sessionAffinity": "None",
                    "ports": [{"name": "https", "protocol": "TCP", "port": 443, "targetPort": port}],
                },
            },
        )


async def client_authentication(writer: Writer, objects: Objects, config: ApiServerConfig) -> None:
    """The ConfigMap by which extension API servers learn how clients prove who they are."""
    data: dict[str, str] = {}
    if config.client_ca is not None:
        data["client-ca-file"] = _text(config.client_ca)
    if config.requestheader_client_ca is not None:
        data["requestheader-client-ca-file"] = _text(config.requestheader_client_ca)
        data["requestheader-allowed-names"] = _json(config.requestheader_allowed_names)
        data["requestheader-extra-headers-prefix"] = '["X-Remote-Extra-"]'
        data["requestheader-group-headers"] = '["X-Remote-Group"]'
        data["requestheader-uid-headers"] = '["X-Remote-Uid"]'
        data["requestheader-username-headers"] = '["X-Remote-User"]'
    obj: Object = {"metadata": {"name": _AUTHENTICATION, "namespace": "kube-system"}, "data": data}
    await ensure(writer, objects, CONFIGMAPS, obj, ("data",))


def _text(path: Path) -> str:
    return path.read_text()


def _json(values: Sequence[str]) -> str:
    return orjson.dumps(list(values)).decode()


async def _create(writer: Writer, resource: Resource, obj: Object) -> None:
    try:
        await writer.create(resource, obj)
    except ApiError as exc:
        if exc.code != 409:
            raise


async def _update(writer: Writer, resource: Resource, obj: Object) -> None:
    """Somebody who was faster is left to it."""
    try:
        await writer.update(resource, obj)
    except ApiError as exc:
        if exc.code != 409:
            raise


async def ensure(
    writer: Writer, objects: Objects, resource: Resource, wanted: Object, fields: tuple[str, ...]
) -> None:
    """Makes what is missing, and sets `fields` of what is not as wanted."""
    metadata = wanted["metadata"]
    present = objects.get(resource, metadata["namespace"], metadata["name"])
    if present is None:
        await _create(writer, resource, wanted)
        return
    if any(present.get(field) != wanted.get(field) for field in fields):
        await _update(writer, resource, {**deepcopy(present), **{field: wanted.get(field) for field in fields}})
