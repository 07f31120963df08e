"""Rules for the status that load balancers give Services and Ingresses."""

from __future__ import annotations

from podwright.api.objects import Object
from podwright.api.status import FieldError
from podwright.api.validation import names
from podwright.api.validation.field_errors import forbidden, formed, invalid, one_of, required

_MODES = ("Proxy", "VIP")


def load_balancer_status(errs: list[FieldError], status: Object, path: str, *, modes: bool = True) -> None:
    """`modes`: entries say by ipMode how traffic arrives (Services; Ingresses do not)."""
    for i, entry in enumerate(status.get("ingress") or ()):
        where = f"{path}.ingress[{i}]"
        address, mode = entry.get("ip") or "", entry.get("ipMode")
        if address:
            formed(errs, address, f"{where}.ip", names.ip)
        if modes:
            if mode is None:
                if address:
                    errs.append(required(f"{where}.ipMode", "must be specified when `ip` is set"))
            elif not address:
                errs.append(forbidden(f"{where}.ipMode", "may not be specified when `ip` is not set"))
            else:
                one_of(errs, mode, f"{where}.ipMode", _MODES)
        if hostname := entry.get("hostname"):
            formed(errs, hostname, f"{where}.hostname", names.dns_subdomain)
            if names.parse_ip(hostname) is not None:
                errs.append(invalid(f"{where}.hostname", hostname, "must be a DNS name, not an IP address"))
