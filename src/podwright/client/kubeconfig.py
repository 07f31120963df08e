"""Reading a kubeconfig, as kubectl's users have it: which servers, which CA, and who one is there."""

from __future__ import annotations

import base64
import ssl
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from podwright.client.https import HttpsTransport


class BadKubeconfig(ValueError):
    """The message names the file and what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Kubeconfig:
    """One context of a kubeconfig. `ca`, `certificate` and `key` are PEM, empty if the file has none."""

    server: str
    ca: bytes = b""
    certificate: bytes = b""
    key: bytes = b""
    token: str = ""
    token_file: Path | None = None
    insecure: bool = False

    def transport(self, user_agent: str, *, token: str | None = None) -> HttpsTransport:
        """A transport as the kubeconfig's user, or with `token` as whom that token names (without the certificate).

        Raises:
            BadKubeconfig: certificate and key do not fit each other, or are no PEM.
        """
        try:
            tls = ssl.create_default_context(cadata=self.ca.decode() if self.ca else None)
            if self.insecure:
                tls.check_hostname = False
                tls.verify_mode = ssl.CERT_NONE
            if self.certificate and token is None:
                # OpenSSL reads certificates from files only.
                with tempfile.NamedTemporaryFile(suffix=".pem") as pem:
                    pem.write(self.certificate + b"\n" + self.key)
                    pem.flush()
                    tls.load_cert_chain(pem.name)
        except (ssl.SSLError, ValueError) as bad:
            raise BadKubeconfig(f"certificates of {self.server}: {bad}") from bad
        if token is not None:
            return HttpsTransport([self.server], tls=tls, token=token, user_agent=user_agent)
        return HttpsTransport(
            [self.server], tls=tls, token=self.token, token_file=self.token_file, user_agent=user_agent
        )


def load(path: Path, context: str = "") -> Kubeconfig:
    """The named context, or the file's current one. Paths in the file are relative to it.

    Raises:
        BadKubeconfig: no such file, context, cluster or user, or credentials that need a program to be run.
    """
    try:
        config = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as bad:
        raise BadKubeconfig(f"{path}: {bad}") from bad
    if not isinstance(config, dict):
        raise BadKubeconfig(f"{path}: is no kubeconfig")
    context = context or str(config.get("current-context") or "")
    chosen = _entry(path, config, "context", context)
    cluster = _entry(path, config, "cluster", str(chosen.get("cluster") or ""))
    user = _entry(path, config, "user", str(chosen.get("user") or "")) if chosen.get("user") else {}
    for field in ("exec", "auth-provider", "username"):
        if user.get(field):
            raise BadKubeconfig(f"{path}: user {chosen['user']!r}: {field} is not supported")
    if not cluster.get("server"):
        raise BadKubeconfig(f"{path}: cluster {chosen.get('cluster')!r} has no server")
    token_file = user.get("tokenFile")
    return Kubeconfig(
        server=str(cluster["server"]),
        ca=_pem(path, cluster, "certificate-authority"),
        certificate=_pem(path, user, "client-certificate"),
        key=_pem(path, user, "client-key"),
        token=str(user.get("token") or ""),
        token_file=path.parent / token_file if token_file else None,
        insecure=bool(cluster.get("insecure-skip-tls-verify")),
    )


def _entry(path: Path, config: dict[str, Any], kind: str, name: str) -> dict[str, Any]:
    for entry in config.get(f"{kind}s") or ():
        if isinstance(entry, dict) and entry.get("name") == name:
            found = entry.get(kind)
            return found if isinstance(found, dict) else {}
    raise BadKubeconfig(f"{path}: there is no {kind} {name!r}")


def _pem(path: Path, entry: dict[str, Any], field: str) -> bytes:
    try:
        if entry.get(f"{field}-data"):
            return base64.b64decode(entry[f"{field}-data"], validate=True)
        return (path.parent / entry[field]).read_bytes() if entry.get(field) else b""
    except (OSError, ValueError) as bad:
        raise BadKubeconfig(f"{path}: {field}: {bad}") from bad
