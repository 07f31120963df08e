"""Impersonation: acting as another user by the ``Impersonate-*`` headers (Kubernetes documentation, "User
impersonation"). Each thing taken on needs the verb ``impersonate`` on it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from urllib.parse import unquote

from podwright.api.status import bad_request, failure, forbidden
from podwright.apiserver.authorization import forbidden_reason
from podwright.apiserver.requests import Attributes, Authorizer, UserInfo

USER = "impersonate-user"
GROUP = "impersonate-group"
UID = "impersonate-uid"
EXTRA = "impersonate-extra-"
ANONYMOUS = "system:anonymous"
AUTHENTICATED = "system:authenticated"
UNAUTHENTICATED = "system:unauthenticated"
_ACCOUNT = "system:serviceaccount:"


async def impersonate(user: UserInfo, headers: Iterable[tuple[str, str]], authorizer: Authorizer) -> UserInfo | None:
    """The user that the request acts as, or None if it asks for nobody. `headers` are all of the request's, a pair
    for each value. Raises ApiError: 403 if it may not, 500 (as upstream) if there are groups or extras without a
    user."""
    name, uid = "", ""
    groups: list[str] = []
    extra: dict[str, list[str]] = {}
    asked = False
    for key, value in headers:
        lower = key.lower()
        if not lower.startswith("impersonate-"):
            continue
        if lower == USER:
            name = name or value
        elif lower == UID:
            uid = uid or value
        elif lower == GROUP:
            groups.append(value)
        elif lower.startswith(EXTRA):
            extra.setdefault(unquote(lower[len(EXTRA) :]), []).append(value)
        else:
            continue
        asked = asked or bool(value)
    if not asked:
        return None
    if not name:
        raise failure(
            500,
            "InternalError",
            f"Internal error occurred: requested {_dump(groups, extra, uid)} without impersonating a user",
        )
    checks = list(_checks(user, name, uid, groups, extra))
    for attributes in checks:
        decision = await authorizer.authorize(attributes)
        if not decision.allowed:
            raise forbidden(
                attributes.group, attributes.resource, attributes.name, forbidden_reason(attributes, decision)
            )
    return _made(name, uid, groups, extra)


def _dump(groups: Sequence[str], extra: dict[str, list[str]], uid: str) -> str:
    return f"groups {groups!r}, extra {extra!r}, uid {uid!r}"


def _checks(
    user: UserInfo, name: str, uid: str, groups: Sequence[str], extra: dict[str, list[str]]
) -> Iterable[Attributes]:
    if name.startswith(_ACCOUNT):
        ns, sep, account = name[len(_ACCOUNT) :].partition(":")
        if not sep or not ns or not account:
            raise bad_request(f"username {name!r} is no service account")
        yield Attributes(user, "impersonate", "", "v1", "serviceaccounts", namespace=ns, name=account)
    else:
        yield Attributes(user, "impersonate", "", "v1", "users", name=name)
    for group in groups:
        yield Attributes(user, "impersonate", "", "v1", "groups", name=group)
    for key, values in extra.items():
        for value in values:
            yield Attributes(user, "impersonate", "authentication.k8s.io", "v1", "userextras", key, name=value)
    if uid:
        yield Attributes(user, "impersonate", "authentication.k8s.io", "v1", "uids", name=uid)


def _made(name: str, uid: str, groups: list[str], extra: dict[str, list[str]]) -> UserInfo:
    if not groups and name.startswith(_ACCOUNT):
        ns = name[len(_ACCOUNT) :].partition(":")[0]
        groups = ["system:serviceaccounts", f"system:serviceaccounts:{ns}"]
    if name == ANONYMOUS:
        if UNAUTHENTICATED not in groups:
            groups = [*groups, UNAUTHENTICATED]
    elif AUTHENTICATED not in groups and UNAUTHENTICATED not in groups:
        groups = [*groups, AUTHENTICATED]
    return UserInfo(name, uid, tuple(groups), extra)
