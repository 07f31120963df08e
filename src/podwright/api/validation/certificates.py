"""CertificateSigningRequests, ClusterTrustBundles and PodCertificateRequests."""

from __future__ import annotations

import base64
import binascii
import re
from contextlib import suppress
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from podwright.api.objects import Object
from podwright.api.status import INVALID, FieldError
from podwright.api.validation import conditions, metadata, names, signers
from podwright.api.validation.field_errors import (
    duplicate,
    forbidden,
    formed,
    invalid,
    items,
    one_of,
    required,
    too_long,
)
from podwright.api.validation.pod_updates import diff
from podwright.api.validation.rules import Kinds, Rules, spec_of

GROUP = "certificates.k8s.io"
_USAGES = frozenset(
    {
        "signing", "digital signature", "content commitment", "key encipherment", "key agreement",
        "data encipherment", "cert sign", "crl sign", "encipher only", "decipher only", "any", "server auth",
        "client auth", "code signing", "email protection", "s/mime", "ipsec end system", "ipsec tunnel", "ipsec user",
        "timestamping", "ocsp signing", "microsoft sgc", "netscape sgc",
    }
)
_DECISIONS = ("Approved", "Denied")
_ENDS = ("Issued", "Denied", "Failed")
_LEGACY = "kubernetes.io/legacy-unknown"
_BLOCK = re.compile(r"-----BEGIN (?P<kind>[^\n]*?)-----\s(?P<content>.*?)-----END (?P=kind)-----", re.DOTALL)
_MAX_BUNDLE = 1024 * 1024
_MAX_STUB = 10 * 1024
_MAX_CHAIN = 100 * 1024
_address = re.compile(r"[^@\s<>()]+@[^@\s<>()]+").fullmatch


def _any_name(name: str, prefix: bool = False) -> names.Problems:
    """Whatever can stand in a URL."""
    return names.path_segment_name(name, prefix)


def signing_request(errs: list[FieldError], obj: Object) -> None:
    _request(errs, obj, {})


def _request(errs: list[FieldError], obj: Object, old: Object) -> None:
    """What is wrong in `old` already may stay."""
    spec, before = spec_of(obj), spec_of(old)
    status, old_status = obj.get("status") or {}, old.get("status") or {}
    if said := _request_problem(spec.get("request") or ""):
        errs.append(invalid("spec.request", spec.get("request") or "", said))
    usages, old_usages = spec.get("usages") or [], before.get("usages") or []
    if not usages:
        errs.append(required("spec.usages"))
    if set(old_usages) <= _USAGES:
        for i, usage in enumerate(usages):
            one_of(errs, usage, f"spec.usages[{i}]", sorted(_USAGES))
    if len(old_usages) == len(set(old_usages)):
        items(errs, usages, "spec.usages", None, key=str)
    signer = spec.get("signerName") or ""
    if signer == before.get("signerName") == _LEGACY or signer != _LEGACY:
        signers.signer_name(errs, signer, "spec.signerName")
    else:
        errs.append(invalid("spec.signerName", signer, "the legacy signerName is not allowed via this API version"))
    seconds = spec.get("expirationSeconds")
    if seconds is not None and seconds < 600:
        said = "may not specify a duration less than 600 seconds (10 minutes)"
        errs.append(invalid("spec.expirationSeconds", seconds, said))
    _conditions(errs, status.get("conditions") or [], [c.get("type") or "" for c in old_status.get("conditions") or ()])
    certificate, earlier = status.get("certificate"), old_status.get("certificate")
    if certificate and certificate != earlier and not (earlier and _certificates_problem(earlier)):
        if said := _certificates_problem(certificate):
            errs.append(invalid("status.certificate", "<certificate data>", said))


def _pem(encoded: str) -> list[tuple[str, bytes]]:
    """The blocks of a PEM text that is in base64: type and content. ValueError: the base64 is broken."""
    return pem_blocks(base64.b64decode(encoded, validate=True).decode(errors="replace"))


def pem_blocks(text: str) -> list[tuple[str, bytes]]:
    blocks = []
    for block in _BLOCK.finditer(text):
        content = block["content"]
        kind = block["kind"] if ":" not in content else f"{block['kind']} with headers"
        with suppress(binascii.Error):
            blocks.append((kind, base64.b64decode(content if ":" not in content else "")))
    return blocks


def _request_problem(encoded: str) -> str:
    try:
        blocks = _pem(encoded)
        if not blocks or blocks[0][0] != "CERTIFICATE REQUEST":
            return "PEM block type must be CERTIFICATE REQUEST"
        return "" if x509.load_der_x509_csr(blocks[0][1]).is_signature_valid else "x509: signature is not valid"
    except (ValueError, InvalidSignature) as error:
        return str(error)


