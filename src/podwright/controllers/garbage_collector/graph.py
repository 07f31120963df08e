"""Who owns whom: a graph of every object of the cluster, holding names and uids only."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import NamedTuple

from podwright.api.objects import Object
from podwright.api.resources import Resource

ORPHAN = "orphan"
FOREGROUND = "foregroundDeletion"
_ABSENT_KEPT = 10_000


class OwnerRef(NamedTuple):
    uid: str
    api_version: str
    kind: str
    name: str
    blocks: bool


class Node:
    """One object. Of a virtual one only a dependent's ownerReference is known: it was never seen itself; its `row` is
    None if no resource serves its kind."""

    __slots__ = ("being_deleted", "deleting_dependents", "dependents", "name", "namespace", "owners", "row", "uid",
                 "virtual")  # fmt: skip

    def __init__(
        self, uid: str, row: Resource | None, namespace: str, name: str, owners: Sequence[OwnerRef] = (),
        *, virtual: bool = False,
    ) -> None:  # fmt: skip
        self.uid = uid
        self.row = row
        self.namespace = namespace
        self.name = name
        self.owners = tuple(owners)
        self.virtual = virtual
        self.dependents: dict[str, Node] | None = None
        self.being_deleted = False
        self.deleting_dependents = False

    def blocking(self) -> list[Node]:
        """Dependents that hold up the foreground deletion of this object."""
        return [d for d in (self.dependents or {}).values() if any(o.uid == self.uid and o.blocks for o in d.owners)]

    def is_observed_for(self, dependent_namespace: str, kind: str) -> bool:
        """This node is what such an ownerReference means: seen, of that kind, and in the dependent's namespace."""
        return (
            not self.virtual
            and self.row is not None
            and self.row.kind == kind
            and (not self.row.namespaced or self.namespace == dependent_namespace)
        )


