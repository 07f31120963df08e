"""Kubernetes' own CEL library: quantities, URLs, IPs and CIDRs, semantic versions, named formats, JSON patch keys
(Kubernetes documentation, "Common Expression Language in Kubernetes", "Kubernetes CEL libraries")."""

from __future__ import annotations

import functools
import ipaddress
import re
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs, urlsplit

from podwright.api import quantity as quantities
from podwright.api.cel.errors import EvaluationError, no_such_overload
from podwright.api.cel.values import CIDR, IP, NONE, URL, Optional, Quantity, Semver, type_name

_SEMVER = re.compile(
    r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(?:-([0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?(?:\+[0-9A-Za-z.-]+)?"
)
_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_NAME = r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"


def _quantity(text: Any) -> Quantity:
    if isinstance(text, Quantity):
        return text
    try:
        return Quantity(quantities.parse(str(text)), str(text))
    except ValueError as error:
        raise EvaluationError(str(error)) from None


def _is_quantity(text: Any) -> bool:
    return isinstance(text, str) and quantities.is_valid(text)


def _amount(value: Any) -> Decimal:
    if isinstance(value, Quantity):
        return value.value
    if isinstance(value, int) and not isinstance(value, bool):
        return Decimal(value)
    raise no_such_overload(f"quantity method on {type_name(value)}")


def semver(text: Any, normalize: bool = False) -> Semver:
    match = _SEMVER.fullmatch(_normalized(str(text)) if normalize else str(text))
    if match is None:
        raise EvaluationError(f"invalid semantic version {text!r}")
    parts = (int(p) if p.isdigit() else p for p in match.group(4).split(".")) if match.group(4) else ()
    return Semver(int(match.group(1)), int(match.group(2)), int(match.group(3)), tuple(parts))


def _normalized(text: str) -> str:
    head, sep, rest = re.fullmatch(r"v?([^-+]*)([-+]?)(.*)", text.strip()).groups()  # type: ignore[union-attr]
    numbers = [(n.lstrip("0") or "0") if n else n for n in head.split(".")]
    return ".".join([*numbers, "0", "0"][: max(3, len(numbers))]) + sep + rest


def _is_semver(text: Any, normalize: bool = False) -> bool:
    try:
        semver(text, normalize)
    except EvaluationError:
        return False
    return isinstance(text, str)


def _order(first: Any, second: Any) -> int:
    if isinstance(first, Semver) and isinstance(second, Semver):
        a, b = first.order(), second.order()
        return (a > b) - (a < b)
    x, y = _amount(first), _amount(second)
    return (x > y) - (x < y)


def _integer(value: Quantity) -> int:
    if not _is_integer(value):
        raise EvaluationError("cannot convert value to integer")
    return int(value.value)


def _is_integer(value: Quantity) -> bool:
    return _amount(value) == _amount(value).to_integral_value() and abs(_amount(value)) < 2**63


def _sign(value: Any) -> int:
    amount = _amount(value)
    return (amount > 0) - (amount < 0)


def _plus(first: Any, second: Any) -> Quantity:
    total = _amount(first) + _amount(second)
    return Quantity(total, str(total))


def _minus(first: Any, second: Any) -> Quantity:
    total = _amount(first) - _amount(second)
    return Quantity(total, str(total))


def _url(text: Any) -> URL:
    if not isinstance(text, str):
        raise no_such_overload(f"url({type_name(text)})")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise EvaluationError(f"URL parse error during conversion from string: {error}") from None
    relative = not parts.scheme and not text.startswith("/")
    if relative or any(c.isspace() for c in text) or (port is not None and port < 0):
        raise EvaluationError(f'URL parse error during conversion from string: parse "{text}": invalid URI for request')
    return URL(parts, text)


def _is_url(text: Any) -> bool:
    try:
        _url(text)
    except EvaluationError:
        return False
    return True


def _of_url(take: Callable[[URL], Any], name: str) -> Callable[[Any], Any]:
    def method(value: Any) -> Any:
        if not isinstance(value, URL):
            raise no_such_overload(f"{type_name(value)}.{name}()")
        return take(value)

    return method


def _ip(text: Any) -> IP:
    if isinstance(text, ipaddress.IPv4Network | ipaddress.IPv6Network):
        return getattr(text, "given", text.network_address)
    try:
        address = ipaddress.ip_address(text if isinstance(text, str) else "")
    except ValueError:
        raise EvaluationError(f'IP Address "{text}" parse error during conversion from string') from None
    if isinstance(address, ipaddress.IPv6Address) and (address.ipv4_mapped or "%" in text):
        raise EvaluationError(f'IP Address "{text}" is an IPv4-mapped address or has a zone')
    return address


def _cidr(text: Any) -> CIDR:
    if not isinstance(text, str) or "/" not in text:
        raise EvaluationError(f'network address parse error during conversion from string: "{text}"')
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise EvaluationError(f'network address parse error during conversion from string: "{text}"') from None


def _parses(parse: Callable[[Any], Any]) -> Callable[[Any], bool]:
    def check(text: Any) -> bool:
        try:
            parse(text)
        except EvaluationError:
            return False
        return True

    return check


def _family(value: Any) -> int:
    if not isinstance(value, IP | CIDR):
        raise no_such_overload(f"{type_name(value)}.family()")
    return value.version


def _of_ip(name: str) -> Callable[[Any], bool]:
    def method(value: Any) -> bool:
        if not isinstance(value, IP):
            raise no_such_overload(f"{type_name(value)}.{name}()")
        if name == "isUnspecified":
            return value.is_unspecified
        if name == "isLoopback":
            return value.is_loopback
        if name == "isLinkLocalMulticast":
            in_range = ipaddress.ip_network("224.0.0.0/24" if value.version == 4 else "ff02::/16")
            return value in in_range
        if name == "isLinkLocalUnicast":
            return value.is_link_local
        return not (value.is_unspecified or value.is_loopback or value.is_multicast or value.is_link_local)

    return method


def _contains_ip(network: Any, address: Any) -> bool:
    address = _ip(address) if isinstance(address, str) else address
    return bool(isinstance(network, CIDR) and network.version == address.version and address in network)


def _contains_cidr(network: Any, other: Any) -> bool:
    other = _cidr(other) if isinstance(other, str) else other
    return bool(isinstance(network, CIDR) and network.version == other.version and other.subnet_of(network))


def _masked(network: Any) -> Any:
    return network


class Format:
    """A named format: gives the problems of a text."""

    def __init__(self, problems: Callable[[str], Sequence[str]]) -> None:
        self.problems = problems


def _pattern(pattern: str, longest: int, message: str) -> Format:
    compiled = re.compile(pattern)

    def problems(text: str) -> Sequence[str]:
        found = []
        if len(text) > longest:
            found.append(f"must be no more than {longest} characters")
        if not compiled.fullmatch(text):
            found.append(message)
        return found

    return Format(problems)


def _parsed_by(parse: Callable[[str], Any], message: str) -> Format:
    def problems(text: str) -> Sequence[str]:
        try:
            parse(text)
        except (ValueError, EvaluationError):
            return [message]
        return []

    return Format(problems)


_QUALIFIED = rf"(?:{_LABEL}(?:\.{_LABEL})*/)?{_NAME}"
FORMATS: dict[str, Format] = {
    "dns1123Label": _pattern(_LABEL, 63, "a lowercase RFC 1123 label is wanted"),
    "dns1123Subdomain": _pattern(rf"{_LABEL}(\.{_LABEL})*", 253, "a lowercase RFC 1123 subdomain is wanted"),
    "dns1035Label": _pattern(r"[a-z]([-a-z0-9]*[a-z0-9])?", 63, "a DNS-1035 label is wanted"),
    "qualifiedName": _pattern(_QUALIFIED, 317, "name part must consist of alphanumeric characters, '-', '_' or '.'"),
    "dns1123LabelPrefix": _pattern(rf"{_LABEL}-?", 63, "a lowercase RFC 1123 label prefix is wanted"),
    "dns1123SubdomainPrefix": _pattern(rf"{_LABEL}(\.{_LABEL})*[-.]?", 253, "a subdomain prefix is wanted"),
    "dns1035LabelPrefix": _pattern(r"[a-z]([-a-z0-9]*[a-z0-9])?-?", 63, "a DNS-1035 label prefix is wanted"),
    "labelValue": _pattern(rf"({_NAME})?", 63, "a valid label value is wanted"),
    "uri": _parsed_by(_url, "invalid URI"),
    "uuid": _pattern(r"[0-9a-fA-F]{8}-?(?:[0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}", 36, "does not match the UUID format"),
    "byte": _pattern(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?", 2**31, "invalid base64"),
    "date": _pattern(r"\d{4}-\d\d-\d\d", 10, "invalid date"),
    "datetime": _pattern(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", 64, "invalid datetime"),
}


def _validate(format_: Any, text: Any) -> Optional:
    if not isinstance(format_, Format) or not isinstance(text, str):
        raise no_such_overload("format.validate")
    problems = format_.problems(text)
    return Optional(True, list(problems)) if problems else NONE


def _named(name: str) -> Optional:
    return Optional(True, FORMATS[name]) if name in FORMATS else NONE


def _string_of(value: Any) -> str:
    if isinstance(value, IP | CIDR):
        return str(value)
    raise no_such_overload(f"string({type_name(value)})")


def _canonical(text: Any) -> bool:
    return bool(str(_ip(text)) == text)


def _find_query(value: URL) -> dict[str, list[str]]:
    return parse_qs(value.parts.query, keep_blank_values=True)


def _hostname(value: URL) -> str:
    return value.parts.hostname or ""



def _delegated(name: str) -> Callable[..., Any]:
    """A method of the authorizer objects, which carry it themselves (the API server hands them in)."""

    def method(value: Any, *args: Any) -> Any:
        own = getattr(value, "cel_methods", {}).get(name)
        if own is None:
            raise no_such_overload(f"{type_name(value)}.{name}()")
        return own(value, *args)

    return method


FUNCTIONS: dict[tuple[str, int], Callable[..., Any]] = {
    ("quantity", 1): _quantity,
    ("isQuantity", 1): _is_quantity,
    ("url", 1): _url,
    ("isURL", 1): _is_url,
    ("ip", 1): _ip,
    ("isIP", 1): _parses(_ip),
    ("cidr", 1): _cidr,
    ("isCIDR", 1): _parses(_cidr),
    ("semver", 1): semver,
    ("semver", 2): semver,
    ("isSemver", 1): _is_semver,
    ("isSemver", 2): _is_semver,
}

METHODS: dict[tuple[str, int], Callable[..., Any]] = {
    ("isGreaterThan", 1): lambda a, b: _order(a, b) > 0,
    ("isLessThan", 1): lambda a, b: _order(a, b) < 0,
    ("compareTo", 1): _order,
    ("asInteger", 0): _integer,
    ("isInteger", 0): _is_integer,
    ("asApproximateFloat", 0): lambda value: float(_amount(value)),
    ("sign", 0): _sign,
    ("add", 1): _plus,
    ("sub", 1): _minus,
    ("major", 0): lambda version: version.major,
    ("minor", 0): lambda version: version.minor,
    ("patch", 0): lambda version: version.patch,
    ("getScheme", 0): _of_url(lambda u: u.parts.scheme, "getScheme"),
    ("getHost", 0): _of_url(lambda u: u.parts.netloc.rpartition("@")[2], "getHost"),
    ("getHostname", 0): _of_url(_hostname, "getHostname"),
    ("getPort", 0): _of_url(lambda u: str(u.parts.port) if u.parts.port is not None else "", "getPort"),
    ("getEscapedPath", 0): _of_url(lambda u: u.parts.path, "getEscapedPath"),
    ("getQuery", 0): _of_url(_find_query, "getQuery"),
    ("family", 0): _family,
    **{
        (name, 0): _of_ip(name)
        for name in ("isUnspecified", "isLoopback", "isLinkLocalMulticast", "isLinkLocalUnicast", "isGlobalUnicast")
    },
    ("containsIP", 1): _contains_ip,
    ("containsCIDR", 1): _contains_cidr,
    ("ip", 0): _ip,
    ("masked", 0): _masked,
    ("prefixLength", 0): lambda network: network.prefixlen,
    ("string", 0): _string_of,
    ("validate", 1): _validate,
    **{
        (name, count): _delegated(name)
        for name, count in (
            ("path", 1), ("group", 1), ("resource", 1), ("subresource", 1), ("namespace", 1), ("name", 1),
            ("fieldSelector", 1), ("labelSelector", 1), ("serviceAccount", 2), ("check", 1), ("allowed", 0),
            ("reason", 0), ("errored", 0), ("error", 0),
        )
    },
}

NAMESPACES: dict[tuple[str, str, int], Callable[..., Any]] = {
    ("ip", "isCanonical", 1): _canonical,
    ("format", "named", 1): _named,
    **{("format", name, 0): functools.partial(FORMATS.__getitem__, name) for name in FORMATS},
    ("jsonpatch", "escapeKey", 1): lambda key: key.replace("~", "~0").replace("/", "~1"),
}
