"""Questions about authentication and authorization asked as objects: TokenReview, SelfSubjectReview, the
SubjectAccessReviews and SelfSubjectRulesReview. They are created, answered and never stored."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from podwright.api.objects import Object, deepcopy
from podwright.api.resources import Resource
from podwright.api.status import ApiError, FieldError, bad_request, invalid
from podwright.api.validation import reviews as rules
from podwright.apiserver import authentication, authorization
from podwright.apiserver.requests import Attributes, UserInfo

AUTHORIZATION = "authorization.k8s.io"
KINDS = frozenset(
    {
        "TokenReview", "SelfSubjectReview", "SubjectAccessReview", "LocalSubjectAccessReview",
        "SelfSubjectAccessReview", "SelfSubjectRulesReview",
    }
)


_RULES = {
    "SelfSubjectAccessReview": rules.self_subject_access, "SubjectAccessReview": rules.subject_access,
    "LocalSubjectAccessReview": rules.local_subject_access,
}


class Reviews:
    def __init__(
        self, authenticator: authentication.Union, authorizer: authorization.Union, audiences: Sequence[str]
    ) -> None:
        """`audiences` are the API server's own."""
        self._authenticator = authenticator
        self._authorizer = authorizer
        self._audiences = tuple(audiences)

    async def create(self, resource: Resource, user: UserInfo, namespace: str, body: Object) -> Object:
        """The answer to a review of ``resource.kind`` (one of :data:`KINDS`) that `user` asks. Raises ApiError: 400,
        422."""
        review = deepcopy(body)
        review.setdefault("metadata", {})
        if resource.kind == "TokenReview":
            review["status"] = await self._token(review.get("spec") or {})
        elif resource.kind == "SelfSubjectReview":
            review["status"] = {"userInfo": user_object(user)}
        elif resource.kind == "SelfSubjectRulesReview":
            review["status"] = self._rules(user, review.get("spec") or {})
        else:
            review["status"] = await self._access(resource.kind, user, namespace, review)
        return review

    async def _token(self, spec: Object) -> Object:
        token = spec.get("token")
        if not token:
            raise bad_request("token is required for TokenReview in authentication")
        wanted = tuple(spec.get("audiences") or ())
        try:
            user = await self._authenticator.authenticate_token(str(token), wanted)
        except ApiError as error:
            if error.code != 401:
                raise
            return {"user": {}, "error": "[invalid bearer token, token lookup failed]"}
        return {"authenticated": True, "user": user_object(user), "audiences": list(wanted or self._audiences)}

    async def _access(self, kind: str, user: UserInfo, namespace: str, review: Object) -> Object:
        spec = review.get("spec") or {}
        if kind == "LocalSubjectAccessReview":
            review["metadata"].setdefault("namespace", namespace)
        errors: list[FieldError] = []
        _RULES[kind](errors, review)
        if errors:
            raise invalid(AUTHORIZATION, kind, str(review["metadata"].get("name") or ""), errors)
        if kind != "SelfSubjectAccessReview":
            user = UserInfo(
                spec.get("user") or "", spec.get("uid") or "", tuple(spec.get("groups") or ()), spec.get("extra") or {}
            )
        decision = await self._authorizer.authorize(attributes_of(user, spec))
        status: Object = {"allowed": decision.allowed}
        if decision.denied:
            status["denied"] = True
        if decision.reason:
            status["reason"] = decision.reason
        return status

    def _rules(self, user: UserInfo, spec: Object) -> Object:
        namespace = spec.get("namespace")
        if not namespace:
            raise bad_request("no namespace on request")
        rules, problem = self._authorizer.rbac.rules_for(user, namespace)
        resource_rules, url_rules = [], []
        for rule in rules:
            if rule.get("resources"):
                resource_rules.append(_only(rule, ("verbs", "apiGroups", "resources", "resourceNames")))
            if rule.get("nonResourceURLs"):
                url_rules.append(_only(rule, ("verbs", "nonResourceURLs")))
        status: Object = {"resourceRules": resource_rules, "nonResourceRules": url_rules, "incomplete": bool(problem)}
        if problem:
            status["evaluationError"] = problem
        return status


def _only(rule: Object, fields: Iterable[str]) -> Object:
    return {field: list(rule[field]) for field in fields if rule.get(field)}


def user_object(user: UserInfo) -> Object:
    """authentication.k8s.io UserInfo."""
    made: Object = {"username": user.name}
    if user.uid:
        made["uid"] = user.uid
    if user.groups:
        made["groups"] = list(user.groups)
    if user.extra:
        made["extra"] = {key: list(values) for key, values in user.extra.items()}
    return made


def attributes_of(user: UserInfo, spec: Mapping[str, Any]) -> Attributes:
    """What a SubjectAccessReview's spec asks for."""
    resource = spec.get("resourceAttributes")
    if resource is not None:
        return Attributes(
            user,
            resource.get("verb") or "",
            resource.get("group") or "",
            resource.get("version") or "*",
            resource.get("resource") or "",
            resource.get("subresource") or "",
            resource.get("namespace") or "",
            resource.get("name") or "",
            field_selector=_selector(resource.get("fieldSelector")),
            label_selector=_selector(resource.get("labelSelector")),
        )
    path = spec.get("nonResourceAttributes") or {}
    return Attributes(user, path.get("verb") or "", path=path.get("path") or "", is_resource=False)


def _selector(given: Object | None) -> str:
    if not given:
        return ""
    if given.get("rawSelector"):
        return str(given["rawSelector"])
    terms = []
    for requirement in given.get("requirements") or ():
        key, operator, values = requirement.get("key"), requirement.get("operator"), requirement.get("values") or []
        if operator == "In" and len(values) == 1:
            terms.append(f"{key}={values[0]}")
        elif operator == "NotIn" and len(values) == 1:
            terms.append(f"{key}!={values[0]}")
        elif operator in ("In", "NotIn"):
            terms.append(f"{key} {operator.lower()} ({','.join(values)})")
        else:
            terms.append(str(key) if operator == "Exists" else f"!{key}")
    return ",".join(terms)
