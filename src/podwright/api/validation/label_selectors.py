"""Rules for LabelSelector (apimachinery's ``ValidateLabelSelector``)."""

from __future__ import annotations

from podwright.api.objects import Object
from podwright.api.status import FieldError
from podwright.api.validation import metadata, names
from podwright.api.validation.field_errors import forbidden, formed, invalid, required


def label_selector(errs: list[FieldError], selector: Object | None, path: str) -> None:
    if not selector:
        return
    if labels := selector.get("matchLabels"):
        metadata.labels(errs, labels, f"{path}.matchLabels")
    for i, requirement in enumerate(selector.get("matchExpressions") or ()):
        _requirement(errs, requirement, f"{path}.matchExpressions[{i}]")


def _requirement(errs: list[FieldError], requirement: Object, path: str) -> None:
    operator = requirement.get("operator") or ""
    values = requirement.get("values") or ()
    if operator in ("In", "NotIn"):
        if not values:
            errs.append(required(f"{path}.values", "must be specified when `operator` is 'In' or 'NotIn'"))
    elif operator in ("Exists", "DoesNotExist"):
        if values:
            said = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
            errs.append(forbidden(f"{path}.values", said))
    else:
        errs.append(invalid(f"{path}.operator", operator, "not a valid selector operator"))
    metadata.label_name(errs, requirement.get("key") or "", f"{path}.key")
    for i, value in enumerate(values):
        formed(errs, value, f"{path}.values[{i}]", names.label_value)


def is_empty(selector: Object | None) -> bool:
    return not selector or not (selector.get("matchLabels") or selector.get("matchExpressions"))


def matches(selector: Object, labels: dict[str, str]) -> bool:
    """Whether a valid selector selects the labels."""
    for key, value in (selector.get("matchLabels") or {}).items():
        if labels.get(key) != value:
            return False
    for requirement in selector.get("matchExpressions") or ():
        key, operator = requirement.get("key"), requirement.get("operator")
        values = requirement.get("values") or ()
        if operator == "In" and labels.get(key) not in values:
            return False
        if operator == "NotIn" and key in labels and labels[key] in values:
            return False
        if operator == "Exists" and key not in labels:
            return False
        if operator == "DoesNotExist" and key in labels:
            return False
    return True