class Graph:
    """`delete(uid)` is called for an object that may have to be deleted, `orphan(uid)` for one whose dependents must be
    let go first, `misplaced` for one with an owner that is known to be in another namespace."""

    def __init__(
        self, delete: Callable[[str], None], orphan: Callable[[str], None],
        row_of: Callable[[str, str], Resource | None], misplaced: Callable[[Node, OwnerRef], None],
    ) -> None:
        self._delete = delete
        self._misplaced = misplaced
        self._orphan = orphan
        self._row_of = row_of
        self._nodes: dict[str, Node] = {}
        self._absent: OrderedDict[str, None] = OrderedDict()

    def get(self, uid: str) -> Node | None:
        return self._nodes.get(uid)

    def __len__(self) -> int:
        return len(self._nodes)

    def is_absent(self, uid: str, namespace: str) -> bool:
        """Known to be gone, or never to have been in that namespace."""
        return uid in self._absent or f"{namespace}/{uid}" in self._absent

    def note_absent(self, uid: str, namespace: str | None = None) -> None:
        """In that namespace, or at all."""
        key = uid if namespace is None else f"{namespace}/{uid}"
        self._absent[key] = None
        self._absent.move_to_end(key)
        if len(self._absent) > _ABSENT_KEPT:
            self._absent.popitem(last=False)

    def observe(self, row: Resource, obj: Object) -> None:
        """The object as a list or watch shows it."""
        meta = obj["metadata"]
        uid = meta["uid"]
        owners = owner_refs(meta)
        node = self._nodes.get(uid)
        if node is None:
            node = Node(uid, row, meta.get("namespace") or "", meta["name"], owners)
            self._nodes[uid] = node
            self._attach(node, owners)
        else:
            if node.virtual:
                node.virtual = False
                node.row, node.namespace, node.name = row, meta.get("namespace") or "", meta["name"]
                # Dependents that named it from elsewhere must be looked at with what it really is.
                for dependent in list((node.dependents or {}).values()):
                    self._check_place(node, dependent)
                    if not all(self._fits(o, dependent) for o in dependent.owners):
                        self._delete(dependent.uid)
            if node.owners != owners:
                self._change_owners(node, owners)
        self._transition(node, meta)

    def _check_place(self, owner: Node, dependent: Node) -> None:
        if owner.namespace and owner.namespace != dependent.namespace:
            self._misplaced(dependent, next(o for o in dependent.owners if o.uid == owner.uid))

    def _fits(self, owner: OwnerRef, dependent: Node) -> bool:
        node = self._nodes.get(owner.uid)
        return node is None or node.virtual or node.is_observed_for(dependent.namespace, owner.kind)

    def _change_owners(self, node: Node, owners: tuple[OwnerRef, ...]) -> None:
        before = {o.uid: o for o in node.owners}
        after = {o.uid: o for o in owners}
        for uid, old in before.items():
            new = after.get(uid)
            owner = self._nodes.get(uid)
            if owner is not None and owner.deleting_dependents and old.blocks and (new is None or not new.blocks):
                self._delete(uid)
            if new is None:
                self._detach(node, uid)
        node.owners = owners
        self._attach(node, [o for o in owners if o.uid not in before])
        if len(after) < len(before) or any(uid not in after for uid in before):
            self._delete(node.uid)

    def _transition(self, node: Node, meta: Object) -> None:
        if not meta.get("deletionTimestamp"):
            return
        finalizers = meta.get("finalizers") or ()
        node.being_deleted = True
        if ORPHAN in finalizers:
            self._orphan(node.uid)
        elif FOREGROUND in finalizers and not node.deleting_dependents:
            node.deleting_dependents = True
            for uid in node.dependents or ():
                self._delete(uid)
            self._delete(node.uid)

    def _attach(self, node: Node, owners: Sequence[OwnerRef]) -> None:
        for ref in owners:
            owner = self._nodes.get(ref.uid)
            if owner is None:
                row = self._row_of(ref.api_version, ref.kind)
                namespace = node.namespace if row is None or row.namespaced else ""
                owner = Node(ref.uid, row, namespace, ref.name, virtual=True)
                self._nodes[ref.uid] = owner
                self._delete(ref.uid)
            elif not owner.virtual and not owner.is_observed_for(node.namespace, ref.kind):
                self._check_place(owner, node)
                self._delete(node.uid)
            if owner.dependents is None:
                owner.dependents = {}
            owner.dependents[node.uid] = node
            if owner.deleting_dependents:
                self._delete(node.uid)

    def _detach(self, node: Node, owner_uid: str) -> None:
        owner = self._nodes.get(owner_uid)
        if owner is not None and owner.dependents is not None:
            owner.dependents.pop(node.uid, None)
            if not owner.dependents:
                owner.dependents = None
                if owner.virtual:
                    del self._nodes[owner_uid]

    def remove(self, uid: str) -> None:
        """The object is gone (or was found never to have been)."""
        node = self._nodes.pop(uid, None)
        if node is None:
            return
        if node.dependents:
            self.note_absent(uid)
        for ref in node.owners:
            self._detach(node, ref.uid)
            owner = self._nodes.get(ref.uid)
            if owner is not None and owner.deleting_dependents:
                self._delete(ref.uid)
        for dependent in node.dependents or ():
            self._delete(dependent)

    def remove_virtual(self, uid: str) -> None:
        """The owner that dependents name is not where they say. Those of other namespaces may mean another place."""
        node = self._nodes.pop(uid)
        self.note_absent(uid, node.namespace)
        for dependent in list((node.dependents or {}).values()):
            if dependent.namespace == node.namespace or (node.row is not None and not node.row.namespaced):
                self._delete(dependent.uid)
            else:
                self._attach(dependent, [o for o in dependent.owners if o.uid == uid])

    def resolve(self) -> None:
        """More kinds are served now: virtual owners of kinds that were not are looked at again."""
        for node in list(self._nodes.values()):
            if node.virtual and node.row is None:
                for ref in [o for d in (node.dependents or {}).values() for o in d.owners if o.uid == node.uid]:
                    node.row = self._row_of(ref.api_version, ref.kind)
                self._delete(node.uid)


def owner_refs(meta: Object) -> tuple[OwnerRef, ...]:
    return tuple(
        OwnerRef(r["uid"], r["apiVersion"], r["kind"], r["name"], bool(r.get("blockOwnerDeletion")))
        for r in meta.get("ownerReferences") or ()
    )
