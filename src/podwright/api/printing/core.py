"""The rows of the core group's kinds but Pods."""

from __future__ import annotations

from podwright.api.objects import Object
from podwright.api.printing import events
from podwright.api.printing.tables import (
    AGE,
    NAME,
    Cells,
    Printer,
    Printers,
    age,
    containers,
    integer,
    labels,
    meta,
    more,
    name,
    spec,
    status,
    text,
    wide,
)

_ROLE_PREFIX = "node-role.kubernetes.io/"
_MODES = {"ReadWriteOnce": "RWO", "ReadOnlyMany": "ROX", "ReadWriteMany": "RWX", "ReadWriteOncePod": "RWOP"}
_BETA_CLASS = "volume.beta.kubernetes.io/storage-class"


def _namespace(obj: Object, now: float) -> Cells:
    return [name(obj), status(obj).get("phase") or "", age(obj, now)]


def _node(node: Object, now: float) -> Cells:
    node_status, info = status(node), status(node).get("nodeInfo") or {}
    ready = next((c for c in node_status.get("conditions") or () if c.get("type") == "Ready"), None)
    words = ["Unknown" if ready is None else "Ready" if ready.get("status") == "True" else "NotReady"]
    if spec(node).get("unschedulable"):
        words.append("SchedulingDisabled")
    roles = set()
    for key, value in (meta(node).get("labels") or {}).items():
        if key.startswith(_ROLE_PREFIX) and len(key) > len(_ROLE_PREFIX):
            roles.add(key.removeprefix(_ROLE_PREFIX))
        elif key == "kubernetes.io/role" and value:
            roles.add(value)
    addresses: dict[str, str] = {}
    for address in node_status.get("addresses") or ():
        addresses.setdefault(address.get("type") or "", address.get("address") or "")
    return [
        name(node), ",".join(words), ",".join(sorted(roles)) or "<none>", age(node, now),
        info.get("kubeletVersion") or "", addresses.get("InternalIP", "<none>"), addresses.get("ExternalIP", "<none>"),
        info.get("osImage") or "<unknown>", info.get("kernelVersion") or "<unknown>",
        info.get("containerRuntimeVersion") or "<unknown>",
    ]


def load_balancer(obj: Object) -> str:
    entries = (status(obj).get("loadBalancer") or {}).get("ingress") or ()
    return ",".join(sorted({e.get("ip") or e.get("hostname") or "" for e in entries} - {""}))


def _external(service: Object) -> str:
    service_spec = spec(service)
    kind, external = service_spec.get("type"), service_spec.get("externalIPs") or []
    if kind in ("ClusterIP", "NodePort"):
        return ",".join(external) or "<none>"
    if kind == "LoadBalancer":
        balanced = load_balancer(service)
        return ",".join([*([balanced] if balanced else []), *external]) or "<pending>"
    return str(service_spec.get("externalName") or "") if kind == "ExternalName" else "<unknown>"


def _port(port: Object) -> str:
    number, node_port = port.get("port") or 0, port.get("nodePort")
    where = f"{number}:{node_port}" if node_port else str(number)
    return f"{where}/{port.get('protocol') or ''}"


def _service(service: Object, now: float) -> Cells:
    service_spec = spec(service)
    addresses = service_spec.get("clusterIPs") or [service_spec.get("clusterIP") or "<none>"]
    return [
        name(service),
        service_spec.get("type") or "",
        addresses[0],
        _external(service),
        ",".join(map(_port, service_spec.get("ports") or ())) or "<none>",
        age(service, now),
        labels(service_spec.get("selector")),
    ]


def _endpoints(obj: Object, now: float) -> Cells:
    listed, count = [], 0
    for subset in obj.get("subsets") or ():
        addresses = [a.get("ip") or "" for a in subset.get("addresses") or ()]
        for port in subset.get("ports") or (None,):
            count += len(addresses)
            for address in addresses:
                if port is None:
                    listed.append(address)
                else:
                    host = f"[{address}]" if ":" in address else address
                    listed.append(f"{host}:{port.get('port') or 0}")
    return [name(obj), more(listed, count, 3) if obj.get("subsets") else "<none>", age(obj, now)]


def _config_map(obj: Object, now: float) -> Cells:
    return [name(obj), len(obj.get("data") or ()) + len(obj.get("binaryData") or ()), age(obj, now)]


def _secret(obj: Object, now: float) -> Cells:
    return [name(obj), obj.get("type") or "", len(obj.get("data") or ()), age(obj, now)]


def _service_account(obj: Object, now: float) -> Cells:
    return [name(obj), len(obj.get("secrets") or ()), age(obj, now)]


def _replication_controller(obj: Object, now: float) -> Cells:
    now_status = status(obj)
    return [
        name(obj), spec(obj).get("replicas") or 0, now_status.get("replicas") or 0,
        now_status.get("readyReplicas") or 0, age(obj, now), *containers(spec(obj).get("template")),
        labels(spec(obj).get("selector")),
    ]


