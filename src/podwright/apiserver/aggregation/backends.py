"""Where an APIService's Service is, and how it is spoken to: TLS by its caBundle, the front proxy's certificate, and
the headers that say who asks (Kubernetes documentation, "Configure the Aggregation Layer")."""

from __future__ import annotations

import base64
import ssl
from dataclasses import dataclass
from urllib.parse import quote

from podwright.api.objects import Object
from podwright.apiserver.admission.webhook_client import CallFailed, service_endpoint
from podwright.apiserver.config import ApiServerConfig
from podwright.apiserver.requests import Objects, UserInfo
from podwright.apiserver.streaming.kubelets import Address

AGGREGATOR = UserInfo("system:kube-aggregator", groups=("system:masters",))
_TOKEN = "!#$%&'*+-.^_`|~"


@dataclass(frozen=True, slots=True)
class Remote:
    """One APIService with a Service. `bundle` is base64."""

    name: str
    group: str
    version: str
    namespace: str
    service: str
    port: int
    bundle: str
    insecure: bool

    @classmethod
    def of(cls, api_service: Object) -> Remote | None:
        """None for a local one."""
        spec = api_service.get("spec") or {}
        service = spec.get("service")
        if service is None:
            return None
        return cls(
            api_service["metadata"]["name"], spec.get("group") or "", spec.get("version") or "",
            service.get("namespace") or "", service.get("name") or "", int(service.get("port") or 443),
            spec.get("caBundle") or "", bool(spec.get("insecureSkipTLSVerify")),
        )

    @property
    def path(self) -> str:
        return f"/apis/{self.group}/{self.version}"

    @property
    def server_name(self) -> str:
        return f"{self.service}.{self.namespace}.svc"


class Backends:
    """Contexts are made once for each authority."""

    def __init__(self, objects: Objects, config: ApiServerConfig) -> None:
        self._objects = objects
        self._certificate = config.proxy_client_certificate
        self._key = config.proxy_client_key
        self._contexts: dict[tuple[str, bool], ssl.SSLContext] = {}

    def renew(self) -> None:
        """Shows the certificate that the files have now on connections that are made from now on."""
        self._contexts.clear()

    def address(self, remote: Remote) -> Address:
        """One ready endpoint of the Service. Raises CallFailed."""
        host, port = service_endpoint(self._objects, remote.namespace, remote.service, remote.port)
        return Address(host, port)

    def tls(self, remote: Remote) -> ssl.SSLContext:
        """Raises CallFailed for a caBundle that is none."""
        key = (remote.bundle, remote.insecure)
        context = self._contexts.get(key)
        if context is None:
            try:
                authority = base64.b64decode(remote.bundle).decode() if remote.bundle else None
                context = ssl.create_default_context(cadata=authority)
            except (ValueError, ssl.SSLError) as error:
                raise CallFailed(f"unable to load root certificates: {error}") from None
            if remote.insecure:
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
            if self._certificate is not None and self._key is not None:
                context.load_cert_chain(self._certificate, self._key)
            if len(self._contexts) > 256:
                self._contexts.clear()
            self._contexts[key] = context
        return context


def identity_headers(user: UserInfo) -> list[tuple[str, str]]:
    """The headers by which the extension API server believes the front proxy's word."""
    headers = [("X-Remote-User", user.name)]
    if user.uid:
        headers.append(("X-Remote-Uid", user.uid))
    headers += [("X-Remote-Group", group) for group in user.groups]
    for key, values in user.extra.items():
        headers += [(f"X-Remote-Extra-{quote(key.lower(), safe=_TOKEN.replace('%', ''))}", value) for value in values]
    return headers
