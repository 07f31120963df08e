"""CertificateSigningRequests, ClusterTrustBundles and PodCertificateRequests."""

from __future__ import annotations

import base64
import binascii

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from podwright.api.objects import Object
from podwright.api.status import FieldError
from podwright.api.validation import names, signers
from podwright.api.validation.field_errors import duplicate, forbidden, immutable, invalid, not_supported, required
from podwright.api.validation.rules import Kinds, Rules, spec_of

GROUP = "certificates.k8s.io"
_USAGES = frozenset(
    {
        "signing",
        "digital signature",
        "content commitment",
        "key encipherment",
        "key agreement",
        "data encipherment",
        "cert sign",
        "crl sign",
        "encipher only",
        "decipher only",
        "any",
        "server auth",
        "client auth",
        "code signing",
        "email protection",
        "s/mime",
        "ipsec end system",
        "ipsec tunnel",
        "ipsec user",
        "timestamping",
        "ocsp signing",
        "microsoft sgc",
        "netscape sgc",
    }
)
_DECISIONS = ("Approved", "Denied")
_MAX_BUNDLE = 1024 * 1024


def signing_request(errs: list[FieldError], obj: Object) -> None:
    spec = spec_of(obj)
    usages = spec.get("usages") or []
    if not usages:
        errs.append(required("spec.usages"))
    for i, usage in enumerate(usages):
        if usage not in _USAGES:
            errs.append(not_supported(f"spec.usages[{i}]", usage, sorted(_USAGES)))
        if usage in usages[:i]:
            errs.append(duplicate(f"spec.usages[{i}]", usage))
    if said := _request_problem(spec.get("request") or ""):
        errs.append(invalid("spec.request", spec.get("request") or "", said))
    signer = spec.get("signerName") or ""
    if signer == "kubernetes.io/legacy-unknown":
        errs.append(invalid("spec.signerName", signer, "the legacy signerName is not allowed via this API version"))
    else:
        signers.signer_name(errs, signer, "spec.signerName")
    seconds = spec.get("expirationSeconds")
    if seconds is not None and seconds < 600:
        said = "may not specify a duration less than 600 seconds (10 minutes)"
        errs.append(invalid("spec.expirationSeconds", seconds, said))
    _conditions(errs, (obj.get("status") or {}).get("conditions") or [])


def _request_problem(encoded: str) -> str:
    try:
        request = x509.load_pem_x509_csr(base64.b64decode(encoded, validate=True))
        return "" if request.is_signature_valid else "x509: signature is not valid"
    except (ValueError, binascii.Error, InvalidSignature):
        return "PEM block type must be CERTIFICATE REQUEST"


def _conditions(errs: list[FieldError], conditions: list[Object]) -> None:
    seen: set[str] = set()
    for i, condition in enumerate(conditions):
        kind, status = condition.get("type") or "", condition.get("status") or ""
        field = f"status.conditions[{i}]"
        if not kind:
            errs.append(required(f"{field}.type"))
        if not status:
            errs.append(required(f"{field}.status"))
        elif kind in (*_DECISIONS, "Failed") and status != "True":
            errs.append(not_supported(f"{field}.status", status, ("True",)))
        elif status not in ("True", "False", "Unknown"):
            errs.append(not_supported(f"{field}.status", status, ("False", "True", "Unknown")))
        if (kind == "Denied" and "Approved" in seen) or (kind == "Approved" and "Denied" in seen):
            errs.append(invalid(f"{field}.type", kind, "Approved and Denied conditions are mutually exclusive"))
        if kind in seen:
            errs.append(duplicate(f"{field}.type", kind))
        seen.add(kind)


def _decisions(obj: Object) -> list[Object]:
    return [c for c in (obj.get("status") or {}).get("conditions") or () if c.get("type") in _DECISIONS]


def _kept(errs: list[FieldError], new: Object, old: Object, kinds: tuple[str, ...], where: str) -> None:
    now = (new.get("status") or {}).get("conditions") or []
    before = (old.get("status") or {}).get("conditions") or []
    for kind in kinds:
        earlier = [c for c in before if c.get("type") == kind]
        later = [c for c in now if c.get("type") == kind]
        if earlier and not later:
            errs.append(forbidden("status.conditions", f'updates may not remove a condition of type "{kind}"'))
        elif later and not earlier and where:
            said = f'updates may not add a condition of type "{kind}"'
            errs.append(forbidden("status.conditions", said))
        elif earlier and later and [c.get("status") for c in earlier] != [c.get("status") for c in later]:
            errs.append(forbidden("status.conditions", f'updates may not modify a condition of type "{kind}"'))


def _request_update(errs: list[FieldError], new: Object, old: Object) -> None:
    """Only metadata may change by the main path."""
    if spec_of(new) != spec_of(old):
        errs.append(immutable("spec", spec_of(new)))


def _approval(errs: list[FieldError], new: Object, old: Object) -> None:
    _conditions(errs, (new.get("status") or {}).get("conditions") or [])
    _kept(errs, new, old, (*_DECISIONS, "Failed"), "")


