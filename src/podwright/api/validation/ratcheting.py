"""Ratcheting: what is stored wrong may stay wrong, so that an old object can still be changed and deleted.

A rule that came later, or that only some field of an update breaks, is not held against an object that broke it before.
Which rules these are is said by patterns, in each kind's :class:`Rules`: upstream's validation options
("AllowInvalid…") and the fields that its declarative rules look at again only when they change.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from podwright.api.status import FieldError
from podwright.api.validation.names import SPELLINGS

SELECTOR_VALUES = r"\.matchExpressions\[\]\.values\[\]: Invalid"
"""Values of label selectors that are no label values."""
OF_PODS = (
    r"\.podA(?:ntiA)?ffinity\..*" + SELECTOR_VALUES,
    r"requiredDuringSchedulingIgnoredDuringExecution\.nodeSelectorTerms\[\]" + SELECTOR_VALUES,
    r"\.topologySpreadConstraints\[\]\.labelSelector", r"\.topologySpreadConstraints\[\](?:\.matchLabelKeys|\[\])",
    r"is not positive integer multiple of", r"pod-deletion-cost\]: Invalid", r"\.projected\.path: Invalid",
    r"\.sysctls\[\].*: may not be specified when 'host(?:Network|IPC)' is true",
    r"\.volumeDevices: Forbidden: when `hostUsers` is false",
)
"""Of Pods and of the templates of workloads (upstream's ``GetValidationOptionsFromPodSpecAndMeta``)."""
_ADDRESSES = f": Invalid value: (.*): (?:{'|'.join(SPELLINGS)})$"
"""Addresses written as only older servers allowed, in any kind."""
_index = re.compile(r"\[\d+\]")


def unchanged(*fields: str) -> str:
    """Everything that is wrong with these fields (patterns) stays if it was wrong in the same way."""
    return f"^((?:{'|'.join(fields)}).*)"


def broken_anew(errs: list[FieldError], old: list[FieldError], patterns: Iterable[str]) -> list[FieldError]:
    """`errs` without those that one of the `patterns` finds in an error of the `old` object too, with the same groups.

    A pattern is looked for in "field: message", where the field's list indexes are "[]".
    """
    before = [_text(err) for err in old]
    for pattern in (_ADDRESSES, *patterns):
        search = re.compile(pattern).search
        stays = {match.groups() for text in before if (match := search(text))}
        if stays:
            errs = [err for err in errs if not (match := search(_text(err))) or match.groups() not in stays]
    return errs


def _text(err: FieldError) -> str:
    return f"{_index.sub('[]', err.field)}: {err.message}"
