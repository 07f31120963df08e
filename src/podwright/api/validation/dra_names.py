"""Rules that claims and ResourceSlices share: names of pools, devices and attributes, taints, binding conditions."""

from __future__ import annotations

from podwright.api.objects import Object
from podwright.api.status import FieldError
from podwright.api.validation import names
from podwright.api.validation.field_errors import formed, invalid, items, one_of, required, too_long
from podwright.api.validation.volume_systems import csi_driver_name

EFFECTS = ("NoExecute", "NoSchedule", "None")
_MAX_IDENTIFIER = 32
_MAX_POOL = 253
_MOST_BINDING = 4


def device_name(errs: list[FieldError], name: str, field: str) -> None:
    formed(errs, name, field, names.dns_label)


def pool_name(errs: list[FieldError], name: str, field: str) -> None:
    """Subdomains with slashes between them."""
    if not name:
        errs.append(required(field))
        return
    if len(name) > _MAX_POOL:
        errs.append(too_long(field, _MAX_POOL))
    for part in name.split("/"):
        formed(errs, part, field, names.dns_subdomain)


def qualified(errs: list[FieldError], name: str, field: str) -> None:
    """A C identifier, with the domain of whoever defined it before it if that is not the driver."""
    if name.count("/") > 1:
        errs.append(invalid(field, name, "must not contain more than one slash"))
        return
    domain, slash, identifier = name.rpartition("/")
    if slash and not domain:
        errs.append(invalid(field, "", "the domain must not be empty"))
    elif slash:
        csi_driver_name(errs, domain, field)
    if slash and not identifier:
        errs.append(invalid(field, "", "the name must not be empty"))
        return
    if len(identifier) > _MAX_IDENTIFIER:
        errs.append(too_long(field, _MAX_IDENTIFIER))
    formed(errs, identifier, field, names.c_identifier)


def fully_qualified(errs: list[FieldError], name: str, field: str) -> None:
    qualified(errs, name, field)
    if "/" not in name:
        errs.append(invalid(field, name, "a fully qualified name must be a domain and a name separated by a slash"))


def taint(errs: list[FieldError], given: Object, path: str) -> None:
    formed(errs, given.get("key") or "", f"{path}.key", names.qualified_name)
    formed(errs, given.get("value") or "", f"{path}.value", names.label_value)
    one_of(errs, given.get("effect"), f"{path}.effect", EFFECTS, needed=True)


def _condition(errs: list[FieldError], name: str, field: str) -> None:
    formed(errs, name, field, names.qualified_name)


def binding_conditions(errs: list[FieldError], holder: Object, path: str) -> None:
    """The conditions on which binding waits, and those that make it fail: both or neither, and no name in both."""
    fields = ("bindingConditions", "bindingFailureConditions")
    wanted, failing = (holder.get(field) or [] for field in fields)
    for field, listed in zip(fields, (wanted, failing), strict=True):
        items(errs, listed, f"{path}.{field}", _condition, most=_MOST_BINDING)
        items(errs, listed, f"{path}.{field}", None, key=str)
    for i, name in enumerate(failing):
        if name in wanted:
            said = "bindingFailureConditions must not overlap with bindingConditions"
            errs.append(invalid(f"{path}.bindingFailureConditions[{i}]", name, said))
    if bool(wanted) != bool(failing):
        missing, other = fields if failing else fields[::-1]
        errs.append(invalid(f"{path}.{missing}", holder.get(missing), f"{missing} are required to use {other}"))
