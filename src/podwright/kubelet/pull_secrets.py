"""imagePullSecrets: which credentials go with which image (documentation page "Pull an Image from a Private Registry",
"Images", "Interpretation of config.json")."""

from __future__ import annotations

import base64
import binascii
import fnmatch
import json
import logging
from collections.abc import Iterable
from typing import Any

from podwright.api.objects import Object
from podwright.kubelet.image_access import Credential
from podwright.runtime.protocol import RegistryAuth

log = logging.getLogger(__name__)

_HUB = ("docker.io", "index.docker.io", "registry-1.docker.io")


def matching(secrets: Iterable[Object], reference: str) -> list[Credential]:
    """Credentials for the image, the most specific entries first."""
    found: list[tuple[int, Credential]] = []
    for secret in secrets:
        meta = secret.get("metadata") or {}
        which = "/".join(meta.get(name, "") for name in ("namespace", "name", "uid"))
        for entry, auth in _entries(secret):
            if _matches(entry, reference):
                found.append((len(entry), Credential(auth, which)))
    found.sort(key=lambda pair: -pair[0])
    return [credential for _, credential in found]


def _entries(secret: Object) -> Iterable[tuple[str, RegistryAuth]]:
    data = secret.get("data") or {}
    try:
        if ".dockerconfigjson" in data:
            auths = json.loads(base64.b64decode(data[".dockerconfigjson"])).get("auths") or {}
        elif ".dockercfg" in data:
            auths = json.loads(base64.b64decode(data[".dockercfg"]))
        else:
            return
        for server, entry in auths.items():
            yield server, _auth(entry)
    except (ValueError, AttributeError, TypeError) as wrong:
        log.warning("pull secret %s cannot be read: %s", (secret.get("metadata") or {}).get("name"), wrong)


def _auth(entry: dict[str, Any]) -> RegistryAuth:
    user, password = entry.get("username") or "", entry.get("password") or ""
    if entry.get("auth") and not user:
        try:
            user, _, password = base64.b64decode(entry["auth"]).decode().rstrip("\0").partition(":")
        except (binascii.Error, UnicodeDecodeError) as wrong:
            raise ValueError(f"auth field: {wrong}") from wrong
    return RegistryAuth(user, password, entry.get("identitytoken") or "", entry.get("registrytoken") or "")


def _split(reference: str) -> tuple[str, str]:
    """The registry's host (with port) and the repository's path."""
    first, slash, rest = reference.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        return first, rest
    return "docker.io", reference if "/" in reference else f"library/{reference}"


def _matches(entry: str, reference: str) -> bool:
    host, path = _split(reference)
    server = entry.removeprefix("https://").removeprefix("http://").rstrip("/")
    wanted_host, _, wanted_path = server.partition("/")
    wanted_path = wanted_path.removeprefix("v1").removeprefix("v2").lstrip("/")
    if host in _HUB and wanted_host in _HUB:
        return path.startswith(wanted_path)
    if wanted_host.count(".") != host.count(".") or not fnmatch.fnmatch(host, wanted_host):
        return False
    return path.startswith(wanted_path)
