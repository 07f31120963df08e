"""Rules for signer names ("example.com/name") and the names of ClusterTrustBundles that belong to them."""

from __future__ import annotations

from podwright.api.status import FieldError
from podwright.api.validation import names
from podwright.api.validation.field_errors import invalid, required, too_long

_MAX_PATH = 253 * 2 + 2
"""One subdomain for the domain, one for the path, one label of a resource and the slashes between them."""


def signer_name(errs: list[FieldError], signer: str, field: str) -> None:
    if not signer:
        errs.append(required(field))
        return
    domain, slash, rest = signer.partition("/")
    if not slash or "/" in rest:
        said = "must be a fully qualified domain and path of the form 'example.com/signer-name'"
        errs.append(invalid(field, signer, said))
        return
    segments = domain.split(".")
    if len(segments) < 2:
        errs.append(invalid(field, domain, "should be a domain with at least two segments separated by dots"))
    for label in segments:
        errs += [invalid(field, label, f"validating label {_quoted(label)}: {said}") for said in names.dns_label(label)]
    if len(rest) > 253:
        errs.append(too_long(field, 253))
    for part in rest.split("."):
        if problems := names.dns_1035_label(part) if not part[:1].isdigit() else names.dns_label(part):
            errs += [invalid(field, part, f"validating label {_quoted(part)}: {said}") for said in problems]
    if len(signer) > _MAX_PATH:
        errs.append(too_long(field, _MAX_PATH))


def _quoted(text: str) -> str:
    return f'"{text}"'


def signer_of_bundle(name: str) -> str:
    """The signer to which a ClusterTrustBundle of this name belongs, "" if to none."""
    parts = name.split(":")
    return "" if len(parts) < 2 else "/".join(parts[:2])


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
