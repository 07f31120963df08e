"""Leases."""

from __future__ import annotations

from podwright.api.objects import Object
from podwright.api.status import FieldError
from podwright.api.validation.field_errors import invalid, non_negative
from podwright.api.validation.rules import Kinds, Rules, spec_of


def lease(errs: list[FieldError], obj: Object) -> None:
    spec = spec_of(obj)
    seconds = spec.get("leaseDurationSeconds")
    if seconds is not None and seconds <= 0:
        errs.append(invalid("spec.leaseDurationSeconds", seconds, "must be greater than 0"))
    non_negative(errs, spec.get("leaseTransitions"), "spec.leaseTransitions")


KINDS: Kinds = {("coordination.k8s.io", "Lease"): Rules(create=lease)}