def _quota(obj: Object, now: float) -> Cells:
    hard, used = status(obj).get("hard") or {}, status(obj).get("used") or {}
    columns: dict[bool, list[str]] = {False: [], True: []}
    for resource in sorted(hard):
        columns[resource.startswith("limits.")].append(f"{resource}: {used.get(resource, '0')}/{hard[resource]}")
    return [name(obj), ", ".join(columns[False]), ", ".join(columns[True]), age(obj, now)]


def _access_modes(modes: list[str] | None) -> str:
    return ",".join(short for mode, short in _MODES.items() if mode in (modes or ()))


def _phase(obj: Object) -> str:
    return "Terminating" if meta(obj).get("deletionTimestamp") else str(status(obj).get("phase") or "")


def _storage_class(obj: Object) -> str:
    annotated = (meta(obj).get("annotations") or {}).get(_BETA_CLASS)
    return str(annotated if annotated is not None else spec(obj).get("storageClassName") or "")


def _set(value: str | None) -> str:
    return "<unset>" if value is None else value


def _persistent_volume(obj: Object, now: float) -> Cells:
    volume = spec(obj)
    claim = volume.get("claimRef")
    return [
        name(obj),
        (volume.get("capacity") or {}).get("storage", "0"),
        _access_modes(volume.get("accessModes")),
        volume.get("persistentVolumeReclaimPolicy") or "",
        _phase(obj),
        f"{claim.get('namespace') or ''}/{claim.get('name') or ''}" if claim else "",
        _storage_class(obj),
        _set(volume.get("volumeAttributesClassName")),
        status(obj).get("reason") or "",
        age(obj, now),
        _set(volume.get("volumeMode")),
    ]


def _claim(obj: Object, now: float) -> Cells:
    claim, bound = spec(obj), bool(spec(obj).get("volumeName"))
    return [
        name(obj),
        _phase(obj),
        claim.get("volumeName") or "",
        (status(obj).get("capacity") or {}).get("storage", "0") if bound else "",
        _access_modes(status(obj).get("accessModes")) if bound else "",
        _storage_class(obj),
        _set(claim.get("volumeAttributesClassName")),
        age(obj, now),
        _set(claim.get("volumeMode")),
    ]


def _component(obj: Object, _now: float) -> Cells:
    condition = next((c for c in obj.get("conditions") or () if c.get("type") == "Healthy"), None)
    if condition is None:
        return [name(obj), "Unknown", "", ""]
    word = "Healthy" if condition.get("status") == "True" else "Unhealthy"
    return [name(obj), word, condition.get("message") or "", condition.get("error") or ""]


_VOLUME_TEXT = text(
    "Capacity", "Access Modes", "Reclaim Policy", "Status", "Claim", "StorageClass", "VolumeAttributesClass", "Reason"
)
_CLAIM_TEXT = text("Status", "Volume", "Capacity", "Access Modes", "StorageClass", "VolumeAttributesClass")
_NODE_WIDE = wide("Internal-IP", "External-IP", "OS-Image", "Kernel-Version", "Container-Runtime")

PRINTERS: Printers = {
    **events.PRINTERS,
    ("", "ComponentStatus"): Printer((NAME, *text("Status", "Message", "Error")), _component),
    ("", "ConfigMap"): Printer((NAME, *text("Data"), AGE), _config_map),
    ("", "Endpoints"): Printer((NAME, *text("Endpoints"), AGE), _endpoints),
    ("", "Namespace"): Printer((NAME, *text("Status"), AGE), _namespace),
    ("", "Node"): Printer((NAME, *text("Status", "Roles"), AGE, *text("Version"), *_NODE_WIDE), _node),
    ("", "PersistentVolume"): Printer((NAME, *_VOLUME_TEXT, AGE, *wide("VolumeMode")), _persistent_volume),
    ("", "PersistentVolumeClaim"): Printer((NAME, *_CLAIM_TEXT, AGE, *wide("VolumeMode")), _claim),
    ("", "ReplicationController"): Printer(
        (
            NAME, integer("Desired"), integer("Current"), integer("Ready"), AGE,
            *wide("Containers", "Images", "Selector"),
        ),
        _replication_controller,
    ),
    ("", "ResourceQuota"): Printer((NAME, *text("Request", "Limit"), AGE), _quota),
    ("", "Secret"): Printer((NAME, *text("Type", "Data"), AGE), _secret),
    ("", "Service"): Printer(
        (NAME, *text("Type", "Cluster-IP", "External-IP", "Port(s)"), AGE, *wide("Selector")), _service
    ),
    ("", "ServiceAccount"): Printer((NAME, *text("Secrets"), AGE), _service_account),
}
