"""Rules for file paths in volumes and mounts."""

from __future__ import annotations

from podwright.api.status import FieldError
from podwright.api.validation.field_errors import invalid


def no_backsteps(errs: list[FieldError], target: str, field: str) -> None:
    if ".." in target and ".." in target.split("/"):
        errs.append(invalid(field, target, "must not contain '..'"))


def local_descending(errs: list[FieldError], target: str, field: str) -> None:
    """A relative path that never goes up."""
    if target.startswith("/"):
        errs.append(invalid(field, target, "must be a relative path"))
    no_backsteps(errs, target, field)


def local_non_reserved(errs: list[FieldError], target: str, field: str) -> None:
    """Also keeps off the names by which atomic volume updates work ("..data")."""
    local_descending(errs, target, field)
    if target.startswith("..") and not target.startswith("../"):
        errs.append(invalid(field, target, "must not start with '..'"))
