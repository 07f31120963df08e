"""DELETE of one object and of collections: grace, finalizers, preconditions, propagation."""

from __future__ import annotations

import asyncio
from typing import Any

from podwright.api import objects, status
from podwright.api.objects import Object
from podwright.api.resources import Resource
from podwright.apiserver.cache.entries import Cached
from podwright.apiserver.exchange import Many, One, Request
from podwright.apiserver.registry.bodies import body_value
from podwright.apiserver.registry.lists import list_objects
from podwright.apiserver.registry.options import DeleteOptions, delete_options
from podwright.apiserver.registry.registry import Conflict, Missing, Registry
from podwright.apiserver.registry.strategies import ORPHAN_DEPENDENTS, UNSUPPORTED, Strategy
from podwright.apiserver.requests import AdmissionRequest

_TRIES = 1000
_ORPHAN = "orphan"
_FOREGROUND = "foregroundDeletion"
_COLLECTION_WORKERS = 16


async def _options(request: Request) -> DeleteOptions:
    if request.in_process:
        body: Any = request.body_object
    else:
        body = await body_value(request, any_value=True) if await request.read_body() else None
    return delete_options(request, body)


async def delete(registry: Registry, request: Request, row: Resource) -> One:
    info = request.info
    options = await _options(request)
    return await delete_object(registry, request, row, info.namespace, info.name, options)


async def delete_object(
    registry: Registry, request: Request, row: Resource, namespace: str, name: str, options: DeleteOptions, *,
    admit: bool = True,
) -> One:
    """Removes the object, or marks it and leaves it to the kubelet and the owners of its finalizers.

    Raises:
        ApiError: 403 admission, 404, 409 preconditions.
    """
    _, stored = registry.storage(row)
    strategy = registry.strategy(row)
    current = await registry.get(row, namespace, name)
    admission = AdmissionRequest(
        user=request.user, operation="DELETE", resource=stored, requested=row, subresource="",
        namespace=namespace, name=name,
        object=None, old_object=await registry.shown(row, current), options=options.as_object(),
        dry_run=options.dry_run, warnings=request.warnings, audit=request.audit,
    )
    if admit:
        await registry.admission.admit(admission)
        await registry.admission.validate(admission)
    for _ in range(_TRIES):
        _check_preconditions(row, current, options)
        try:
            return await _once(registry, row, strategy, current, options)
        except Conflict as exc:
            current = exc.current
        except Missing:
            raise status.not_found(row.group, row.plural, name) from None
    raise status.conflict(row.group, row.plural, name, status.MODIFIED)


def _check_preconditions(row: Resource, current: Cached, options: DeleteOptions) -> None:
    uid = current.object["metadata"].get("uid")
    if options.uid is not None and options.uid != uid:
        raise status.conflict(
            row.group, row.kind, current.name,
            f"the UID in the precondition ({options.uid}) does not match the UID in record ({uid}). "
            "The object might have been deleted and then recreated",
        )
    if options.resource_version is not None and options.resource_version != str(current.revision):
        raise status.conflict(
            row.group, row.kind, current.name,
            f"the ResourceVersion in the precondition ({options.resource_version}) does not match the "
            f"ResourceVersion in record ({current.revision}). The object might have been modified",
        )


