"""StorageVersionMigrations: every object of a resource is written once more, so that the store holds none in an older
version, and a CustomResourceDefinition may then forget that version (KEP-4192)."""

from __future__ import annotations

from podwright.api import objects
from podwright.api.objects import Object
from podwright.api.resources import CUSTOMRESOURCEDEFINITIONS, STORAGEVERSIONMIGRATIONS, Resource
from podwright.api.status import ApiError
from podwright.controllers import pods
from podwright.controllers.frame import Context, Controller, ignore_not_found
from podwright.controllers.served import ServedResources

RUNNING, SUCCEEDED, FAILED = "Running", "Succeeded", "Failed"
MIGRATING = "StorageMigrating"
_PATIENCE = 60.0
"""Seconds that a resource may take to be served before a migration of it fails."""
_RETRY = 1.0


class StorageVersionMigrationController(Controller):
    """One migration at a time, the oldest of a resource first: the next ones find nothing to do."""

    name = "storage-version-migrator-controller"
    account = "storage-version-migrator-controller"
    workers = 1

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.served = ServedResources(context.informers)
        self._informers.append(self.served.informer)
        self.migrations = self.informer(STORAGEVERSIONMIGRATIONS, self._changed)

    def _changed(self, old: Object | None, new: Object | None) -> None:
        if new is not None and not _is_over(new):
            self.enqueue(old, new)

    async def reconcile(self, key: str) -> None:
        migration = self.migrations.get(key)
        if migration is None or _is_over(migration):
            return
        rivals = [m for m in self.migrations.items() if _resource(m) == _resource(migration) and not _is_over(m)]
        first = min(rivals, key=lambda m: (pods.creation_time(m), objects.name(m)))
        if objects.name(first) != key:
            self.queue.add_after(key, _RETRY)
            return
        group, plural = _resource(migration)
        row = next((r for r in self.served.rows() if (r.group, r.plural) == (group, plural)), None)
        if row is None:
            if pods.creation_time(migration) + _PATIENCE > self.clock.now():
                self.queue.add_after(key, _RETRY)
            else:
                await self._write(migration, FAILED, "StorageVersionMigrationFailed", "resource not found")
            return
        await self._run(migration, row)

    async def _run(self, migration: Object, row: Resource) -> None:
        name = objects.name(migration)
        generation = await self._mark_definition(row, "True", "MigrationRunning", f"Migration {name} is running")
        listed = await self.client.list(row, limit=1)
        revision = str(listed["metadata"]["resourceVersion"])
        migration = await self._write(
            migration, RUNNING, "MigrationRunning", "The migration is running", revision=revision
        )
        try:
            for obj in await self.client.items(row):
                await self._rewrite(row, obj)
        except ApiError as refused:
            await self._mark_definition(row, "False", "MigrationFailed", "The migration has failed")
            await self._write(migration, FAILED, "StorageVersionMigrationFailed", f"an object was refused: {refused}")
            return
        await self._mark_definition(
            row, "False", "MigrationSucceeded", "The migration has succeeded", forget_before=generation
        )
        await self._write(migration, SUCCEEDED, "StorageVersionMigrationSucceeded", "")

    async def _rewrite(self, row: Resource, obj: Object) -> None:
        """An empty change: what comes of it is stored in today's version. What was changed since is so already."""
        meta = {"uid": objects.uid(obj), "resourceVersion": obj["metadata"]["resourceVersion"]}
        try:
            await self.client.patch(row, objects.name(obj), {"metadata": meta}, namespace=objects.namespace(obj))
        except ApiError as refused:
            if refused.code not in (404, 409):
                raise

    async def _mark_definition(
        self, row: Resource, value: str, reason: str, message: str, *, forget_before: int = 0
    ) -> int:
        """Says on the CustomResourceDefinition how the migration stands; gives its generation, 0 if there is none.
        Older stored versions are forgotten if it still is of generation `forget_before`."""
        if not row.custom:
            return 0
        while True:
            found = await ignore_not_found(self.client.get(CUSTOMRESOURCEDEFINITIONS, f"{row.plural}.{row.group}"))
            if found is None:
                return 0
            generation = int(found["metadata"].get("generation") or 0)
            status = dict(found.get("status") or {})
            condition = {"type": MIGRATING, "status": value, "reason": reason, "message": message,
                         "observedGeneration": generation,
                         "lastTransitionTime": objects.format_time(self.clock.now())}  # fmt: skip
            status["conditions"] = [*pods.without_condition(list(status.get("conditions") or ()), MIGRATING), condition]
            if forget_before and forget_before == generation:
                status["storedVersions"] = [v["name"] for v in found["spec"]["versions"] if v.get("storage")]
            try:
                await self.client.update_status(CUSTOMRESOURCEDEFINITIONS, {**found, "status": status})
                return generation
            except ApiError as refused:
                if refused.code != 409:
                    raise

    async def _write(self, migration: Object, kind: str, reason: str, message: str, *, revision: str = "") -> Object:
        """The condition, in the place of Running."""
        status = dict(migration.get("status") or {})
        condition = {"type": kind, "status": "True", "reason": reason, "message": message,
                     "lastTransitionTime": objects.format_time(self.clock.now())}  # fmt: skip
        status["conditions"] = [*pods.without_condition(list(status.get("conditions") or ()), RUNNING), condition]
        if revision:
            status["resourceVersion"] = revision
        return await self.client.update_status(STORAGEVERSIONMIGRATIONS, {**migration, "status": status})


def _resource(migration: Object) -> tuple[str, str]:
    resource = migration["spec"].get("resource") or {}
    return str(resource.get("group") or ""), str(resource.get("resource") or "")


def _is_over(migration: Object) -> bool:
    return objects.condition_is_true(migration, SUCCEEDED) or objects.condition_is_true(migration, FAILED)
