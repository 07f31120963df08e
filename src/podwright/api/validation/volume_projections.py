"""Rules for downward API files and for the sources of projected volumes."""

from __future__ import annotations

from podwright.api.objects import Object
from podwright.api.status import FieldError
from podwright.api.validation import metadata, paths, pod_env, signers
from podwright.api.validation.field_errors import forbidden, invalid, not_supported, required
from podwright.api.validation.label_selectors import label_selector

_DUPLICATE = "conflicting duplicate paths"
_KEY_TYPES = ("RSA3072", "RSA4096", "ECDSAP256", "ECDSAP384", "ECDSAP521", "ED25519")
_DAY = 24 * 3600
_MAX_EXPIRATION = 91 * _DAY
_MIN_EXPIRATION = 3600


def downward_file(errs: list[FieldError], item: Object, path: str) -> None:
    from podwright.api.validation.volumes import mode

    target = item.get("path") or ""
    if not target:
        errs.append(required(f"{path}.path"))
    paths.local_non_reserved(errs, target, f"{path}.path")
    field, resource = item.get("fieldRef"), item.get("resourceFieldRef")
    if field is not None:
        pod_env.field_ref(errs, field, pod_env.VOLUME_FIELDS, f"{path}.fieldRef")
        if resource is not None:
            errs.append(invalid(path, "resource", "fieldRef and resourceFieldRef can not be specified simultaneously"))
    elif resource is not None:
        pod_env.resource_ref(errs, resource, f"{path}.resourceFieldRef", volume=True)
    else:
        errs.append(required(path, "one of fieldRef and resourceFieldRef is required"))
    mode(errs, item.get("mode"), f"{path}.mode")


class _Paths:
    """The file names that the sources of one volume have taken."""

    def __init__(self, errs: list[FieldError], volume: str) -> None:
        self._errs = errs
        self._volume = volume
        self._taken: set[str] = set()

    def take(self, target: str, said_as: str) -> None:
        if target in self._taken:
            self._errs.append(invalid(self._volume, said_as, _DUPLICATE))
        self._taken.add(target)


def sources(errs: list[FieldError], projected: Object, path: str) -> None:
    from podwright.api.validation.volumes import key_to_path

    taken = _Paths(errs, path)
    for i, source in enumerate(projected.get("sources") or ()):
        where = f"{path}.sources[{i}]"
        count = 0
        for kind in ("secret", "configMap"):
            if (inner := source.get(kind)) is None:
                continue
            count += 1
            if not inner.get("name"):
                errs.append(required(f"{where}.{kind}.name"))
            for j, item in enumerate(inner.get("items") or ()):
                key_to_path(errs, item, f"{where}.{kind}.items[{j}]")
                if item.get("path"):
                    taken.take(item["path"], inner.get("name") or "")
        if (inner := source.get("downwardAPI")) is not None:
            count += 1
            for item in inner.get("items") or ():
                downward_file(errs, item, f"{where}.downwardAPI")
                if item.get("path"):
                    taken.take(item["path"], item["path"])
        if (inner := source.get("serviceAccountToken")) is not None:
            count += 1
            _token(errs, inner, f"{where}.serviceAccountToken", path)
        if (inner := source.get("clusterTrustBundle")) is not None:
            count += 1
            _trust_bundle(errs, inner, f"{where}.clusterTrustBundle")
            taken.take(inner.get("path") or "", inner.get("path") or "")
        if (inner := source.get("podCertificate")) is not None:
            count += 1
            _certificate(errs, inner, f"{where}.podCertificate", taken)
        if count > 1:
            errs.append(forbidden(where, "may not specify more than 1 volume type per source"))


def _token(errs: list[FieldError], token: Object, path: str, volume: str) -> None:
    seconds = token.get("expirationSeconds") or 0
    if seconds < 600:
        errs.append(invalid(f"{path}.expirationSeconds", seconds, "may not specify a duration less than 10 minutes"))
    if seconds > 1 << 32:
        said = "may not specify a duration larger than 2^32 seconds"
        errs.append(invalid(f"{path}.expirationSeconds", seconds, said))
    if not token.get("path"):
        errs.append(required(f"{volume}.path"))
    else:
        paths.local_non_reserved(errs, token["path"], f"{volume}.path")


def _trust_bundle(errs: list[FieldError], bundle: Object, path: str) -> None:
    name, signer = bundle.get("name"), bundle.get("signerName")
    if name is not None and signer is not None:
        errs.append(invalid(path, bundle, "only one of name and signerName may be used"))
    elif name is not None:
        if not name:
            errs.append(required(f"{path}.name", "must be a valid object name"))
        for said in signers.trust_bundle_name(name, signers.signer_of_bundle(name)):
            errs.append(invalid(f"{path}.name", name, f"not a valid clustertrustbundlename: {said}"))
        if bundle.get("labelSelector") is not None:
            said = "labelSelector must be unset if name is specified"
            errs.append(invalid(f"{path}.labelSelector", bundle["labelSelector"], said))
    elif signer is not None:
        if not signer:
            errs.append(required(f"{path}.signerName", "must be a valid signer name"))
        signers.signer_name(errs, signer, f"{path}.signerName")
        label_selector(errs, bundle.get("labelSelector"), f"{path}.labelSelector")
    else:
        errs.append(required(path, "either name or signerName must be specified"))
    if not bundle.get("path"):
        errs.append(required(f"{path}.path"))
    else:
        paths.local_non_reserved(errs, bundle["path"], f"{path}.path")


def _certificate(errs: list[FieldError], certificate: Object, path: str, taken: _Paths) -> None:
    signer = certificate.get("signerName") or ""
    signers.signer_name(errs, signer, f"{path}.signerName")
    if (kind := certificate.get("keyType") or "") not in _KEY_TYPES:
        errs.append(not_supported(f"{path}.keyType", kind, _KEY_TYPES))
    if (seconds := certificate.get("maxExpirationSeconds")) is not None:
        field = f"{path}.maxExpirationSeconds"
        longest = _DAY if signers.is_kubernetes(signer) else _MAX_EXPIRATION
        if seconds < _MIN_EXPIRATION:
            errs.append(invalid(field, seconds, f"if provided, maxExpirationSeconds must be >= {_MIN_EXPIRATION}"))
        if seconds > longest:
            errs.append(invalid(field, seconds, f"if provided, maxExpirationSeconds must be <= {longest}"))
    count = 0
    for name in ("credentialBundlePath", "keyPath", "certificateChainPath"):
        if target := certificate.get(name):
            count += 1
            paths.local_non_reserved(errs, target, f"{path}.{name}")
            taken.take(target, target)
    if not count:
        errs.append(required(path, "specify at least one of credentialBundlePath, keyPath, and certificateChainPath"))
    metadata.user_annotations(errs, certificate.get("userAnnotations") or {}, f"{path}.userAnnotations")
