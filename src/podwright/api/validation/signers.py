"""Rules for signer names ("example.com/name") and the names of ClusterTrustBundles that belong to them."""

from __future__ import annotations

from collections.abc import Callable

from podwright.api.status import FieldError
from podwright.api.validation import names
from podwright.api.validation.field_errors import invalid, required, too_long

_MAX_DOMAIN = 253
_MAX_SIGNER = 253 + 1 + 63 + 1 + 253
"""A domain, a namespace and the name of a resource in it, and what stands between them."""


def is_kubernetes(signer: str) -> bool:
    """Whether the signer is one of the project's own."""
    return f".{signer.partition('/')[0]}".endswith(".kubernetes.io")


def signer_name(errs: list[FieldError], signer: str, field: str) -> None:
    if not signer:
        errs.append(required(field))
        return
    if signer.count("/") != 1:
        said = "must be a fully qualified domain and path of the form 'example.com/signer-name'"
        errs.append(invalid(field, signer, said))
        return
    domain, _, rest = signer.partition("/")
    if len(domain) > _MAX_DOMAIN:
        errs.append(too_long(field, _MAX_DOMAIN))
    _labels(errs, domain, field, names.dns_label)
    if "." not in domain:
        errs.append(invalid(field, domain, "should be a domain with at least two segments separated by dots"))
    _labels(errs, rest, field, names.dns_subdomain)
    if len(signer) > _MAX_SIGNER:
        errs.append(too_long(field, _MAX_SIGNER))


def _labels(errs: list[FieldError], value: str, field: str, check: Callable[[str], tuple[str, ...]]) -> None:
    """What is wrong with the first bad label."""
    for label in value.split("."):
        if problems := check(label):
            errs += [invalid(field, value, f'validating label "{label}": {said}') for said in problems]
            return


def signer_of_bundle(name: str) -> str:
    """The signer to which a ClusterTrustBundle of this name belongs, "" if to none."""
    return name.rpartition(":")[0].replace(":", "/")


def trust_bundle_name(name: str, signer: str) -> tuple[str, ...]:
    """What is wrong with a ClusterTrustBundle's name: it is "domain:path:rest" if it has a signer."""
    if not signer:
        if ":" in name:
            return ('ClusterTrustBundle without signer name must not have ":" in its name',)
        return names.dns_subdomain(name)
    prefix = signer.replace("/", ":") + ":"
    if not name.startswith(prefix):
        said = f'ClusterTrustBundle for signerName {signer} must be named with prefix {prefix}'
        return (said,)
    return names.dns_subdomain(name.removeprefix(prefix))
