"""Leases."""

from __future__ import annotations

from podwright.api.objects import Object
from podwright.api.status import FieldError
from podwright.api.validation import names
from podwright.api.validation.field_errors import invalid, required
from podwright.api.validation.rules import Kinds, Rules, spec_of

_STRATEGIES = ("OldestEmulationVersion",)


def lease(errs: list[FieldError], obj: Object) -> None:
    spec = spec_of(obj)
    seconds = spec.get("leaseDurationSeconds")
    if seconds is not None and seconds <= 0:
        errs.append(invalid("spec.leaseDurationSeconds", seconds, "must be greater than 0"))
    transitions = spec.get("leaseTransitions")
    if transitions is not None and transitions < 0:
        said = "must be greater than or equal to 0"
        errs.append(invalid("spec.leaseTransitions", transitions, said))
    strategy = spec.get("strategy")
    if strategy and strategy not in _STRATEGIES:
        errs += [invalid("spec.strategy", strategy, said) for said in names.qualified_name(strategy)]
    if spec.get("preferredHolder") and not strategy:
        errs.append(required("spec.strategy", "must be specified when preferredHolder is set"))


KINDS: Kinds = {("coordination.k8s.io", "Lease"): Rules(create=lease)}
