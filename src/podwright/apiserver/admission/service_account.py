"""ServiceAccount: every Pod runs as an account of its namespace and finds that account's token mounted (Kubernetes
documentation, "Managing Service Accounts", "ServiceAccount admission controller")."""

from __future__ import annotations

from collections.abc import Iterator

from podwright.api.objects import Object
from podwright.api.resources import SERVICEACCOUNTS
from podwright.apiserver.admission.arrivals import get_soon
from podwright.apiserver.admission.chain import Plugin
from podwright.apiserver.admission.refusals import forbidden
from podwright.apiserver.identity import random_letters
from podwright.apiserver.requests import AdmissionRequest, Objects

MOUNT_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"
VOLUME_PREFIX = "kube-api-access-"
MIRROR = "kubernetes.io/config.mirror"
ENFORCE_MOUNTABLE_SECRETS = "kubernetes.io/enforce-mountable-secrets"
EXPIRATION_SECONDS = 3607
DEFAULT_ACCOUNT_WAIT = 1.5
"""Seconds that a Pod waits for its new namespace's "default" account to be made."""
_LETTERS = "bcdfghjklmnpqrstvwxz2456789"


class ServiceAccount(Plugin):
    name = "ServiceAccount"

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    def handles(self, request: AdmissionRequest) -> bool:
        if request.resource.plural != "pods" or request.resource.group:
            return False
        if request.subresource == "ephemeralcontainers":
            return request.operation == "UPDATE"
        return request.operation == "CREATE" and not request.subresource

    async def admit(self, request: AdmissionRequest) -> None:
        pod = request.object
        if pod is None or request.operation != "CREATE" or _is_mirror(pod):
            return
        spec = pod["spec"]
        if not spec.get("serviceAccountName"):
            spec["serviceAccountName"] = "default"
        spec["serviceAccount"] = spec["serviceAccountName"]
        account = await self._account(request, spec["serviceAccountName"])
        if _automounts(spec, account):
            _mount_token(spec)
        if not spec.get("imagePullSecrets") and account.get("imagePullSecrets"):
            spec["imagePullSecrets"] = [dict(reference) for reference in account["imagePullSecrets"]]

    async def validate(self, request: AdmissionRequest) -> None:
        pod = request.object
        if pod is None:
            return
        spec = pod["spec"]
        if _is_mirror(pod):
            self._validate_mirror(request, spec)
            return
        account = await self._account(request, spec.get("serviceAccountName") or "default")
        annotations = account["metadata"].get("annotations")
        if annotations and annotations.get(ENFORCE_MOUNTABLE_SECRETS) == "true":
            self._check_secrets(request, spec, account)

    async def _account(self, request: AdmissionRequest, name: str) -> Object:
        ns = request.namespace
        account = self._objects.get(SERVICEACCOUNTS, ns, name)
        if account is None:
            wait = DEFAULT_ACCOUNT_WAIT if name == "default" else 0.0
            account = await get_soon(self._objects, SERVICEACCOUNTS, ns, name, wait)
            if account is None:
                raise forbidden(
                    request, f'error looking up service account {ns}/{name}: serviceaccount "{name}" not found'
                )
        return account

    def _validate_mirror(self, request: AdmissionRequest, spec: Object) -> None:
        if spec.get("serviceAccountName"):
            raise forbidden(request, "a mirror pod may not reference service accounts")
        if any(True for _ in _secret_names(spec)):
            raise forbidden(request, "a mirror pod may not reference secrets")
        for volume in spec.get("volumes") or ():
            for source in (volume.get("projected") or {}).get("sources") or ():
                if "serviceAccountToken" in source:
                    raise forbidden(request, "a mirror pod may not use ServiceAccountToken volume projections")

    def _check_secrets(self, request: AdmissionRequest, spec: Object, account: Object) -> None:
        mountable = {reference.get("name") for reference in account.get("secrets") or ()}
        called = account["metadata"]["name"]
        for where, secret in _secret_names(spec):
            if secret not in mountable:
                raise forbidden(
                    request,
                    f'{where} with secret.secretName="{secret}" is not allowed because service account {called} does'
                    " not reference that secret",
                )
        pullable = {reference.get("name") for reference in account.get("imagePullSecrets") or ()}
        for index, reference in enumerate(spec.get("imagePullSecrets") or ()):
            if reference.get("name") not in pullable:
                raise forbidden(
                    request,
                    f'imagePullSecrets[{index}].name="{reference.get("name")}" is not allowed because service account'
                    f" {called} does not reference that imagePullSecret",
                )


def _is_mirror(pod: Object) -> bool:
    annotations = pod["metadata"].get("annotations")
    return bool(annotations) and MIRROR in annotations


def _automounts(spec: Object, account: Object) -> bool:
    if spec.get("automountServiceAccountToken") is not None:
        return bool(spec["automountServiceAccountToken"])
    if account.get("automountServiceAccountToken") is not None:
        return bool(account["automountServiceAccountToken"])
    return True


def _mount_token(spec: Object) -> None:
    """Gives each container that has nothing there the token volume, and the Pod the volume if one needs it."""
    volumes = spec.get("volumes") or []
    name = next((v["name"] for v in volumes if str(v.get("name", "")).startswith(VOLUME_PREFIX)), "")
    exists = bool(name)
    name = name or VOLUME_PREFIX + random_letters(_LETTERS, 5)
    needed = False
    for part in ("initContainers", "containers"):
        for container in spec.get(part) or ():
            mounts = container.get("volumeMounts") or []
            if any(mount.get("mountPath") == MOUNT_PATH for mount in mounts):
                continue
            container["volumeMounts"] = [*mounts, {"name": name, "readOnly": True, "mountPath": MOUNT_PATH}]
            needed = True
    if needed and not exists:
        spec["volumes"] = [*volumes, token_volume(name)]


def token_volume(name: str) -> Object:
    """Token, cluster CA and namespace, projected into one directory."""
    return {
        "name": name,
        "projected": {
            "defaultMode": 420,
            "sources": [
                {"serviceAccountToken": {"expirationSeconds": EXPIRATION_SECONDS, "path": "token"}},
                {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
                {
                    "downwardAPI": {
                        "items": [
                            {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}
                        ]
                    }
                },
            ],
        },
    }


def _secret_names(spec: Object) -> Iterator[tuple[str, str]]:
    """(where, name) for each Secret that volumes and containers name."""
    for volume in spec.get("volumes") or ():
        if source := volume.get("secret"):
            yield f'volume {volume.get("name")}', source.get("secretName") or ""
    for part in ("initContainers", "containers", "ephemeralContainers"):
        for container in spec.get(part) or ():
            for variable in container.get("env") or ():
                if reference := (variable.get("valueFrom") or {}).get("secretKeyRef"):
                    yield f'{part} {container.get("name")} with envVar {variable.get("name")}', reference["name"]
            for source in container.get("envFrom") or ():
                if reference := source.get("secretRef"):
                    yield f'{part} {container.get("name")} with envFrom', reference.get("name") or ""
