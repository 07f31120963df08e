"""What names, labels, ports and addresses may look like.

Each check answers the tuple of things wrong with a text, empty if nothing is; the sentences are those of apimachinery's
``util/validation``. Answers are cached: a cluster says the same names again and again.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from functools import lru_cache

Problems = tuple[str, ...]
NameCheck = Callable[[str, bool], Problems]
"""(name, it is a generateName prefix) → problems."""

_CACHE = 8192

_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = _LABEL + r"(\." + _LABEL + ")*"
_LABEL_UNDERSCORE = "_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?"
_SUBDOMAIN_UNDERSCORE = _LABEL_UNDERSCORE + r"(\." + _LABEL_UNDERSCORE + ")*"
_LABEL_1035 = "[a-z]([-a-z0-9]*[a-z0-9])?"
_WILDCARD = r"\*\." + _SUBDOMAIN
_QUALIFIED = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_LABEL_VALUE = f"({_QUALIFIED})?"
_C_IDENTIFIER = "[A-Za-z_][A-Za-z0-9_]*"
_CONFIG_KEY = "[-._a-zA-Z0-9]+"
_ENV_NAME = "[-._a-zA-Z][-._a-zA-Z0-9]*"
_HEADER = "[-A-Za-z0-9]+"
_PERCENT = "[0-9]+%"
_HTTP_PATH = r"[A-Za-z0-9/\-._~%!$&'()*+,;=:]+"

_label = re.compile(_LABEL).fullmatch
_subdomain = re.compile(_SUBDOMAIN).fullmatch
_subdomain_underscore = re.compile(_SUBDOMAIN_UNDERSCORE).fullmatch
_label_1035 = re.compile(_LABEL_1035).fullmatch
_wildcard = re.compile(_WILDCARD).fullmatch
_qualified = re.compile(_QUALIFIED).fullmatch
_label_value = re.compile(_LABEL_VALUE).fullmatch
_c_identifier = re.compile(_C_IDENTIFIER).fullmatch
_config_key = re.compile(_CONFIG_KEY).fullmatch
_env_name = re.compile(_ENV_NAME).fullmatch
_header = re.compile(_HEADER).fullmatch
_percent = re.compile(_PERCENT).fullmatch
_http_path = re.compile(_HTTP_PATH).fullmatch
_port_characters = re.compile("[-a-z0-9]+").fullmatch
_port_letter = re.compile("[a-z]").search


def _regex(message: str, pattern: str, *examples: str) -> str:
    if not examples:
        return f"{message} (regex used for validation is '{pattern}')"
    said = " or ".join(f"'{example}', " for example in examples)
    return f"{message} (e.g. {said}regex used for validation is '{pattern}')"


def max_length(length: int) -> str:
    return f"must be no more than {length} characters"


_LABEL_SAID = _regex(
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with "
    "an alphanumeric character",
    _LABEL,
    "my-name",
    "123-abc",
)
_SUBDOMAIN_SAID = _regex(
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and "
    "end with an alphanumeric character",
    _SUBDOMAIN,
    "example.com",
)
_SUBDOMAIN_UNDERSCORE_SAID = _regex(
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or '.', and must "
    "start and end with an alphanumeric character",
    _SUBDOMAIN_UNDERSCORE,
    "example.com",
)
_LABEL_1035_SAID = _regex(
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, "
    "and end with an alphanumeric character",
    _LABEL_1035,
    "my-name",
    "abc-123",
)
_WILDCARD_SAID = _regex(
    "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of "
    "lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character",
    _WILDCARD,
    "*.example.com",
)
_QUALIFIED_SAID = _regex(
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character",
    _QUALIFIED,
    "MyName",
    "my.name",
    "123-abc",
)
_LABEL_VALUE_SAID = _regex(
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and "
    "end with an alphanumeric character",
    _LABEL_VALUE,
    "MyValue",
    "my_value",
    "12345",
)


@lru_cache(_CACHE)
def dns_label(value: str) -> Problems:
    """RFC 1123 label."""
    errs = []
    if len(value) > 63:
        errs.append(max_length(63))
    if not _label(value):
        errs.append("must not contain dots" if _subdomain(value) else _LABEL_SAID)
    return tuple(errs)


@lru_cache(_CACHE)
def dns_subdomain(value: str) -> Problems:
    """RFC 1123 subdomain."""
    errs = []
    if len(value) > 253:
        errs.append(max_length(253))
    if not _subdomain(value):
        errs.append(_SUBDOMAIN_SAID)
    return tuple(errs)


@lru_cache(_CACHE)
def dns_subdomain_with_underscore(value: str) -> Problems:
    errs = []
    if len(value) > 253:
        errs.append(max_length(253))
    if not _subdomain_underscore(value):
        errs.append(_SUBDOMAIN_UNDERSCORE_SAID)
    return tuple(errs)


@lru_cache(_CACHE)
def dns_1035_label(value: str) -> Problems:
    errs = []
    if len(value) > 63:
        errs.append(max_length(63))
    if not _label_1035(value):
        errs.append(_LABEL_1035_SAID)
    return tuple(errs)


def wildcard_dns_subdomain(value: str) -> Problems:
    errs = []
    if len(value) > 253:
        errs.append(max_length(253))
    if not _wildcard(value):
        errs.append(_WILDCARD_SAID)
    return tuple(errs)


@lru_cache(_CACHE)
def qualified_name(value: str) -> Problems:
    """A label key, resource name or condition type: "name" or "domain/name"."""
    parts = value.split("/")
    if len(parts) > 2:
        return (
            f"a qualified name {_QUALIFIED_SAID} with an optional DNS subdomain prefix and '/' (e.g. "
            "'example.com/MyName')",
        )
    errs = []
    if len(parts) == 2:
        if not parts[0]:
            errs.append("prefix part must be non-empty")
        else:
            errs += [f"prefix part {said}" for said in dns_subdomain(parts[0])]
    name = parts[-1]
    if not name:
        errs.append("name part must be non-empty")
    elif len(name) > 63:
        errs.append("name part " + max_length(63))
    if not _qualified(name):
        errs.append("name part " + _QUALIFIED_SAID)
    return tuple(errs)


@lru_cache(_CACHE)
def label_value(value: str) -> Problems:
    errs = []
    if len(value) > 63:
        errs.append(max_length(63))
    if not _label_value(value):
        errs.append(_LABEL_VALUE_SAID)
    return tuple(errs)


def c_identifier(value: str) -> Problems:
    if _c_identifier(value):
        return ()
    return (
        _regex(
            "a valid C identifier must start with alphabetic character or '_', followed by a string of alphanumeric "
            "characters or '_'",
            _C_IDENTIFIER,
            "my_name",
            "MY_NAME",
            "MyName",
        ),
    )


@lru_cache(_CACHE)
def config_map_key(value: str) -> Problems:
    errs = []
    if len(value) > 253:
        errs.append(max_length(253))
    if not _config_key(value):
        said = "a valid config key must consist of alphanumeric characters, '-', '_' or '.'"
        errs.append(_regex(said, _CONFIG_KEY, "key.name", "KEY_NAME", "key-name"))
    return (*errs, *_dots(value))


def _dots(value: str) -> Problems:
    if value in (".", ".."):
        return (f"must not be '{value}'",)
    return ("must not start with '..'",) if value.startswith("..") else ()


@lru_cache(_CACHE)
def relaxed_env_name(value: str) -> Problems:
    """Printable ASCII but "=" (KEP-4369)."""
    if not value:
        return ("environment variable name must be non-empty",)
    if value.isascii() and value.isprintable() and "=" not in value:
        return ()
    return ("a valid environment variable name must consist only of printable ASCII characters other than '='",)


def env_name(value: str) -> Problems:
    """The classic form: what a secret or ConfigMap key must have to become a variable without a warning."""
    errs = []
    if not _env_name(value):
        said = (
            "a valid environment variable name must consist of alphabetic characters, digits, '_', '-', or '.', and "
            "must not start with a digit"
        )
        errs.append(_regex(said, _ENV_NAME, "my.env-name", "MY_ENV.NAME", "MyEnvName1"))
    return (*errs, *_dots(value))


def http_header_name(value: str) -> Problems:
    if _header(value):
        return ()
    said = "a valid HTTP header must consist of alphanumeric characters or '-'"
    return (_regex(said, _HEADER, "X-Header-Name"),)


def http_path(value: str) -> Problems:
    return () if _http_path(value) else (_regex("Invalid path", _HTTP_PATH),)


def percent(value: str) -> Problems:
    if _percent(value):
        return ()
    said = "a valid percent string must be a numeric string followed by an ending '%'"
    return (_regex(said, _PERCENT, "1%", "93%"),)


@lru_cache(_CACHE)
def port_name(value: str) -> Problems:
    """RFC 6335 service name."""
    errs = []
    if len(value) > 15:
        errs.append(max_length(15))
    if not _port_characters(value):
        errs.append("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)")
    if not _port_letter(value):
        errs.append("must contain at least one letter (a-z)")
    if "--" in value:
        errs.append("must not contain consecutive hyphens")
    if value and (value[0] == "-" or value[-1] == "-"):
        errs.append("must not begin or end with a hyphen")
    return tuple(errs)


def port_number(value: int) -> Problems:
    return () if 1 <= value <= 65535 else ("must be between 1 and 65535, inclusive",)


_MAX_ID = 2**31 - 1


def user_or_group_id(value: int) -> Problems:
    return () if 0 <= value <= _MAX_ID else (f"must be between 0 and {_MAX_ID}, inclusive",)


_NOT_AN_IP = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
_NOT_A_CIDR = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"
_LEADING_ZEROS = re.compile(r"\b0+(?=\d)")


def parse_ip(value: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address, or None. Zeros before an IPv4 number are passed over, as upstream does in old fields."""
    try:
        if "." in value and ":" not in value:
            value = _LEADING_ZEROS.sub("", value)
        if "%" in value:
            return None
        return ipaddress.ip_address(value)
    except ValueError:
        return None