def _conditions(errs: list[FieldError], conditions: list[Object], before: list[str]) -> None:
    seen: set[str] = set()
    for i, condition in enumerate(conditions):
        kind, field = condition.get("type") or "", f"status.conditions[{i}]"
        if not kind and "" not in before:
            errs.append(required(f"{field}.type"))
        allowed = ("True",) if kind in (*_DECISIONS, "Failed") else ("False", "True", "Unknown")
        one_of(errs, condition.get("status"), f"{field}.status", allowed, needed=True)
        if kind in seen and len(before) == len(set(before)):
            errs.append(duplicate(f"{field}.type", kind))
        seen.add(kind)
    if set(_DECISIONS) <= seen and not set(_DECISIONS) <= set(before):
        said = "must specify at most one of: `Approved`, `Denied`"
        errs.append(invalid("status.conditions", "{`Approved`, `Denied`}", said))


def _change(errs: list[FieldError], new: Object, old: Object, path: str) -> None:
    """By /approval the decision may be taken, by /status the certificate set, by neither undone."""
    _request(errs, new, old)
    now, before = new.get("status") or {}, old.get("status") or {}
    for kind in (*_DECISIONS, "Failed"):
        later, earlier = (
            [c for c in status.get("conditions") or () if c.get("type") == kind] for status in (now, before)
        )
        if len(later) < len(earlier):
            errs.append(forbidden("status.conditions", f'updates may not remove a condition of type "{kind}"'))
        elif path == "approval" or kind == "Failed" or later == earlier:
            continue
        elif len(later) > len(earlier):
            errs.append(forbidden("status.conditions", f'updates may not add a condition of type "{kind}"'))
        else:
            said = f'updates may not modify a condition of type "{kind}"\n{diff(earlier[0], later[0])}'
            errs.append(forbidden("status.conditions", said))
    if (now.get("certificate") or "") != (before.get("certificate") or ""):
        if path != "status":
            errs.append(forbidden("status.certificate", "updates may not set certificate content"))
        elif before.get("certificate"):
            errs.append(forbidden("status.certificate", "updates may not modify existing certificate content"))


def _request_update(errs: list[FieldError], new: Object, old: Object) -> None:
    _change(errs, new, old, "")


def _approval(errs: list[FieldError], new: Object, old: Object) -> None:
    _change(errs, new, old, "approval")


def _request_status(errs: list[FieldError], new: Object, old: Object) -> None:
    _change(errs, new, old, "status")


def _certificates_problem(encoded: str) -> str:
    try:
        blocks = _pem(encoded)
        for kind, content in blocks:
            if kind.endswith(" with headers"):
                return "no PEM block headers are permitted"
            if kind != "CERTIFICATE":
                return f'only CERTIFICATE PEM blocks are allowed, found "{kind}"'
            x509.load_der_x509_certificate(content)
    except ValueError as error:
        return str(error)
    return "" if blocks else "must contain at least one CERTIFICATE PEM block"


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
    _signer_and_name(errs, obj)
    _bundle(errs, spec_of(obj).get("trustBundle") or "")


def _signer_and_name(errs: list[FieldError], obj: Object) -> None:
    signer, name = spec_of(obj).get("signerName") or "", (obj.get("metadata") or {}).get("name") or ""
    errs += [invalid("metadata.name", name, said) for said in signers.trust_bundle_name(name, signer) if name]
    if signer:
        signers.signer_name(errs, signer, "spec.signerName")


def _bundle(errs: list[FieldError], bundle: str) -> None:
    field = "spec.trustBundle"
    if len(bundle) > _MAX_BUNDLE:
        errs.append(too_long(field, _MAX_BUNDLE))
        return
    before = len(errs)
    found: dict[bytes, list[int]] = {}
    for i, (kind, content) in enumerate(pem_blocks(bundle)):
        if said := _anchor_problem(kind, content):
            errs.append(invalid(field, "<value omitted>", f"entry {i} {said}"))
        else:
            found.setdefault(content, []).append(i)
    if len(errs) > before:
        return
    if not found:
        errs.append(invalid(field, "<value omitted>", "at least one trust anchor must be provided"))
    for indices in found.values():
        if len(indices) > 1:
            said = f"duplicate trust anchor (indices [{' '.join(map(str, indices))}])"
            errs.append(invalid(field, "<value omitted>", said))


def _anchor_problem(kind: str, content: bytes) -> str:
    if kind.endswith(" with headers"):
        return "has PEM block headers"
    if kind != "CERTIFICATE":
        return f"has bad block type: {kind}"
    try:
        certificate = x509.load_der_x509_certificate(content)
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
        return "" if constraints.ca else "does not have the CA bit set"
    except x509.ExtensionNotFound:
        return "does not have the CA bit set"
    except ValueError:
        return "does not parse as X.509"


