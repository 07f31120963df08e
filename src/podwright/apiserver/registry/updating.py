"""PUT, and what all changes of one object share: read, change, check, write, and again if somebody was faster."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from podwright.api import objects, status
from podwright.api.objects import Object
from podwright.api.resources import Resource
from podwright.api.validation import field_errors
from podwright.apiserver.cache.entries import Cached
from podwright.apiserver.exchange import One, Request
from podwright.apiserver.registry import managed_fields
from podwright.apiserver.registry.bodies import body_object, checked, complete
from podwright.apiserver.registry.creating import create_object
from podwright.apiserver.registry.options import WriteOptions, write_options
from podwright.apiserver.registry.registry import Conflict, Missing, Registry
from podwright.apiserver.requests import AdmissionRequest

_TRIES = 1000
"""One of all who write an object at once wins each round: who asks for no version is not told of it, as upstream."""

Change = Callable[[Object], Object | Awaitable[Object]]
"""From a copy of the object as it stands to the object as it is wanted, in the stored version. Raises ApiError."""


@dataclass(slots=True)
class Update:
    """One change of one object. `subresource` decides which rules apply. `apply` marks server-side apply, whose change
    brings its managedFields along."""

    request: Request
    row: Resource
    namespace: str
    name: str
    subresource: str
    options: WriteOptions
    change: Change
    apply: bool = False
    options_kind: str = "UpdateOptions"
    admit: bool = True
    """Whether somebody asks for it in these words: nobody owns what a Binding or an Eviction makes of a Pod."""
    validates: bool = True
    prepares: bool = True
    copies: bool = False
    """The change gets the object as it stands, and copies what it changes: the levels on the way there, and the
    top and the metadata in any case."""
    explicit_version: bool = False
    """The change asks for one resourceVersion: losing a race is final."""
    shown: Callable[[Object], Object] | None = None
    """What admission sees of the object, if that is not the object itself but its Scale."""
    taken: Callable[[Object, Object], None] | None = None
    """Takes over into the object what admission made of what it was shown."""


async def update(registry: Registry, request: Request, row: Resource) -> One:
    """PUT of an object, or of its status and other subresources of the same kind."""
    info = request.info
    options = write_options(request, "UpdateOptions")
    wanted = await body_object(request, row)
    wanted = checked(registry.schema(row), request, row.kind, row.version, wanted, options)
    metadata = wanted["metadata"]
    expect_name(wanted, row, info.namespace, info.name)
    complete(registry.schema(row), wanted)
    registry.rules.default(row, wanted)
    _, stored = registry.storage(row)
    wanted = registry.convert(row, stored, wanted)
    strategy = registry.strategy(row)
    key = f"{info.namespace}/{info.name}" if row.namespaced else info.name
    if strategy.create_on_update and not info.subresource and registry.cache(row).get(key) is None:
        if metadata.get("uid"):
            raise _other_object(registry, row, info.name, key, metadata["uid"], "")
        metadata.pop("resourceVersion", None)
        made = await create_object(registry, request, row, info.namespace, wanted, options)
        return One.of(row, made, 201)

    def change(_: Object) -> Object:
        return objects.deepcopy(wanted)

    result = await apply_update(
        registry,
        Update(
            request, row, info.namespace, info.name, info.subresource, options, change,
            explicit_version=bool(metadata.get("resourceVersion")),
        ),
    )
    return One.of(row, result)


def expect_name(obj: Object, row: Resource, namespace: str, name: str) -> None:
    """Raises ApiError (400) if the body names another object than the URL, or none."""
    metadata = obj["metadata"]
    own = metadata.get("name") or ""
    if not own:
        raise status.bad_request(
            f"the name of the object ({name} based on URL) was undeterminable: name must be provided"
        )
    if own != name:
        raise status.bad_request(f"the name of the object ({own}) does not match the name on the URL ({name})")
    if not row.namespaced:
        return
    there = metadata.get("namespace") or ""
    if there and there != namespace:
        raise status.bad_request(
            f"the namespace of the object ({there}) does not match the namespace on the request ({namespace})"
        )
    metadata["namespace"] = namespace


async def apply_update(registry: Registry, update: Update) -> Cached | Object:
    """The object after the change; of a dry run the object as it would be.

    Raises:
        ApiError: 403, 404, 409 (also when others were faster a thousand times), 422.
    """
    row = update.row
    current = await registry.get(row, update.namespace, update.name)
    for _ in range(_TRIES):
        try:
            return await _once(registry, update, current)
        except Conflict as exc:
            current = exc.current
            if update.explicit_version:
                break
        except Missing:
            raise status.not_found(row.group, row.plural, update.name) from None
    raise status.conflict(row.group, row.plural, update.name, status.MODIFIED)


async def _once(registry: Registry, update: Update, current: Cached) -> Cached | Object:
    row, request, options = update.row, update.request, update.options
    _, stored = registry.storage(row)
    old = await registry.shown(row, current)
    changed = update.change(old if update.copies else objects.deepcopy(old))
    new = changed if isinstance(changed, dict) else await changed
    metadata = new["metadata"]
    before = old["metadata"]
    _check_version(registry, update, current, metadata)
    _keep_system_fields(metadata, before)
    if not update.subresource:
        managed_fields.track(registry, request, row, old, new, options, "", apply=update.apply)
    strategy = registry.strategy(row)
    admission = AdmissionRequest(
        user=request.user, operation="UPDATE", resource=stored, requested=row, subresource=update.subresource,
        namespace=update.namespace, name=update.name, object=new, old_object=old,
        options=options.as_object("UpdateOptions"), dry_run=options.dry_run, warnings=request.warnings,
        audit=request.audit,
    )
    if update.shown is not None:
        admission.object, admission.old_object = update.shown(new), update.shown(old)
    undo: list[Callable[[], None]] = []
    done = False
    try:
        if update.admit:
            await registry.admission.admit(admission)
            assert admission.object is not None
            if update.taken is not None:
                update.taken(new, admission.object)
            else:
                if row.custom and admission.object is not new:
                    admission.object = registry.form(row).settled(admission.object)
                new = admission.object
        if update.prepares:
            registry.rules.prepare_update(stored, new, old, update.subresource)
            strategy.prepare(registry, new, old, update.subresource)
        if not update.subresource:
            undo += await strategy.begin_update(registry, new, old, options.dry_run)
        if update.validates:
            errors = (
                *strategy.errors(registry, new, old, update.subresource),
                *registry.rules.validate_update(stored, new, old, update.subresource),
            )
            if errors:
                raise status.invalid(stored.group, stored.kind, update.name, errors)
        if update.admit:
            if update.shown is not None:
                admission.object = update.shown(new)
            await registry.admission.validate(admission)
        if not update.subresource:
            request.warnings.extend(registry.rules.warnings(stored, new, old))
        if update.subresource and update.admit:
            managed_fields.track(registry, request, row, old, new, options, update.subresource, apply=update.apply)
        if options.dry_run:
            new["metadata"]["resourceVersion"] = str(current.revision)
            return new
        new["metadata"].pop("resourceVersion", None)
        if _finished(new, strategy.may_go(new)):
            gone = await registry.commit_delete(row, current)
            done = True
            return Cached(gone.key, gone.data, gone.revision)
        result = await registry.commit_update(row, current, new)
        done = True
        return result
    finally:
        if not done:
            for revert in (*undo, *admission.undo):
                revert()


def _check_version(registry: Registry, update: Update, current: Cached, metadata: Object) -> None:
    row = update.row
    version = metadata.get("resourceVersion") or ""
    if version and version != "0":
        if not str(version).isdigit():
            raise status.invalid(
                row.group, row.kind, update.name,
                [field_errors.invalid("metadata.resourceVersion", version, "must be a number")],
            )
        if int(version) != current.revision:
            raise status.conflict(row.group, row.plural, update.name, status.MODIFIED)
    elif not registry.strategy(row).unconditional_update and update.options_kind == "UpdateOptions":
        raise status.invalid(
            row.group, row.kind, update.name,
            [field_errors.invalid("metadata.resourceVersion", 0, "must be specified for an update")],
        )
    else:
        metadata["resourceVersion"] = str(current.revision)
    uid = metadata.get("uid") or ""
    if uid and uid != current.object["metadata"].get("uid"):
        found = current.object["metadata"].get("uid")
        raise _other_object(registry, row, update.name, current.key, uid, found)


def _other_object(registry: Registry, row: Resource, name: str, key: str, uid: str, found: str) -> status.ApiError:
    """What is stored under the name is not what the client has read."""
    return status.conflict(
        row.group, row.plural, name,
        f"StorageError: invalid object, Code: 4, Key: {registry.cache(row).prefix}{key}, ResourceVersion: 0, "
        f"AdditionalErrorMsg: Precondition failed: UID in precondition: {uid}, UID in object meta: {found}",
    )


def _keep_system_fields(metadata: Object, before: Object) -> None:
    for name in ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation"):
        if name in before:
            metadata[name] = before[name]
        else:
            metadata.pop(name, None)
    if before.get("generateName") and not metadata.get("generateName"):
        metadata["generateName"] = before["generateName"]
    metadata["name"] = before["name"]
    if "namespace" in before:
        metadata["namespace"] = before["namespace"]
    metadata.pop("selfLink", None)


def _finished(obj: Object, may_go: bool) -> bool:
    """Deletion was only waiting for the finalizers that this update took away."""
    metadata = obj["metadata"]
    return (
        bool(metadata.get("deletionTimestamp"))
        and not metadata.get("finalizers")
        and not metadata.get("deletionGracePeriodSeconds")
        and may_go
    )