SPELLINGS = (
    "must not have leading 0s", "must not be an IPv4-mapped IPv6 address",
    "must not have leading 0s in IP or prefix length", "must not have an IPv4-mapped IPv6 address",
    "must not have bits set beyond the prefix length",
)
"""What is said of addresses that older servers took."""
_IP_ZEROS, _IP_MAPPED, _CIDR_ZEROS, _CIDR_MAPPED, _CIDR_BITS = SPELLINGS


def _spelling(value: str, zeros: str, mapped: str) -> Problems:
    """What is wrong with the way in which an address that can be read is written."""
    try:
        address = ipaddress.ip_address(value)
    except ValueError:
        return (zeros,)
    return (mapped,) if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped else ()


def ip(value: str) -> Problems:
    """An IP address in a field that takes an IPv6 address in any spelling."""
    if parse_ip(value) is None:
        return (_NOT_AN_IP,)
    return _spelling(value, _IP_ZEROS, _IP_MAPPED)


def canonical_ip(value: str) -> Problems:
    """An IP address in its one canonical spelling."""
    address = parse_ip(value)
    return ip(value) or (() if str(address) == value else (f'must be in canonical form ("{address}")',))


def parse_cidr(value: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    address, slash, length = value.partition("/")
    parsed = parse_ip(address)
    if not slash or parsed is None or not length.isdigit() or int(length) > parsed.max_prefixlen:
        return None
    return ipaddress.ip_network(f"{parsed}/{int(length)}", strict=False)


def cidr(value: str) -> Problems:
    network, (address, _, length) = parse_cidr(value), value.partition("/")
    if network is None:
        return (_NOT_A_CIDR,)
    if length != str(network.prefixlen):
        return (_CIDR_ZEROS,)
    if problems := _spelling(address, _CIDR_ZEROS, _CIDR_MAPPED):
        return problems
    inside = ipaddress.ip_address(address) != network.network_address
    return (_CIDR_BITS,) if inside else ()


def canonical_cidr(value: str) -> Problems:
    network = parse_cidr(value)
    return cidr(value) or (() if str(network) == value else (f'must be in canonical form ("{network}")',))


def _prefix(value: str, prefix: bool) -> str:
    """A generateName may end in a dash: what follows makes it whole."""
    return value[:-1] + "a" if prefix and value.endswith("-") and len(value) > 1 else value


def subdomain_name(value: str, prefix: bool = False) -> Problems:
    return dns_subdomain(_prefix(value, prefix))


def label_name(value: str, prefix: bool = False) -> Problems:
    return dns_label(_prefix(value, prefix))


def label_1035_name(value: str, prefix: bool = False) -> Problems:
    return dns_1035_label(_prefix(value, prefix))


@lru_cache(_CACHE)
def path_segment_name(value: str, prefix: bool = False) -> Problems:
    """Any text that can stand in a URL path: names of RBAC objects."""
    errs = []
    if not prefix and value in (".", ".."):
        errs.append(f"may not be '{value}'")
    errs += [f"may not contain '{sign}'" for sign in ("/", "%") if sign in value]
    return tuple(errs)


def fully_qualified_name(value: str) -> Problems:
    """A DNS subdomain of three labels or more."""
    if errs := dns_subdomain(value):
        return (",".join(errs),)
    if len(value.split(".")) < 3:
        return ("should be a domain with at least three segments separated by dots",)
    return ()


def fully_qualified_domain(value: str) -> Problems:
    """A domain name of two labels or more; a trailing dot is allowed."""
    value = value.removesuffix(".")
    if errs := dns_subdomain(value):
        return (",".join(errs),)
    parts = value.split(".")
    if len(parts) < 2:
        return ("should be a domain with at least two segments separated by dots",)
    return tuple(",".join(errs) for part in parts if (errs := dns_label(part)))
