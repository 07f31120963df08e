"""What a certificate signing request asks for, and the rules of each built-in signer (Kubernetes documentation,
"Certificates and Certificate Signing Requests")."""

from __future__ import annotations

import base64
import ipaddress
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.x509.oid import NameOID

from podwright.api import objects
from podwright.api.objects import Object

CLIENT = "kubernetes.io/kube-apiserver-client"
KUBELET_CLIENT = "kubernetes.io/kube-apiserver-client-kubelet"
KUBELET_SERVING = "kubernetes.io/kubelet-serving"
LEGACY = "kubernetes.io/legacy-unknown"
SIGNERS = frozenset({CLIENT, KUBELET_CLIENT, KUBELET_SERVING, LEGACY})

_CLIENT_USAGES = {"key encipherment", "digital signature", "client auth"}
_SERVING_USAGES = {"key encipherment", "digital signature", "server auth"}


class BadRequest(ValueError):
    """The request is no PEM of a signing request, or breaks its signer's rules."""


@dataclass(frozen=True, slots=True)
class Asked:
    request: x509.CertificateSigningRequest
    common_name: str
    organizations: tuple[str, ...]
    dns: tuple[str, ...] = ()
    ips: tuple[str, ...] = ()
    others: int = field(default=0)
    """How many alternative names are neither DNS names nor addresses."""


def read(csr: Object) -> Asked:
    """Raises BadRequest."""
    try:
        request = x509.load_pem_x509_csr(base64.b64decode(csr["spec"]["request"]))
    except (ValueError, KeyError) as error:
        raise BadRequest(f"unable to parse csr {objects.name(csr)!r}: {error}") from error
    if not request.is_signature_valid:
        raise BadRequest(f"csr {objects.name(csr)!r} is not signed by its own key")
    try:
        names = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        names = x509.SubjectAlternativeName([])
    dns = tuple(names.get_values_for_type(x509.DNSName))
    ips = tuple(str(ipaddress.ip_address(str(i))) for i in names.get_values_for_type(x509.IPAddress))
    common = request.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    organizations = request.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    return Asked(
        request, str(common[0].value) if common else "", tuple(str(o.value) for o in organizations), dns, ips,
        len(list(names)) - len(dns) - len(ips),
    )


def usages(csr: Object) -> set[str]:
    return set(csr["spec"].get("usages") or ())


def check(csr: Object, asked: Asked) -> None:
    """Raises BadRequest if the request breaks the rules of its signer."""
    signer, wanted = csr["spec"]["signerName"], usages(csr)
    if signer == KUBELET_CLIENT:
        why = kubelet_client_fault(asked, wanted)
    elif signer == KUBELET_SERVING:
        why = _kubelet_serving_fault(asked, wanted)
    elif signer == CLIENT:
        why = "" if wanted <= _CLIENT_USAGES and "client auth" in wanted else "invalid usages for client certificate"
    else:
        why = ""
    if why:
        raise BadRequest(why)


def kubelet_client_fault(asked: Asked, wanted: set[str]) -> str:
    if asked.organizations != ("system:nodes",):
        return "subject organization is not system:nodes"
    if asked.dns or asked.ips or asked.others:
        return "subjectAltNames are not allowed"
    if not (wanted <= _CLIENT_USAGES and {"digital signature", "client auth"} <= wanted):
        return "usages did not match [client auth digital signature key encipherment]"
    if not asked.common_name.startswith("system:node:"):
        return "subject common name does not begin with system:node: "
    return ""


def _kubelet_serving_fault(asked: Asked, wanted: set[str]) -> str:
    if asked.organizations != ("system:nodes",):
        return "subject organization is not system:nodes"
    if not asked.dns and not asked.ips:
        return "at least one DNS or IP subjectAltName is required"
    if asked.others:
        return "email and URI subjectAltNames are not allowed"
    if not (wanted <= _SERVING_USAGES and {"digital signature", "server auth"} <= wanted):
        return "usages did not match [server auth digital signature key encipherment]"
    if not asked.common_name.startswith("system:node:"):
        return "subject common name does not begin with system:node: "
    return ""


def has_condition(csr: Object, *kinds: str) -> bool:
    return any(c.get("type") in kinds for c in (csr.get("status") or {}).get("conditions") or ())
