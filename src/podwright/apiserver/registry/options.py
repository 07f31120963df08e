"""CreateOptions, UpdateOptions, PatchOptions and DeleteOptions, as queries and bodies bring them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from podwright.api import status
from podwright.api.objects import Object
from podwright.api.status import FieldError
from podwright.api.validation import field_errors
from podwright.apiserver.exchange import Request

STRICT = "Strict"
WARN = "Warn"
IGNORE = "Ignore"

_FIELD_MANAGER_MAX = 128
_META = "meta.k8s.io"


@dataclass(slots=True)
class WriteOptions:
    """Options of create, update and patch. `manager` is never empty; `asked` is what the request itself says."""

    dry_run: bool = False
    manager: str = "unknown"
    field_validation: str = WARN
    force: bool | None = None
    asked: Object = field(default_factory=dict)

    def as_object(self, kind: str) -> Object:
        """For admission, of the operation that is performed: CreateOptions or UpdateOptions, of a patch too."""
        return {"kind": kind, "apiVersion": "meta.k8s.io/v1", **self.asked}


def write_options(request: Request, kind: str, *, apply: bool = False) -> WriteOptions:
    """Raises ApiError (422) for what upstream refuses."""
    query = request.query
    if not query and not apply:
        return WriteOptions(manager=default_manager(request))
    errors: list[FieldError] = []
    dry_run = [value for value in query.get_all("dryRun") if value]
    errors += [field_errors.not_supported("dryRun", value, ("All",)) for value in dry_run if value != "All"]
    validation = query.get("fieldValidation") or WARN
    if validation not in (STRICT, WARN, IGNORE):
        errors.append(field_errors.not_supported("fieldValidation", validation, (IGNORE, STRICT, WARN)))
    manager = query.get("fieldManager")
    if len(manager) > _FIELD_MANAGER_MAX:
        errors.append(
            FieldError("fieldManager", status.TOO_LONG, f"Too long: may not be more than {_FIELD_MANAGER_MAX} bytes")
        )
    elif not manager.isprintable():
        errors.append(
            field_errors.invalid("fieldManager", manager, "should only contain printable characters")
        )
    force: bool | None = None
    if query.has("force"):
        force = query.flag("force")
        if not apply:
            errors.append(field_errors.forbidden("force", "may not be specified for non-apply patch"))
    if apply and not manager:
        errors.append(field_errors.required("fieldManager", "is required for apply patch"))
    if errors:
        raise status.invalid(_META, kind, "", errors)
    asked: Object = {"dryRun": ["All"]} if dry_run else {}
    asked |= {name: value for name in ("fieldManager", "fieldValidation") if (value := query.get(name))}
    return WriteOptions(bool(dry_run), manager or default_manager(request), validation, force, asked)


def default_manager(request: Request) -> str:
    """The part of the User-Agent before the first slash."""
    prefix = request.user_agent.partition("/")[0][:_FIELD_MANAGER_MAX]
    return prefix if prefix and prefix.isprintable() else "unknown"


@dataclass(slots=True)
class DeleteOptions:
    grace_period: int | None = None
    propagation: str = ""
    orphan_dependents: bool | None = None
    uid: str | None = None
    resource_version: str | None = None
    dry_run: bool = False
    raw: Object = field(default_factory=dict)

    def as_object(self) -> Object:
        return {"kind": "DeleteOptions", "apiVersion": "meta.k8s.io/v1", **self.raw}


def delete_options(request: Request, body: Any) -> DeleteOptions:
    """From the body if there is one, else from the query.

    Raises:
        ApiError: 400 for a body that is no DeleteOptions, 422 for bad values.
    """
    if body is not None and not isinstance(body, dict):
        raise status.bad_request("the body is no DeleteOptions object")
    if body:
        if body.get("kind") not in (None, "DeleteOptions", ""):
            raise status.bad_request(
                f"the object provided is unrecognized (must be of type DeleteOptions): {body.get('kind')}"
            )
        raw = body
    else:
        raw = _from_query(request)
    options = DeleteOptions(raw={k: v for k, v in raw.items() if k not in ("kind", "apiVersion")})
    grace = raw.get("gracePeriodSeconds")
    if grace is not None:
        if not isinstance(grace, int) or isinstance(grace, bool) or not -(1 << 63) <= grace < 1 << 63:
            raise status.bad_request("gracePeriodSeconds must be an integer")
        options.grace_period = max(grace, -1) if grace >= 0 else 1
    errors: list[FieldError] = []
    propagation = raw.get("propagationPolicy")
    orphan = raw.get("orphanDependents")
    policies = ("Background", "Foreground", "Orphan")
    if propagation is not None and propagation not in policies:
        errors.append(field_errors.not_supported("propagationPolicy", propagation, policies))
    if propagation is not None and orphan is not None:
        errors.append(
            field_errors.invalid(
                "propagationPolicy", propagation, "orphanDependents and deletionPropagation cannot be both set"
            )
        )
    dry_run = raw.get("dryRun") or []
    if not isinstance(dry_run, list):
        raise status.bad_request("dryRun must be a list of strings")
    errors += [field_errors.not_supported("dryRun", value, ("All",)) for value in dry_run if value != "All"]
    if errors:
        raise status.invalid(_META, "DeleteOptions", "", errors)
    options.propagation = propagation or ""
    options.orphan_dependents = bool(orphan) if orphan is not None else None
    options.dry_run = bool(dry_run)
    preconditions = raw.get("preconditions")
    if preconditions is not None:
        if not isinstance(preconditions, dict):
            raise status.bad_request("preconditions must be an object")
        options.uid, options.resource_version = preconditions.get("uid"), preconditions.get("resourceVersion")
        if any(not isinstance(v, str | None) for v in (options.uid, options.resource_version)):
            raise status.bad_request("preconditions must be strings")
    return options


def _from_query(request: Request) -> Object:
    query = request.query
    raw: Object = {}
    if not query:
        return raw
    if (grace := query.integer("gracePeriodSeconds")) is not None:
        raw["gracePeriodSeconds"] = grace
    if query.get("propagationPolicy"):
        raw["propagationPolicy"] = query.get("propagationPolicy")
    if query.has("orphanDependents"):
        raw["orphanDependents"] = query.flag("orphanDependents")
    dry_run = [value for value in query.get_all("dryRun") if value]
    if dry_run:
        raw["dryRun"] = dry_run
    return raw
