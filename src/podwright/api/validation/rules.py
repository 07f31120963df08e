"""What is known of how a kind is checked and prepared: one :class:`Rules` for each, in the module of its group."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from podwright.api.objects import Object
from podwright.api.status import FieldError
from podwright.api.validation import names

Check = Callable[[list[FieldError], Object], None]
"""Append what is wrong with an object, beside its metadata."""
ChangeCheck = Callable[[list[FieldError], Object, Object], None]
"""Append what is wrong with the change (errors, new, old), beside the metadata."""
Prepare = Callable[[Object], None]
PrepareChange = Callable[[Object, Object, str], None]
"""(new, old, subresource)"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """Args:
        name: what the object's name may look like.
        create: rules of a new object; an update is held to them too, unless `update` is given.
        update: rules of a change by the main path.
        subresources: rules of a change by a subresource, by name.
        prepare_create, prepare_update: what the server fills in or holds back, after the general part.
        warnings: (new, old or None) → texts of Warning headers.
        generation: the kind counts the changes of its spec in metadata.generation.
        initial_status: the status of a new object, for kinds with a status subresource.
        keeps_status: a new object may bring its status (Nodes: kubelets register with it).
        status_keeps_metadata: a status update may not touch metadata.
        ratchet: what may stay wrong if it was wrong before (see :mod:`podwright.api.validation.ratcheting`).
    """

    name: names.NameCheck = names.subdomain_name
    create: Check | None = None
    update: ChangeCheck | None = None
    subresources: Mapping[str, ChangeCheck] = field(default_factory=dict)
    prepare_create: Prepare | None = None
    prepare_update: PrepareChange | None = None
    warnings: Callable[[Object, Object | None], list[str]] | None = None
    generation: bool = False
    initial_status: Mapping[str, object] | None = field(default_factory=dict)
    keeps_status: bool = False
    status_keeps_metadata: bool = False
    ratchet: tuple[str, ...] = ()


Kinds = dict[tuple[str, str], Rules]
"""(group, kind) → rules, in each module of this package named by `podwright.api.validation`."""


def spec_of(obj: Object) -> Object:
    return obj.get("spec") or {}
