"""What differs between kinds when they are created, updated and deleted. Most kinds are content with the defaults."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from podwright.api.objects import Object
from podwright.api.status import FieldError

if TYPE_CHECKING:
    from podwright.apiserver.registry.registry import Registry
    from podwright.apiserver.requests import UserInfo

Undo = Callable[[], None]
Release = Callable[[], Awaitable[None]]

DELETE_DEPENDENTS = "DeleteDependents"
ORPHAN_DEPENDENTS = "OrphanDependents"
UNSUPPORTED = "Unsupported"


class Strategy:
    """One kind's behaviour. Methods get the request's own copies and may change them."""

    create_on_update = False
    """PUT to a name that is not there creates it."""
    unconditional_update = True
    """PUT without a resourceVersion replaces whatever stands."""
    returns_deleted = False
    """A finished DELETE answers the object, not a Status."""
    garbage_collection = DELETE_DEPENDENTS

    def made_by(self, obj: Object, user: UserInfo) -> None:
        """Writes down who makes the object, where its kind keeps that."""

    async def begin_create(self, registry: Registry, obj: Object, dry_run: bool) -> list[Undo]:
        """Before validation: allocations. The list undoes them if the write fails."""
        return []

    async def begin_update(self, registry: Registry, obj: Object, old: Object, dry_run: bool) -> list[Undo]:
        return []

    def prepare(self, registry: Registry, obj: Object, old: Object, subresource: str) -> None:
        """Before the validation of an update of the object or of a subresource: what the server fills in or keeps."""

    def errors(self, registry: Registry, obj: Object, old: Object | None, subresource: str) -> Sequence[FieldError]:
        """What is wrong with a create (no `old`) or an update beyond what the object alone can tell."""
        return ()

    def deleted(self, registry: Registry, obj: Object) -> None:
        """The object is gone for good."""

    def grace(self, obj: Object, asked: int | None) -> int | None:
        """Seconds that a deletion waits for the kubelet; None: the kind knows no graceful deletion."""
        return None

    def begin_delete(self, obj: Object, now: str) -> bool:
        """Marks an object whose deletion takes more than removing it. True: it stays for now."""
        return False

    def may_go(self, obj: Object) -> bool:
        """Whether an object with a deletionTimestamp and no finalizers may be removed by an update."""
        return True

    reserves = False
    """Whether `reserve` and `settled` do anything."""

    async def reserve(self, registry: Registry, obj: Object, old: Object | None) -> Release | None:
        """Right before a create or update is written: makes the objects that must be there first. May change `obj`.
        What is returned takes them away again if the write fails. Raises ApiError."""
        return None

    async def settled(self, registry: Registry, old: Object, new: Object | None) -> None:
        """An update or (None) a deletion is written: takes away what `old` had and `new` has no more."""

    async def after_create(self, registry: Registry, obj: Object) -> None:
        """Committed."""


DEFAULT = Strategy()
