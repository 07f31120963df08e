"""Who may approve, sign and ask for certificates (Kubernetes documentation, "Certificates and Certificate Signing
Requests", "Authorization")."""

from __future__ import annotations

import base64
import binascii

from cryptography import x509
from cryptography.x509.oid import NameOID

from podwright.api.objects import Object
from podwright.api.status import invalid
from podwright.api.validation.field_errors import forbidden as field_forbidden
from podwright.apiserver.admission.chain import Plugin
from podwright.apiserver.admission.refusals import forbidden
from podwright.apiserver.requests import AdmissionRequest, Attributes, Authorizer

GROUP = "certificates.k8s.io"
CLIENT_SIGNER = "kubernetes.io/kube-apiserver-client"
MASTERS = "system:masters"


def _is_request(request: AdmissionRequest, operation: str, *subresources: str) -> bool:
    resource = (request.resource.group, request.resource.plural)
    return (
        resource == (GROUP, "certificatesigningrequests")
        and request.operation == operation
        and request.subresource in subresources
    )


async def _permitted(authorizer: Authorizer, request: AdmissionRequest, verb: str, plural: str, signer: str) -> bool:
    """Whether the user has `verb` on the signer, or on all signers of its domain."""
    for called in (signer, signer.partition("/")[0] + "/*"):
        attributes = Attributes(request.user, verb, GROUP, "*", plural, name=called)
        if (await authorizer.authorize(attributes)).allowed:
            return True
    return False


def _signer(obj: Object | None) -> str:
    return str(((obj or {}).get("spec") or {}).get("signerName") or "")


class CertificateApproval(Plugin):
    name = "CertificateApproval"

    def __init__(self, authorizer: Authorizer) -> None:
        self._authorizer = authorizer

    def handles(self, request: AdmissionRequest) -> bool:
        return _is_request(request, "UPDATE", "approval")

    async def validate(self, request: AdmissionRequest) -> None:
        signer = _signer(request.old_object)
        if not await _permitted(self._authorizer, request, "approve", "signers", signer):
            raise forbidden(request, f'user not permitted to approve requests with signerName "{signer}"')


class CertificateSigning(Plugin):
    name = "CertificateSigning"

    def __init__(self, authorizer: Authorizer) -> None:
        self._authorizer = authorizer

    def handles(self, request: AdmissionRequest) -> bool:
        return _is_request(request, "UPDATE", "status")

    async def validate(self, request: AdmissionRequest) -> None:
        old, new = ((o or {}).get("status") or {} for o in (request.old_object, request.object))
        if old.get("certificate") == new.get("certificate") and _failed(old) == _failed(new):
            return
        signer = _signer(request.old_object)
        if not await _permitted(self._authorizer, request, "sign", "signers", signer):
            raise forbidden(request, f'user not permitted to sign requests with signerName "{signer}"')


def _failed(status: Object) -> bool:
    return any(c.get("type") == "Failed" for c in status.get("conditions") or ())


class PodCertificateSigning(Plugin):
    """A certificate for a Pod is written by who has the verb sign on the signer. Upstream's registry asks for it, so no
    flag turns it off."""

    name = "PodCertificateSigning"

    def __init__(self, authorizer: Authorizer) -> None:
        self._authorizer = authorizer

    def handles(self, request: AdmissionRequest) -> bool:
        resource = (request.resource.group, request.resource.plural, request.subresource)
        return resource == (GROUP, "podcertificaterequests", "status") and request.operation == "UPDATE"

    async def validate(self, request: AdmissionRequest) -> None:
        written = [(o or {}).get("status") or {} for o in (request.old_object, request.object)]
        if written[0].get("certificateChain") == written[1].get("certificateChain"):
            return
        signer = _signer(request.old_object)
        if not await _permitted(self._authorizer, request, "sign", "signers", signer):
            said = f'User "{request.user.name}" is not permitted to "sign" for signer "{signer}"'
            resource = request.resource
            raise invalid(resource.group, resource.kind, request.name, [field_forbidden("spec.signerName", said)])


class ClusterTrustBundleAttest(Plugin):
    """Writing a bundle of a signer takes the verb attest on that signer."""

    name = "ClusterTrustBundleAttest"

    def __init__(self, authorizer: Authorizer) -> None:
        self._authorizer = authorizer

    def handles(self, request: AdmissionRequest) -> bool:
        resource = (request.resource.group, request.resource.plural)
        return resource == (GROUP, "clustertrustbundles") and request.operation in ("CREATE", "UPDATE")

    async def validate(self, request: AdmissionRequest) -> None:
        signer = _signer(request.object)
        if signer and not await _permitted(self._authorizer, request, "attest", "signers", signer):
            raise forbidden(request, f'user not permitted to attest for signerName "{signer}"')


class CertificateSubjectRestriction(Plugin):
    """Nobody gets a client certificate for system:masters."""

    name = "CertificateSubjectRestriction"

    def handles(self, request: AdmissionRequest) -> bool:
        return _is_request(request, "CREATE", "")

    async def validate(self, request: AdmissionRequest) -> None:
        if _signer(request.object) != CLIENT_SIGNER:
            return
        encoded = ((request.object or {}).get("spec") or {}).get("request") or ""
        try:
            csr = x509.load_pem_x509_csr(base64.b64decode(encoded))
        except (binascii.Error, ValueError) as error:
            raise forbidden(request, f"unable to parse CSR: {error}") from None
        if any(a.value == MASTERS for a in csr.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)):
            raise forbidden(request, f"use of {CLIENT_SIGNER} signer with {MASTERS} group is not allowed")
