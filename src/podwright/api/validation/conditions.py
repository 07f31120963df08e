"""Rules for the conditions that newer kinds share (apimachinery's ``ValidateConditions``)."""

from __future__ import annotations

import re

from podwright.api.objects import Object
from podwright.api.status import FieldError
from podwright.api.validation import names
from podwright.api.validation.field_errors import duplicate, formed, invalid, one_of, required, too_long

_REASON = "[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?"
_reason = re.compile(_REASON).fullmatch
_REASON_SAID = (
    "a condition reason must start with alphabetic character, optionally followed by a string of alphanumeric "
    "characters or '_,:', and must end with an alphanumeric character or '_' (e.g. 'my_name',  or 'MY_NAME',  or "
    f"'MyName',  or 'ReasonA,ReasonB',  or 'ReasonA:ReasonB', regex used for validation is '{_REASON}')"
)
_MAX_REASON = 1024
_MAX_MESSAGE = 32 * 1024


def conditions(errs: list[FieldError], listed: list[Object], path: str) -> None:
    seen: set[str] = set()
    for i, condition in enumerate(listed):
        where, kind = f"{path}[{i}]", condition.get("type") or ""
        if kind in seen:
            errs.append(duplicate(where, kind))
        seen.add(kind)
        if not kind:
            errs.append(required(f"{where}.type", "is required"))
        else:
            formed(errs, kind, f"{where}.type", names.qualified_name)
        one_of(errs, condition.get("status"), f"{where}.status", ("False", "True", "Unknown"), needed=True)
        generation = condition.get("observedGeneration") or 0
        if generation < 0:
            errs.append(invalid(f"{where}.observedGeneration", generation, "must be greater than or equal to zero"))
        if not condition.get("lastTransitionTime"):
            errs.append(required(f"{where}.lastTransitionTime"))
        if not (reason := condition.get("reason") or ""):
            errs.append(required(f"{where}.reason"))
        elif not _reason(reason):
            errs.append(invalid(f"{where}.reason", reason, _REASON_SAID))
        if len(reason) > _MAX_REASON:
            errs.append(too_long(f"{where}.reason", _MAX_REASON))
        if len(condition.get("message") or "") > _MAX_MESSAGE:
            errs.append(too_long(f"{where}.message", _MAX_MESSAGE))
