"""Leases."""

from __future__ import annotations

from podwright.api.objects import Object
from podwright.api.status import FieldError
from podwright.api.validation import names
from podwright.api.validation.field_errors import forbidden, formed, invalid, non_negative, one_of
from podwright.api.validation.rules import Kinds, Rules, spec_of

_STRATEGIES = ("OldestEmulationVersion",)


def lease(errs: list[FieldError], obj: Object) -> None:
    spec = spec_of(obj)
    seconds, strategy = spec.get("leaseDurationSeconds"), spec.get("strategy")
    if seconds is not None and seconds <= 0:
        errs.append(invalid("spec.leaseDurationSeconds", seconds, "must be greater than 0"))
    non_negative(errs, spec.get("leaseTransitions"), "spec.leaseTransitions")
    if strategy is not None and "/" in strategy:
        formed(errs, strategy, "spec.strategy.strategy", names.qualified_name)
    elif strategy is not None:
        one_of(errs, strategy, "spec.strategy.strategy", _STRATEGIES)
    if spec.get("preferredHolder") and not strategy:
        errs.append(forbidden("spec.preferredHolder", "may only be specified if `strategy` is defined"))


KINDS: Kinds = {("coordination.k8s.io", "Lease"): Rules(create=lease)}
