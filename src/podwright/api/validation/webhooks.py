"""Rules for the client configuration of webhooks, in admission and in conversion."""

from __future__ import annotations

import base64
from urllib.parse import urlsplit

from podwright.api.objects import Object
from podwright.api.status import FieldError
from podwright.api.validation import names
from podwright.api.validation.field_errors import invalid, required


def client_config(errs: list[FieldError], config: Object, path: str) -> None:
    url, service = config.get("url"), config.get("service")
    if (url is None) == (service is None):
        errs.append(required(path, "exactly one of url or service is required"))
    elif url is not None:
        _url(errs, url, f"{path}.url")
    else:
        _service(errs, service or {}, f"{path}.service")


def _url(errs: list[FieldError], url: str, field: str) -> None:
    form = "; desired format: https://host[/path]"
    try:
        parts = urlsplit(url)
    except ValueError as error:
        errs.append(required(field, f"url must be a valid URL: {error}{form}"))
        return
    if parts.scheme != "https":
        errs.append(invalid(field, parts.scheme, f"'https' is the only allowed URL scheme{form}"))
    if not parts.netloc:
        errs.append(invalid(field, parts.netloc, f"host must be specified{form}"))
    if parts.username is not None:
        errs.append(invalid(field, parts.username, "user information is not permitted in the URL"))
    if parts.fragment:
        errs.append(invalid(field, parts.fragment, "fragments are not permitted in the URL"))
    if parts.query:
        errs.append(invalid(field, parts.query, "query parameters are not permitted in the URL"))


def _service(errs: list[FieldError], service: Object, path: str) -> None:
    for what in ("name", "namespace"):
        if not service.get(what):
            errs.append(required(f"{path}.{what}"))
    port = service.get("port", 443)
    if problems := names.port_number(port):
        errs.append(invalid(f"{path}.port", port, "port is not valid: " + ", ".join(problems)))
    target = service.get("path") or "/"
    if target == "/":
        return
    field = f"{path}.path"
    if not target.startswith("/"):
        errs.append(invalid(field, target, "must start with a '/'"))
    for i, step in enumerate(target[1:].removesuffix("/").split("/")):
        if not step:
            errs.append(invalid(field, target, f"segment[{i}] may not be empty"))
        errs += [invalid(field, target, f"segment[{i}]: {said}") for said in names.dns_subdomain(step) if step]


def ca_bundle_problem(config: Object) -> str:
    """Why a ``caBundle`` cannot be used; "" if it can, or there is none."""
    bundle = config.get("caBundle")
    if not bundle:
        return ""
    from cryptography import x509  # only for who has a conversion webhook

    try:
        x509.load_pem_x509_certificates(base64.b64decode(bundle))
    except ValueError:
        return "unable to load root certificates: unable to parse bytes as PEM block"
    return ""