def _bundle_update(errs: list[FieldError], new: Object, old: Object) -> None:
    spec, before = spec_of(new), spec_of(old)
    _signer_and_name(errs, new)
    if spec.get("trustBundle") != before.get("trustBundle"):
        _bundle(errs, spec.get("trustBundle") or "")
    metadata.same(errs, spec.get("signerName"), before.get("signerName"), "spec.signerName")


def pod_certificate(errs: list[FieldError], obj: Object) -> None:
    spec = spec_of(obj)
    signer = spec.get("signerName") or ""
    signers.signer_name(errs, signer, "spec.signerName")
    if annotations := spec.get("unverifiedUserAnnotations"):
        metadata.user_annotations(errs, annotations, "spec.unverifiedUserAnnotations")
    for what in ("pod", "serviceAccount", "node"):
        formed(errs, spec.get(f"{what}Name") or "", f"spec.{what}Name", names.dns_subdomain)
        uid = spec.get(f"{what}UID") or ""
        if not uid:
            errs.append(invalid(f"spec.{what}UID", uid, "must not be empty"))
        if len(uid) > 128:
            errs.append(too_long(f"spec.{what}UID", 128))
    seconds = spec.get("maxExpirationSeconds")
    longest = 86400 if signers.is_kubernetes(signer) else 91 * 86400
    if seconds is None:
        errs.append(required("spec.maxExpirationSeconds", "must be set"))
    elif not 3600 <= seconds <= longest:
        errs.append(invalid("spec.maxExpirationSeconds", seconds, f"must be in the range [3600, {longest}]"))
    _stub(errs, spec.get("stubPKCS10Request") or "")


def _stub(errs: list[FieldError], encoded: str) -> None:
    """The request that a kubelet makes with a Pod's key: nothing of it but the key and its signature is looked at."""
    field = "spec.stubPKCS10Request"
    if not encoded:
        errs.append(required(field))
        return
    try:
        content = base64.b64decode(encoded, validate=True)
        if len(content) > _MAX_STUB:
            errs.append(too_long(field, _MAX_STUB))
            return
        request = x509.load_der_x509_csr(content)
        key = request.public_key()
    except (ValueError, UnsupportedAlgorithm):
        errs.append(invalid(field, encoded, "must be a valid PKCS#10 CSR"))
        return
    if isinstance(key, ec.EllipticCurvePublicKey):
        if not isinstance(key.curve, ec.SECP256R1 | ec.SECP384R1 | ec.SECP521R1):
            said = "elliptic public keys must use curve P256 or P384"
            errs.append(invalid(field, f"curve {key.curve.name}", said))
            return
    elif isinstance(key, rsa.RSAPublicKey):
        if key.key_size not in (3072, 4096):
            said = "RSA keys must have modulus size 3072 or 4096"
            errs.append(invalid(field, f"{key.key_size}-bit modulus", said))
            return
    elif not isinstance(key, ed25519.Ed25519PublicKey):
        errs.append(
            invalid(field, encoded, "unknown public key type; supported types are Ed25519, ECDSA, and RSA")
        )
        return
    try:
        signed = request.is_signature_valid
    except (InvalidSignature, UnsupportedAlgorithm, ValueError):
        signed = False
    if not signed:
        errs.append(invalid(field, "<value omitted>", "could not verify proof-of-possession signature"))


def _pod_certificate_update(errs: list[FieldError], new: Object, old: Object) -> None:
    metadata.same(errs, spec_of(new), spec_of(old), "spec")


def _pod_certificate_status(errs: list[FieldError], new: Object, old: Object) -> None:
    """One of three conditions ends a request, and only "Issued" comes with a certificate."""
    status, before, wrong = new.get("status") or {}, old.get("status") or {}, len(errs)
    listed, known = status.get("conditions") or [], 0
    for i, condition in enumerate(listed):
        field = f"status.conditions.[{i}]"
        one_of(errs, condition.get("type"), f"{field}.type", _ENDS)
        if (kind := condition.get("type")) in _ENDS:
            known += 1
            if known > 1:
                said = 'There may be at most one condition with type "Issued", "Denied", or "Failed"'
                errs.append(invalid(f"{field}.type", kind, said))
            one_of(errs, condition.get("status"), f"{field}.status", ("True",))
    conditions.conditions(errs, listed, "status.conditions")
    if len(errs) > wrong:
        return
    ended = {c.get("type") for c in listed}
    if any(c.get("type") in _ENDS for c in before.get("conditions") or ()):
        if status != before:
            said = "immutable after PodCertificateRequest is issued, denied, or failed"
            errs.append(FieldError("status", INVALID, f"Invalid value: {said}"))
    elif ended & {"Denied", "Failed"}:
        if any(value for field, value in status.items() if field != "conditions"):
            said = "non-condition status fields must be empty when denying or failing the PodCertificateRequest"
            errs.append(FieldError("status", INVALID, f"Invalid value: {said}"))
    elif ended:
        _issued(errs, status, spec_of(new))
    elif status != before:
        said = 'status is immutable unless transitioning to "Issued", "Denied", or "Failed"'
        errs.append(FieldError("status", INVALID, f"Invalid value: {said}"))


