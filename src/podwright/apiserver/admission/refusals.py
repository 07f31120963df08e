"""How admission says no."""

from __future__ import annotations

from podwright.api.status import ApiError
from podwright.api.status import forbidden as forbidden_status
from podwright.apiserver.requests import AdmissionRequest


def request_name(request: AdmissionRequest) -> str:
    """The object's name; its generateName where the name is still to come."""
    metadata = (request.object or {}).get("metadata") or {}
    return request.name or metadata.get("name") or metadata.get("generateName") or "Unknown"


def forbidden(request: AdmissionRequest, why: str) -> ApiError:
    """403: ``pods "x" is forbidden: why``."""
    return forbidden_status(request.resource.group, request.resource.plural, request_name(request), why)


def aggregated(messages: list[str]) -> str:
    """Several reasons as one, in the form of Go's aggregated errors."""
    unique = list(dict.fromkeys(messages))
    return unique[0] if len(unique) == 1 else "[" + ", ".join(unique) + "]"
