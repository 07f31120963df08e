"""Endpoints."""

from __future__ import annotations

from podwright.api.objects import Object
from podwright.api.status import FieldError
from podwright.api.validation import names
from podwright.api.validation.containers import PROTOCOLS
from podwright.api.validation.field_errors import formed, invalid, named, one_of, required
from podwright.api.validation.rules import Rules


def endpoint_ip(errs: list[FieldError], address: str, field: str) -> None:
    """An address that can be an endpoint: not the machine itself, not only this link's."""
    parsed = names.parse_ip(address)
    if parsed is None:
        errs.append(invalid(field, address, "must be a valid IP address"))
        return
    if parsed.is_unspecified:
        errs.append(invalid(field, address, f"may not be unspecified ({address})"))
    if parsed.is_loopback:
        errs.append(invalid(field, address, "may not be in the loopback range (127.0.0.0/8, ::1/128)"))
    if parsed.is_link_local:
        errs.append(invalid(field, address, "may not be in the link-local range (169.254.0.0/16, fe80::/10)"))
    if parsed.is_multicast and str(parsed).startswith(("224.0.0.", "ff02:")):
        errs.append(invalid(field, address, "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"))


def endpoints(errs: list[FieldError], obj: Object) -> None:
    for i, subset in enumerate(obj.get("subsets") or ()):
        where = f"subsets[{i}]"
        if not subset.get("addresses") and not subset.get("notReadyAddresses"):
            errs.append(required(where, "must specify `addresses` or `notReadyAddresses`"))
        for kind in ("addresses", "notReadyAddresses"):
            for j, address in enumerate(subset.get(kind) or ()):
                _address(errs, address, f"{where}.{kind}[{j}]")
        ports = subset.get("ports") or ()
        for j, port in enumerate(ports):
            _port(errs, port, len(ports) > 1, f"{where}.ports[{j}]")


def _address(errs: list[FieldError], address: Object, path: str) -> None:
    value = address.get("ip") or ""
    formed(errs, value, f"{path}.ip", names.ip)
    if hostname := address.get("hostname"):
        formed(errs, hostname, f"{path}.hostname", names.dns_label)
    if (node := address.get("nodeName")) is not None:
        formed(errs, node, f"{path}.nodeName", names.dns_subdomain)
    endpoint_ip(errs, value, f"{path}.ip")


def _port(errs: list[FieldError], port: Object, needs_name: bool, path: str) -> None:
    if needs_name or port.get("name"):
        named(errs, port.get("name"), f"{path}.name", names.dns_label)
    formed(errs, port.get("port") or 0, f"{path}.port", names.port_number)
    one_of(errs, port.get("protocol"), f"{path}.protocol", PROTOCOLS, needed=True)
    if (application := port.get("appProtocol")) is not None:
        formed(errs, application, f"{path}.appProtocol", names.qualified_name)


def _update(errs: list[FieldError], new: Object, old: Object) -> None:
    if (new.get("subsets") or []) != (old.get("subsets") or []):
        endpoints(errs, new)


ENDPOINTS = Rules(create=endpoints, update=_update)