def _public(key: PublicKeyTypes) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _names_problem(leaf: x509.Certificate) -> tuple[str, str]:
    """A name of a certificate that no client could use, and what is wrong with it."""
    try:
        found = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return "", ""
    for name in found.get_values_for_type(x509.DNSName):
        if not name:
            return name, "leaf certificate should not contain empty DNSName"
        if ".." in name:
            return name, "leaf certificate's DNSName should not contain '..'"
        if name[0] == "." or name[-1] == ".":
            return name, "leaf certificate's DNSName should not start or end with '.'"
    for address in found.get_values_for_type(x509.RFC822Name):
        if not _address(address):
            return address, "leaf certificate should not contain invalid EmailAddress"
    return "", ""


def _issued(errs: list[FieldError], status: Object, spec: Object) -> None:
    field, chain = "status.certificateChain", status.get("certificateChain") or ""
    longest = spec.get("maxExpirationSeconds") or 0
    if len(chain) > _MAX_CHAIN:
        errs.append(too_long(field, _MAX_CHAIN))
        return
    blocks = pem_blocks(chain)
    said, certificates = "", list[x509.Certificate]()
    try:
        if not blocks:
            said = "issued certificate chain must contain at least one certificate"
        elif any(kind != "CERTIFICATE" for kind, _ in blocks):
            said = "issued certificate chain must consist entirely of CERTIFICATE PEM blocks"
        for _, content in blocks:
            certificates.append(x509.load_der_x509_certificate(content))
    except ValueError:
        which = "intermediate" if certificates else "leaf"
        said = said or f"{which} certificate does not parse as valid X.509"
    if said:
        errs.append(invalid(field, chain, said))
        return
    leaf = certificates[0]
    try:
        name, said = _names_problem(leaf)
        wanted = x509.load_der_x509_csr(base64.b64decode(spec.get("stubPKCS10Request") or "")).public_key()
        if not said and _public(leaf.public_key()) != _public(wanted):
            name, said = chain, "leaf certificate was not issued to the requested public key"
    except (ValueError, UnsupportedAlgorithm):
        name, said = chain, "leaf certificate was not issued to the requested public key"
    if said:
        errs.append(invalid(field, name, said))
        return
    margin = "must be present and in the range [notbefore+10min, notafter-10min]"
    times = {}
    for name in ("notBefore", "notAfter", "beginRefreshAt"):
        consistent = "must be present and consistent with the issued certificate"
        if not status.get(name):
            errs.append(required(f"status.{name}", margin if name == "beginRefreshAt" else consistent))
        else:
            times[name] = datetime.fromisoformat(status[name])
    if len(times) < 3:
        return
    start, end, refresh = times.values()
    lifetime, slack = end - start, timedelta(minutes=10)
    for wrong, where, value, said in (
        (start != leaf.not_valid_before_utc, "status.notBefore", status["notBefore"],
         "must be set to the NotBefore time encoded in the leaf certificate"),
        (end != leaf.not_valid_after_utc, "status.notAfter", status["notAfter"],
         "must be set to the NotAfter time encoded in the leaf certificate"),
        (lifetime < timedelta(hours=1), field, str(lifetime), "leaf certificate lifetime must be >= 1 hour"),
        (lifetime > timedelta(seconds=longest), field, str(lifetime),
         f"leaf certificate lifetime must be <= spec.maxExpirationSeconds ({longest})"),
        (refresh < start + slack, "status.beginRefreshAt", status["beginRefreshAt"],
         "must be at least 10 minutes after status.notBefore"),
        (refresh > end - slack, "status.beginRefreshAt", status["beginRefreshAt"],
         "must be at least 10 minutes before status.notAfter"),
    ):  # fmt: skip
        if wrong:
            errs.append(invalid(where, value, said))
            return


KINDS: Kinds = {
    (GROUP, "CertificateSigningRequest"): Rules(
        name=_any_name,
        create=signing_request,
        update=_request_update,
        subresources={"approval": _approval, "status": _request_status},
        prepare_update=_prepare_request_update,
    ),
    (GROUP, "ClusterTrustBundle"): Rules(name=names.path_segment_name, create=trust_bundle, update=_bundle_update),
    (GROUP, "PodCertificateRequest"): Rules(
        create=pod_certificate,
        update=_pod_certificate_update,
        subresources={"status": _pod_certificate_status},
        status_keeps_metadata=True,
    ),
}