async def _once(
    registry: Registry, row: Resource, strategy: Strategy, current: Cached, options: DeleteOptions
) -> One:
    obj = objects.deepcopy(current.object)
    metadata = obj["metadata"]
    already = bool(metadata.get("deletionTimestamp"))
    now = registry.now()
    grace = strategy.grace(obj, options.grace_period)
    marked = _mark_graceful(metadata, grace, options.grace_period, now) if grace is not None else False
    _set_finalizers(strategy, metadata, options)
    stays = strategy.begin_delete(obj, objects.format_time(now))
    if metadata.get("finalizers") or stays:
        if not metadata.get("deletionTimestamp"):
            metadata["deletionTimestamp"] = objects.format_time(now)
            metadata["deletionGracePeriodSeconds"] = 0
            if metadata.get("generation"):
                metadata["generation"] += 1
        elif (not marked and grace is None) or (grace == 0 and not metadata.get("deletionGracePeriodSeconds")):
            metadata["deletionGracePeriodSeconds"] = 0
    elif not (metadata.get("deletionGracePeriodSeconds") and (marked or already)):
        return await _remove(registry, row, strategy, current, options)
    metadata.pop("resourceVersion", None)
    if options.dry_run:
        return One(row, object={**obj, "metadata": {**metadata, "resourceVersion": str(current.revision)}})
    code = 202 if options.orphan_dependents is False else 200
    return One.of(row, await registry.commit_update(row, current, obj), code)


def _mark_graceful(metadata: Object, grace: int, asked: int | None, now: float) -> bool:
    """Sets or shortens the grace period. True: the object stays for the kubelet to finish."""
    if metadata.get("deletionTimestamp"):
        before = metadata.get("deletionGracePeriodSeconds") or 0
        if not before:
            return False
        if asked is None or asked >= before:
            return True
        began = objects.parse_time(metadata["deletionTimestamp"]) - before
        metadata["deletionTimestamp"] = objects.format_time(began + asked)
        metadata["deletionGracePeriodSeconds"] = asked
        return asked > 0
    metadata["deletionTimestamp"] = objects.format_time(now + grace)
    metadata["deletionGracePeriodSeconds"] = grace
    if metadata.get("generation"):
        metadata["generation"] += 1
    return grace > 0


def _set_finalizers(strategy: Strategy, metadata: Object, options: DeleteOptions) -> None:
    """The garbage collector's finalizers, by propagationPolicy and the kind's default."""
    if strategy.garbage_collection == UNSUPPORTED:
        return
    finalizers = list(metadata.get("finalizers") or [])
    orphan = foreground = False
    if options.orphan_dependents is not None:
        orphan = options.orphan_dependents
    elif options.propagation:
        orphan = options.propagation == "Orphan"
        foreground = options.propagation == "Foreground"
    else:
        orphan = _ORPHAN in finalizers or (
            strategy.garbage_collection == ORPHAN_DEPENDENTS and _FOREGROUND not in finalizers
        )
        foreground = _FOREGROUND in finalizers
    kept = [f for f in finalizers if f not in (_ORPHAN, _FOREGROUND)]
    if orphan:
        kept.append(_ORPHAN)
    if foreground:
        kept.append(_FOREGROUND)
    if kept:
        metadata["finalizers"] = kept
    else:
        metadata.pop("finalizers", None)


async def _remove(
    registry: Registry, row: Resource, strategy: Strategy, current: Cached, options: DeleteOptions
) -> One:
    gone = current if options.dry_run else await registry.commit_delete(row, current)
    if strategy.returns_deleted:
        return One(row, gone)
    details: Object = {"name": current.name}
    if row.group:
        details["group"] = row.group
    details["kind"] = row.plural
    uid = gone.object["metadata"].get("uid")
    if uid:
        details["uid"] = uid
    return One(None, object=status.success(details))


async def delete_collection(registry: Registry, request: Request, row: Resource) -> Many:
    """Deletes what matches (with a limit, so many of it); objects that others deleted meanwhile are no error."""
    options = await _options(request)
    found = await list_objects(registry, request, row)
    gate = asyncio.Semaphore(_COLLECTION_WORKERS)

    async def remove(entry: Cached) -> None:
        async with gate:
            try:
                await delete_object(registry, request, row, entry.namespace, entry.name, options)
            except status.ApiError as exc:
                if exc.code != 404:
                    raise

    try:
        async with asyncio.TaskGroup() as tasks:
            for entry in found.items:
                tasks.create_task(remove(entry))
    except BaseExceptionGroup as group:
        for error in group.exceptions:
            if isinstance(error, status.ApiError):
                raise error from None
        raise
    return found
