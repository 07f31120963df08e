"""API errors as ``Status`` objects, with the reasons, codes and message forms of the Kubernetes API conventions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from podwright.api.objects import Object

REQUIRED = "FieldValueRequired"
INVALID = "FieldValueInvalid"
NOT_SUPPORTED = "FieldValueNotSupported"
DUPLICATE = "FieldValueDuplicate"
FORBIDDEN = "FieldValueForbidden"
NOT_FOUND = "FieldValueNotFound"
TOO_LONG = "FieldValueTooLong"
TOO_MANY = "FieldValueTooMany"
TYPE_INVALID = "FieldValueTypeInvalid"
INTERNAL = "InternalError"


@dataclass(frozen=True, slots=True)
class FieldError:
    """One thing wrong with one field: a row of ``details.causes``. Build it with the functions of
    :mod:`podwright.api.validation.field_errors`, which know the message forms."""

    field: str
    reason: str
    message: str

    def cause(self) -> Object:
        return {"reason": self.reason, "message": self.message, "field": self.field}


class ApiError(Exception):
    """A failed API call. ``status`` is the ``Status`` object that the client gets or got."""

    def __init__(self, status: Object) -> None:
        super().__init__(status.get("message") or status.get("reason") or "unknown API error")
        self.status = status

    @property
    def code(self) -> int:
        return int(self.status.get("code") or 500)

    @property
    def reason(self) -> str:
        return str(self.status.get("reason") or "")

    @property
    def retry_after(self) -> int | None:
        """Seconds the server asks the client to wait, if it does."""
        value = (self.status.get("details") or {}).get("retryAfterSeconds")
        return int(value) if value else None


def failure(code: int, reason: str, message: str, details: Object | None = None) -> ApiError:
    status: Object = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        **({"reason": reason} if reason else {}),
        "code": code,
    }
    if details:
        status["details"] = details
    return ApiError(status)


def success(details: Object | None = None) -> Object:
    """The Status that a finished delete answers."""
    status: Object = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
    if details:
        status["details"] = details
    return status


def _qualified(group: str, resource: str) -> str:
    return f"{resource}.{group}" if group else resource


def _details(group: str, resource: str, name: str, **more: Any) -> Object:
    details: Object = {}
    if name:
        details["name"] = name
    if group:
        details["group"] = group
    if resource:
        details["kind"] = resource
    details.update(more)
    return details


def not_found(group: str, resource: str, name: str) -> ApiError:
    return failure(
        404, "NotFound", f'{_qualified(group, resource)} "{name}" not found', _details(group, resource, name)
    )


def path_not_found() -> ApiError:
    """A URL that no handler serves."""
    return failure(404, "NotFound", "the server could not find the requested resource", {})


def already_exists(group: str, resource: str, name: str) -> ApiError:
    return failure(
        409, "AlreadyExists", f'{_qualified(group, resource)} "{name}" already exists', _details(group, resource, name)
    )


def conflict(group: str, resource: str, name: str, why: str) -> ApiError:
    return failure(
        409,
        "Conflict",
        f'Operation cannot be fulfilled on {_qualified(group, resource)} "{name}": {why}',
        _details(group, resource, name),
    )


MODIFIED = "the object has been modified; please apply your changes to the latest version and try again"


def apply_conflict(message: str, causes: Sequence[Object]) -> ApiError:
    """Server-side apply met fields of other managers; `causes` have reason FieldManagerConflict."""
    return failure(409, "Conflict", message, {"causes": list(causes)})


def invalid(group: str, kind: str, name: str, errors: Sequence[FieldError]) -> ApiError:
    """422 with one cause for each error, in order."""
    texts = list(dict.fromkeys(f"{e.field}: {e.message}" for e in errors))
    summary = texts[0] if len(texts) == 1 else "[" + ", ".join(texts) + "]"
    details = _details(group, kind, name, causes=[e.cause() for e in errors])
    return failure(422, "Invalid", f'{_qualified(group, kind)} "{name}" is invalid: {summary}', details)


def forbidden(group: str, resource: str, name: str, why: str) -> ApiError:
    if resource and name:
        what = f'{_qualified(group, resource)} "{name}" is forbidden: {why}'
    elif resource:
        what = f"{_qualified(group, resource)} is forbidden: {why}"
    else:
        what = f"forbidden: {why}"
    return failure(403, "Forbidden", what, _details(group, resource, name))


def unauthorized(message: str = "Unauthorized") -> ApiError:
    return failure(401, "Unauthorized", message)


def bad_request(message: str) -> ApiError:
    return failure(400, "BadRequest", message)


def method_not_allowed(message: str = "the server does not allow this method on the requested resource") -> ApiError:
    return failure(405, "MethodNotAllowed", message, {})


def not_acceptable(accepted: Sequence[str]) -> ApiError:
    return failure(406, "NotAcceptable", f"only the following media types are accepted: {', '.join(accepted)}")


def unsupported_media_type(accepted: Sequence[str]) -> ApiError:
    return failure(
        415,
        "UnsupportedMediaType",
        f"the body of the request was in an unknown format - accepted media types include: {', '.join(accepted)}",
    )


def too_large(limit: int) -> ApiError:
    return failure(413, "RequestEntityTooLarge", f"Request entity too large: limit is {limit}")


def expired(message: str) -> ApiError:
    """410: the resourceVersion or continue token is older than what the server keeps."""
    return failure(410, "Expired", message)


def gone(message: str) -> ApiError:
    return failure(410, "Gone", message)


def too_many_requests(message: str, retry_after: int = 1, causes: Sequence[Object] = ()) -> ApiError:
    details: Object = {"retryAfterSeconds": retry_after}
    if causes:
        details["causes"] = list(causes)
    return failure(429, "TooManyRequests", message, details)


def timeout(message: str, retry_after: int = 1) -> ApiError:
    return failure(504, "Timeout", f"Timeout: {message}", {"retryAfterSeconds": retry_after})


def unavailable(message: str) -> ApiError:
    return failure(503, "ServiceUnavailable", message)


def internal(message: str) -> ApiError:
    return failure(500, "InternalError", f"Internal error occurred: {message}", {"causes": [{"message": message}]})
