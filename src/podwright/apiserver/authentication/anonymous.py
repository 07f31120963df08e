"""Anonymous requests: only health and version may be asked without credentials, unless a configuration says more."""

from __future__ import annotations

from collections.abc import Callable

from podwright.api.objects import Object
from podwright.apiserver.requests import ANONYMOUS, UserInfo

PATHS = frozenset({"/healthz", "/livez", "/readyz", "/version", "/version/"})


def user_for(path: str) -> UserInfo | None:
    """The anonymous user if `path` is open to it; None means 401."""
    if path in PATHS or path.startswith(("/healthz/", "/livez/", "/readyz/")):
        return ANONYMOUS
    return None


def configured(structured: Object) -> Callable[[str], UserInfo | None]:
    """As :func:`user_for`, by the `anonymous` of an AuthenticationConfiguration: nobody, everybody, or its paths."""
    setting = structured.get("anonymous")
    if setting is None:
        return user_for
    if not setting.get("enabled"):
        return lambda path: None
    paths = frozenset(condition["path"] for condition in setting.get("conditions") or ())
    return lambda path: ANONYMOUS if not paths or path in paths else None
