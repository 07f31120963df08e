"""Rules for the status that load balancers give Services and Ingresses."""

from __future__ import annotations

from podwright.api.objects import Object
from podwright.api.status import FieldError
from podwright.api.validation import names
from podwright.api.validation.field_errors import forbidden, invalid, not_supported, required

_MODES = ("Proxy", "VIP")


def load_balancer_status(errs: list[FieldError], status: Object, path: str, *, modes: bool = True) -> None:
    """`modes`: entries say by ipMode how traffic arrives (Services; Ingresses do not)."""
    for i, entry in enumerate(status.get("ingress") or ()):
        where = f"{path}.ingress[{i}]"
        address, mode = entry.get("ip") or "", entry.get("ipMode")
        if address:
            errs += [invalid(f"{where}.ip", address, said) for said in names.ip(address)]
        if modes:
            if mode is None:
                if address:
                    errs.append(required(f"{where}.ipMode", "must be specified when `ip` is set"))
            elif not address:
                errs.append(forbidden(f"{where}.ipMode", "may not be specified when `ip` is not set"))
            elif mode not in _MODES:
                errs.append(not_supported(f"{where}.ipMode", mode, _MODES))
        if hostname := entry.get("hostname"):
            errs += [invalid(f"{where}.hostname", hostname, said) for said in names.dns_subdomain(hostname)]
            if names.parse_ip(hostname) is not None:
                errs.append(invalid(f"{where}.hostname", hostname, "must be a DNS name, not an IP address"))
