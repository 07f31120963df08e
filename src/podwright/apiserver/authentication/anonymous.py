"""Anonymous requests: only health and version may be asked without credentials."""

from __future__ import annotations

from podwright.apiserver.requests import ANONYMOUS, UserInfo

PATHS = frozenset({"/healthz", "/livez", "/readyz", "/version", "/version/"})


def user_for(path: str) -> UserInfo | None:
    """The anonymous user if `path` is open to it; None means 401."""
    if path in PATHS or path.startswith(("/healthz/", "/livez/", "/readyz/")):
        return ANONYMOUS
    return None
