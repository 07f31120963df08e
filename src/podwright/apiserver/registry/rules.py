"""Defaulting, preparation and validation of an object, built-in or custom."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from podwright.api import defaulting, validation
from podwright.api.objects import Object
from podwright.api.resources import Resource
from podwright.api.status import FieldError


class CustomRules(Protocol):
    """The same for one version of a custom resource."""

    def default(self, obj: Object) -> None: ...

    def prepare_create(self, obj: Object) -> None: ...

    def prepare_update(self, obj: Object, old: Object, subresource: str) -> None: ...

    def validate(self, obj: Object, old: Object | None, subresource: str) -> Sequence[FieldError]: ...


class Rules:
    """Chooses between the built-in modules and what a custom resource definition says."""

    def __init__(self) -> None:
        self.custom: dict[tuple[str, str, str], CustomRules] = {}

    def _of(self, row: Resource) -> CustomRules:
        return self.custom[row.group, row.version, row.plural]

    def default(self, row: Resource, obj: Object) -> None:
        if row.custom:
            self._of(row).default(obj)
        else:
            defaulting.apply(row, obj)

    def prepare_create(self, row: Resource, obj: Object) -> None:
        if row.custom:
            self._of(row).prepare_create(obj)
        else:
            validation.prepare_for_create(row, obj)

    def prepare_update(self, row: Resource, obj: Object, old: Object, subresource: str) -> None:
        if row.custom:
            self._of(row).prepare_update(obj, old, subresource)
        else:
            validation.prepare_for_update(row, obj, old, subresource)

    def validate_create(self, row: Resource, obj: Object) -> Sequence[FieldError]:
        if row.custom:
            return self._of(row).validate(obj, None, "")
        return validation.validate_create(row, obj)

    def validate_update(self, row: Resource, obj: Object, old: Object, subresource: str) -> Sequence[FieldError]:
        if row.custom:
            return self._of(row).validate(obj, old, subresource)
        return validation.validate_update(row, obj, old, subresource)

    def warnings(self, row: Resource, obj: Object, old: Object | None) -> Sequence[str]:
        return () if row.custom else validation.warnings(row, obj, old)