def _request_status(errs: list[FieldError], new: Object, old: Object) -> None:
    _conditions(errs, (new.get("status") or {}).get("conditions") or [])
    _kept(errs, new, old, _DECISIONS, "status")
    _kept(errs, new, old, ("Failed",), "")
    certificate, before = (new.get("status") or {}).get("certificate"), (old.get("status") or {}).get("certificate")
    if before and certificate != before:
        said = "updates may not set certificate content if existing certificate content is not empty"
        errs.append(forbidden("status.certificate", said))
    elif certificate and (said := _certificates_problem(certificate)):
        errs.append(invalid("status.certificate", "<certificate data>", said))


def _certificates_problem(encoded: str) -> str:
    try:
        x509.load_pem_x509_certificates(base64.b64decode(encoded, validate=True))
    except (ValueError, binascii.Error):
        return "must contain at least one CERTIFICATE PEM block"
    return ""


def _prepare_request_update(new: Object, old: Object, subresource: str) -> None:
    new["spec"] = old.get("spec") or {}
    if subresource == "approval":
        # The certificate is written by /status alone.
        status = dict(new.get("status") or {})
        if "certificate" in (old.get("status") or {}):
            status["certificate"] = old["status"]["certificate"]
        else:
            status.pop("certificate", None)
        new["status"] = status


def trust_bundle(errs: list[FieldError], obj: Object) -> None:
    spec, name = spec_of(obj), (obj.get("metadata") or {}).get("name") or ""
    signer, bundle = spec.get("signerName") or "", spec.get("trustBundle") or ""
    errs += [invalid("metadata.name", name, said) for said in signers.trust_bundle_name(name, signer) if name]
    if signer:
        signers.signer_name(errs, signer, "spec.signerName")
    _bundle(errs, bundle)


def _bundle(errs: list[FieldError], bundle: str) -> None:
    field = "spec.trustBundle"
    if len(bundle) > _MAX_BUNDLE:
        errs.append(invalid(field, "<value omitted>", f"may not be more than {_MAX_BUNDLE} bytes"))
        return
    try:
        certificates = x509.load_pem_x509_certificates(bundle.encode())
    except ValueError:
        errs.append(invalid(field, "<value omitted>", "at least one trust anchor must be provided"))
        return
    seen: list[x509.Certificate] = []
    for i, certificate in enumerate(certificates):
        try:
            basic = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
            is_ca = basic.ca
        except x509.ExtensionNotFound:
            is_ca = False
        if not is_ca:
            said = f"entry {i} does not have the CA bit set"
            errs.append(invalid(field, "<value omitted>", said))
        if certificate in seen:
            said = f"duplicate trust anchor (indices {seen.index(certificate)} and {i})"
            errs.append(invalid(field, "<value omitted>", said))
        seen.append(certificate)


def _bundle_update(errs: list[FieldError], new: Object, old: Object) -> None:
    if spec_of(new).get("trustBundle") != spec_of(old).get("trustBundle"):
        _bundle(errs, spec_of(new).get("trustBundle") or "")
    if spec_of(new).get("signerName") != spec_of(old).get("signerName"):
        errs.append(immutable("spec.signerName", spec_of(new).get("signerName")))


def pod_certificate(errs: list[FieldError], obj: Object) -> None:
    spec = spec_of(obj)
    signers.signer_name(errs, spec.get("signerName") or "", "spec.signerName")
    for field in ("podName", "serviceAccountName", "nodeName"):
        value = spec.get(field) or ""
        errs += [invalid(f"spec.{field}", value, said) for said in names.dns_subdomain(value)]
    for field in ("podUID", "serviceAccountUID", "nodeUID"):
        if not spec.get(field):
            errs.append(required(f"spec.{field}", f"{field} must not be empty"))
    seconds = spec.get("maxExpirationSeconds")
    if seconds is None:
        errs.append(required("spec.maxExpirationSeconds", "must be set"))
    else:
        internal = (spec.get("signerName") or "").startswith("kubernetes.io/")
        longest = 86400 if internal else 91 * 86400
        if not 3600 <= seconds <= longest:
            said = f"must be in the range [3600, {longest}]"
            errs.append(invalid("spec.maxExpirationSeconds", seconds, said))
    if not spec.get("stubPKCS10Request"):
        errs.append(required("spec.stubPKCS10Request"))


def _pod_certificate_update(errs: list[FieldError], new: Object, old: Object) -> None:
    if spec_of(new) != spec_of(old):
        errs.append(immutable("spec", spec_of(new)))


KINDS: Kinds = {
    (GROUP, "CertificateSigningRequest"): Rules(
        create=signing_request,
        update=_request_update,
        subresources={"approval": _approval, "status": _request_status},
        prepare_update=_prepare_request_update,
    ),
    (GROUP, "ClusterTrustBundle"): Rules(name=names.path_segment_name, create=trust_bundle, update=_bundle_update),
    (GROUP, "PodCertificateRequest"): Rules(create=pod_certificate, update=_pod_certificate_update),
}
