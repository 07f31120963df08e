"""Where a node's kubelet is, and how to be believed by it."""

from __future__ import annotations

import ssl
from dataclasses import dataclass

from podwright.api.objects import Object
from podwright.api.resources import NODES
from podwright.api.status import failure, not_found
from podwright.apiserver.config import ApiServerConfig
from podwright.apiserver.requests import Objects

DEFAULT_PORT = 10250
ADDRESS_TYPES = ("InternalIP", "Hostname", "ExternalIP", "InternalDNS", "ExternalDNS")


@dataclass(frozen=True, slots=True)
class Address:
    host: str
    port: int

    @property
    def netloc(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Kubelets:
    """Addresses from Node objects; one TLS context with the API server's client certificate."""

    def __init__(self, config: ApiServerConfig, objects: Objects) -> None:
        self._objects = objects
        tls = ssl.create_default_context(cafile=str(config.kubelet_ca) if config.kubelet_ca else None)
        if config.kubelet_ca is None:
            tls.check_hostname = False
            tls.verify_mode = ssl.CERT_NONE
        self.insecure_tls = ssl.create_default_context()
        self.insecure_tls.check_hostname = False
        self.insecure_tls.verify_mode = ssl.CERT_NONE
        self.tls = tls
        self._pair = config.kubelet_client_certificate, config.kubelet_client_key
        self.renew()

    def renew(self) -> None:
        """Shows the client certificate that the files have now on connections that are made from now on. Raises
        OSError."""
        certificate, key = self._pair
        if certificate is not None:
            for context in (self.tls, self.insecure_tls):
                context.load_cert_chain(certificate, key)

    def address(self, node_name: str) -> Address:
        """Raises ApiError: 404 no such node, 500 it has no address yet."""
        node = self._objects.get(NODES, "", node_name)
        if node is None:
            raise not_found("", "nodes", node_name)
        status = node.get("status") or {}
        port = int(((status.get("daemonEndpoints") or {}).get("kubeletEndpoint") or {}).get("Port") or DEFAULT_PORT)
        host = _host(status)
        if not host:
            known = " ".join(f"{{{a.get('type')} {a.get('address')}}}" for a in status.get("addresses") or ())
            raise failure(500, "", f"no preferred addresses found; known addresses: [{known}]")
        return Address(host, port)


def _host(status: Object) -> str:
    addresses = status.get("addresses") or ()
    for kind in ADDRESS_TYPES:
        for address in addresses:
            if address.get("type") == kind and address.get("address"):
                return str(address["address"])
    return ""
