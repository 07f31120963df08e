"""Which objects a Pod uses by name: Secrets, ConfigMaps, claims, its ServiceAccount."""

from __future__ import annotations

from collections.abc import Iterator

from podwright.api.objects import Object, name, namespace

Vertex = tuple[str, str, str]
"""(plural resource, namespace, name)."""


def _sources(volume: Object) -> Iterator[tuple[str, str]]:
    if source := volume.get("secret"):
        yield "secrets", source.get("secretName") or ""
    if source := volume.get("configMap"):
        yield "configmaps", source.get("name") or ""
    if source := volume.get("persistentVolumeClaim"):
        yield "persistentvolumeclaims", source.get("claimName") or ""
    for kind in ("cephfs", "flexVolume", "rbd", "scaleIO", "storageos", "iscsi"):
        if reference := (volume.get(kind) or {}).get("secretRef"):
            yield "secrets", reference.get("name") or ""
    if azure := volume.get("azureFile"):
        yield "secrets", azure.get("secretName") or ""
    if reference := (volume.get("csi") or {}).get("nodePublishSecretRef"):
        yield "secrets", reference.get("name") or ""
    for projection in (volume.get("projected") or {}).get("sources") or ():
        if source := projection.get("secret"):
            yield "secrets", source.get("name") or ""
        if source := projection.get("configMap"):
            yield "configmaps", source.get("name") or ""


def _environment(container: Object) -> Iterator[tuple[str, str]]:
    for source in container.get("envFrom") or ():
        if reference := source.get("secretRef"):
            yield "secrets", reference.get("name") or ""
        if reference := source.get("configMapRef"):
            yield "configmaps", reference.get("name") or ""
    for variable in container.get("env") or ():
        source = variable.get("valueFrom") or {}
        if reference := source.get("secretKeyRef"):
            yield "secrets", reference.get("name") or ""
        if reference := source.get("configMapKeyRef"):
            yield "configmaps", reference.get("name") or ""


def used_by(pod: Object) -> set[Vertex]:
    """The namespaced objects that a Pod's spec names, and its ServiceAccount."""
    spec, ns = pod.get("spec") or {}, namespace(pod)
    found: set[Vertex] = set()
    if account := spec.get("serviceAccountName"):
        found.add(("serviceaccounts", ns, account))
    for reference in spec.get("imagePullSecrets") or ():
        found.add(("secrets", ns, reference.get("name") or ""))
    for volume in spec.get("volumes") or ():
        found.update((kind, ns, nm) for kind, nm in _sources(volume))
        if "ephemeral" in volume:
            found.add(("persistentvolumeclaims", ns, f"{name(pod)}-{volume['name']}"))
    for part in ("containers", "initContainers", "ephemeralContainers"):
        for container in spec.get(part) or ():
            found.update((kind, ns, nm) for kind, nm in _environment(container))
    for claim in (pod.get("status") or {}).get("resourceClaimStatuses") or ():
        found.add(("resourceclaims", ns, claim.get("resourceClaimName") or ""))
    for claim in spec.get("resourceClaims") or ():
        if claim.get("resourceClaimName"):
            found.add(("resourceclaims", ns, claim["resourceClaimName"]))
    return {vertex for vertex in found if vertex[2]}
