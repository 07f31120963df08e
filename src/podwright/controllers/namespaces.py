"""Empties a namespace that is being deleted, then lets it go (KEP-5080: Pods first, the rest after them)."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Sequence

from podwright.api import objects
from podwright.api.objects import Object
from podwright.api.resources import NAMESPACES, PODS, Resource
from podwright.api.status import ApiError
from podwright.controllers.frame import Context, Controller, ignore_not_found
from podwright.controllers.pods import set_condition
from podwright.controllers.served import ServedResources, extensions

FINALIZER = "kubernetes"
_AT_ONCE = 8


class ContentRemains(Exception):
    """Something still holds the namespace: look again later."""


class NamespaceController(Controller):
    name = "namespace-controller"
    account = "namespace-controller"
    workers = 10
    first_delay = 0.05
    max_delay = 60.0

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.namespaces = self.informer(NAMESPACES, self._namespace_changed)
        self.informer(PODS, self._pod_changed)
        self.served = ServedResources(context.informers)
        self._informers.append(self.served.informer)

    def _namespace_changed(self, old: Object | None, new: Object | None) -> None:
        if new is not None and objects.is_deleting(new):
            self.queue.add(objects.name(new))

    def _pod_changed(self, old: Object | None, new: Object | None) -> None:
        """A Pod that goes may have been the last: look soon, but once for many."""
        if new is None and old is not None:
            namespace = self.namespaces.get(objects.namespace(old))
            if namespace is not None and objects.is_deleting(namespace):
                self.queue.add_after(objects.name(namespace), 0.05)

    async def reconcile(self, key: str) -> None:
        namespace = self.namespaces.get(key)
        if namespace is None or not objects.is_deleting(namespace):
            return
        finalizers = (namespace.get("spec") or {}).get("finalizers") or []
        if FINALIZER not in finalizers:
            return
        remaining: dict[str, int] = {}
        held: Counter[str] = Counter()
        failures: list[str] = []
        unknown: dict[str, str] = {}
        await self._empty(key, [PODS], remaining, held, failures)
        if not remaining and not failures:
            others, unknown = await extensions(self.client)
            rest = [r for r in (*self.served.rows(), *others) if r.namespaced and r != PODS]
            await self._empty(key, rest, remaining, held, failures)
        if remaining or failures or unknown:
            await self._write_conditions(namespace, remaining, held, failures, unknown)
            raise ContentRemains(f"namespace {key} still has content")
        left = {**namespace, "spec": {"finalizers": [f for f in finalizers if f != FINALIZER]}}
        left["metadata"] = {k: v for k, v in namespace["metadata"].items() if k != "resourceVersion"}
        await ignore_not_found(self.client.update(NAMESPACES, left, subresource="finalize"))

    async def _empty(
        self, namespace: str, rows: Iterable[Resource], remaining: dict[str, int], held: Counter[str],
        failures: list[str],
    ) -> None:
        gate = asyncio.Semaphore(_AT_ONCE)

        async def one(row: Resource) -> None:
            async with gate:
                try:
                    left = await self._delete_all(namespace, row)
                except ApiError as refused:
                    if refused.code not in (404, 405):
                        failures.append(str(refused))
                    return
            if left:
                remaining[f"{row.plural}.{row.group}"] = len(left)
                for obj in left:
                    held.update(obj["metadata"].get("finalizers") or ())

        async with asyncio.TaskGroup() as group:
            for row in rows:
                group.create_task(one(row))

    async def _delete_all(self, namespace: str, row: Resource) -> Sequence[Object]:
        found = await self.client.items(row, namespace=namespace)
        if not found:
            return found
        if all(objects.is_deleting(o) for o in found):
            return found
        if "deletecollection" in row.verbs:
            options = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"}
            await self.client.raw("DELETE", row.path(namespace), options)
        else:
            for obj in found:
                await self.client.delete(row, objects.name(obj), namespace=namespace, propagation="Background")
        return await self.client.items(row, namespace=namespace)

    async def _write_conditions(
        self, namespace: Object, remaining: dict[str, int], held: Counter[str], failures: list[str],
        unknown: dict[str, str],
    ) -> None:
        now = objects.format_time(self.clock.now())
        conditions: list[Object] = list((namespace.get("status") or {}).get("conditions") or ())
        content = ", ".join(f"{what} has {n} resource instances" for what, n in sorted(remaining.items()))
        finalizers = ", ".join(f"{what} in {n} resource instances" for what, n in sorted(held.items()))
        undiscovered = ", ".join(f"{version}: {why}" for version, why in sorted(unknown.items()))
        rows = (
            ("NamespaceDeletionDiscoveryFailure",
             unknown and f"Discovery failed for some groups, {len(unknown)} failing: unable to retrieve the complete "
             f"list of server APIs: {undiscovered}",
             "DiscoveryFailed" if unknown else "ResourcesDiscovered", "All resources successfully discovered"),
            ("NamespaceDeletionGroupVersionParsingFailure", "", "ParsedGroupVersions",
             "All legacy kube types successfully parsed"),
            ("NamespaceDeletionContentFailure",
             failures and "Failed to delete all resource types, "
             f"{len(failures)} remaining: {', '.join(sorted(failures))}",
             "ContentDeletionFailed" if failures else "ContentDeleted",
             "All content successfully deleted, may be waiting on finalization"),
            ("NamespaceContentRemaining", content and f"Some resources are remaining: {content}",
             "SomeResourcesRemain" if content else "ContentRemoved", "All content successfully removed"),
            ("NamespaceFinalizersRemaining",
             finalizers and f"Some content in the namespace has finalizers remaining: {finalizers}",
             "SomeFinalizersRemain" if finalizers else "ContentHasNoFinalizers",
             "All content-preserving finalizers finished"),
        )  # fmt: skip
        for kind, trouble, reason, well in rows:
            condition = {
                "type": kind, "status": "True" if trouble else "False", "reason": reason,
                "message": trouble or well, "lastTransitionTime": now,
            }  # fmt: skip
            current = next((c for c in conditions if c["type"] == kind), None)
            if current is not None and current.get("status") == condition["status"]:
                if current.get("message") != condition["message"] or current.get("reason") != reason:
                    condition["lastTransitionTime"] = current.get("lastTransitionTime", now)
                    conditions = [condition if c["type"] == kind else c for c in conditions]
            else:
                conditions = set_condition(conditions, condition)
        status = {**(namespace.get("status") or {}), "phase": "Terminating", "conditions": conditions}
        if status != namespace.get("status"):
            await self.client.update_status(NAMESPACES, {**namespace, "status": status})

    def failed(self, key: str, error: Exception) -> None:
        if not isinstance(error, ContentRemains):
            super().failed(key, error)
