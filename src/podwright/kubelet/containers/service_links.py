"""Environment variables for Services, in the form of Docker links (documentation page "Service", "Environment
variables")."""

from __future__ import annotations

from collections.abc import Iterable

from podwright.api import objects
from podwright.api.objects import Object

_MASTER = "kubernetes"


def service_variables(services: Iterable[Object], namespace: str, enabled: bool) -> dict[str, str]:
    """Those of the Pod's namespace if it wants them, and always those of the API server's Service."""
    wanted: dict[str, Object] = {}
    for service in services:
        if not _has_cluster_ip(service):
            continue
        name, where = objects.name(service), objects.namespace(service)
        if where == namespace and (enabled or (where == "default" and name == _MASTER)):
            wanted[name] = service
        elif where == "default" and name == _MASTER:
            wanted.setdefault(name, service)
    found: dict[str, str] = {}
    for name in sorted(wanted):
        found.update(_variables(wanted[name]))
    return found


def _has_cluster_ip(service: Object) -> bool:
    return (service.get("spec") or {}).get("clusterIP") not in (None, "", "None")


def _variables(service: Object) -> dict[str, str]:
    spec = service["spec"]
    ports = spec.get("ports") or ()
    if not ports:
        return {}
    name = objects.name(service).upper().replace("-", "_")
    address = spec["clusterIP"]
    host = f"[{address}]" if ":" in address else address
    found = {f"{name}_SERVICE_HOST": address, f"{name}_SERVICE_PORT": str(ports[0]["port"])}
    for port in ports:
        if port.get("name"):
            found[f"{name}_SERVICE_PORT_{port['name'].upper().replace('-', '_')}"] = str(port["port"])
    for index, port in enumerate(ports):
        protocol = port.get("protocol") or "TCP"
        prefix = f"{name}_PORT_{port['port']}_{protocol}"
        url = f"{protocol.lower()}://{host}:{port['port']}"
        if index == 0:
            found[f"{name}_PORT"] = url
        found[prefix] = url
        found[f"{prefix}_PROTO"] = protocol.lower()
        found[f"{prefix}_PORT"] = str(port["port"])
        found[f"{prefix}_ADDR"] = address
    return found
