"""POST to a collection."""

from __future__ import annotations

from podwright.api import objects, status
from podwright.api.objects import Object
from podwright.api.resources import Resource
from podwright.apiserver.cache.entries import Cached
from podwright.apiserver.exchange import One, Request
from podwright.apiserver.identity import new_uuid, random_letters
from podwright.apiserver.registry import managed_fields
from podwright.apiserver.registry.bodies import body_object, checked, complete
from podwright.apiserver.registry.options import WriteOptions, write_options
from podwright.apiserver.registry.registry import KeyExists, Registry
from podwright.apiserver.registry.strategies import Undo
from podwright.apiserver.requests import AdmissionRequest

_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
_SUFFIX = 5
_BASE_MAX = 63 - _SUFFIX
_GENERATE_TRIES = 8


def generated_name(base: str) -> str:
    """`base`, cut so that the whole stays a DNS label, and five random characters without vowels."""
    return base[:_BASE_MAX] + random_letters(_ALPHABET, _SUFFIX)


async def create(registry: Registry, request: Request, row: Resource) -> One:
    options = write_options(request, "CreateOptions")
    obj = await body_object(request, row)
    obj = checked(registry.schema(row), request, row.kind, row.version, obj, options)
    cached = await create_object(registry, request, row, request.info.namespace, obj, options)
    return One.of(row, cached, 201)


async def create_object(
    registry: Registry, request: Request, row: Resource, namespace: str, obj: Object, options: WriteOptions, *,
    apply: bool = False,
) -> Cached | Object:
    """From the decoded object to the stored one. A dry run gives the object that would have been stored.

    Raises:
        ApiError: 400 wrong namespace, 403 admission, 409 there already, 422 invalid.
    """
    metadata = obj.setdefault("metadata", {})
    own = metadata.get("namespace") or ""
    if row.namespaced:
        if own and own != namespace:
            raise status.bad_request(
                "the namespace of the provided object does not match the namespace sent on the request"
            )
        metadata["namespace"] = namespace
    elif own:
        raise status.bad_request("namespace may not be set on a cluster-scoped object")
    if metadata.get("resourceVersion") not in (None, "", "0"):
        raise status.bad_request("resourceVersion should not be set on objects to be created")
    complete(registry.schema(row), obj)
    registry.rules.default(row, obj)
    generate = metadata.get("generateName") or ""
    generates = bool(generate) and not metadata.get("name")
    tries = _GENERATE_TRIES if generates else 1
    fill_system_fields(registry, metadata)
    _, stored = registry.storage(row)
    obj = registry.convert(row, stored, obj)
    original = objects.deepcopy(obj) if generates else obj
    for attempt in range(tries):
        if attempt:
            obj = objects.deepcopy(original)
        try:
            return await _create_once(registry, request, row, stored, namespace, obj, options, apply)
        except KeyExists as taken:
            name = str(taken).rpartition("/")[2]
    if generates:
        raise status.failure(
            409, "AlreadyExists",
            f'{row.qualified} "{name}" already exists, the server was not able to generate a unique name for the '
            "object",
            {"name": name, "group": row.group, "kind": row.plural, "retryAfterSeconds": 1},
        )
    raise status.already_exists(row.group, row.plural, name)


def fill_system_fields(registry: Registry, metadata: Object) -> None:
    metadata["uid"] = new_uuid()
    metadata["creationTimestamp"] = objects.format_time(registry.now())
    for name in ("deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "resourceVersion", "generation"):
        metadata.pop(name, None)


async def _create_once(
    registry: Registry, request: Request, row: Resource, stored: Resource, namespace: str, obj: Object,
    options: WriteOptions, apply: bool,
) -> Cached | Object:
    metadata = obj["metadata"]
    name = str(metadata.get("name") or "")
    managed_fields.track(registry, request, row, None, obj, options, "", apply=apply)
    admission = AdmissionRequest(
        user=request.user, operation="CREATE", resource=stored, requested=row, subresource="",
        namespace=namespace, name=name,
        object=obj, old_object=None, options=options.as_object("CreateOptions"), dry_run=options.dry_run,
        warnings=request.warnings, audit=request.audit,
    )
    undo: list[Undo] = []
    strategy = registry.strategy(row)
    done = False
    try:
        await registry.admission.admit(admission)
        assert admission.object is not None
        if row.custom and admission.object is not obj:
            admission.object = registry.form(row).settled(admission.object)
        obj = admission.object
        metadata = obj["metadata"]
        if not metadata.get("name") and metadata.get("generateName"):
            # Mutating admission knows what the name begins with, and may give one; the rest sees the whole.
            metadata["name"] = generated_name(metadata["generateName"])
        admission.name = name = str(metadata.get("name") or "")
        registry.rules.prepare_create(stored, obj)
        strategy.made_by(obj, request.user)
        undo += await strategy.begin_create(registry, obj, options.dry_run)
        errors = (*strategy.errors(registry, obj, None, ""), *registry.rules.validate_create(stored, obj))
        if errors:
            raise status.invalid(stored.group, stored.kind, name, errors)
        await registry.admission.validate(admission)
        request.warnings.extend(registry.rules.warnings(stored, obj, None))
        key = f"{namespace}/{name}" if row.namespaced else name
        if options.dry_run:
            if registry.cache(row).get(key) is not None:
                raise KeyExists(key)
            done = True
            return obj
        cached = await registry.commit_create(row, key, obj)
        done = True
        await strategy.after_create(registry, obj)
        return cached
    finally:
        if not done or options.dry_run:
            for revert in (*undo, *admission.undo):
                revert()


async def admit_create(
    registry: Registry, request: Request, row: Resource, subresource: str, name: str, obj: Object, options: WriteOptions
) -> Object:
    """What admission makes of an object that is asked for and never stored (a Binding, a TokenRequest)."""
    admission = AdmissionRequest(
        user=request.user, operation="CREATE", resource=row, subresource=subresource,
        namespace=request.info.namespace, name=name, object=obj, old_object=None,
        options=options.as_object("CreateOptions"), dry_run=options.dry_run, warnings=request.warnings,
        audit=request.audit,
    )
    await registry.admission.admit(admission)
    await registry.admission.validate(admission)
    return admission.object or obj
