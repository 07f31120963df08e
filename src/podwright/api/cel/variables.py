"""The types of the variables that expressions of admission, authentication, authorization and devices see (Kubernetes
documentation, "Validating Admission Policy", "Using Authentication Configuration", "Authorization")."""

from __future__ import annotations

from collections.abc import Mapping

from podwright.api.cel.declarations import ATTRIBUTE, DYN, DeclType, object_of
from podwright.api.cel.signatures import named


def _object(name: str, /, **fields: str | DeclType) -> DeclType:
    made = {key: named(kind) if isinstance(kind, str) else kind for key, kind in fields.items()}
    return object_of(f"kubernetes.{name}", made)


_KIND = _object("GroupVersionKind", group="string", version="string", kind="string")
_PLACE = _object("GroupVersionResource", group="string", version="string", resource="string")
USER_INFO = _object(
    "UserInfo", username="string", uid="string", groups="list(string)", extra="map(string,list(string))"
)
REQUEST = _object(
    "AdmissionRequest", kind=_KIND, resource=_PLACE, subResource="string", requestKind=_KIND, requestResource=_PLACE,
    requestSubResource="string", name="string", namespace="string", operation="string", userInfo=USER_INFO,
    dryRun="bool", options=DYN,
)  # fmt: skip
_CONDITION = _object(
    "NamespaceCondition", status="string", type="string", lastTransitionTime="timestamp", message="string",
    reason="string",
)  # fmt: skip
NAMESPACE = _object(
    "Namespace",
    metadata=_object(
        "NamespaceMetadata", name="string", generateName="string", namespace="string", labels="map(string,string)",
        annotations="map(string,string)", uid="string", UID="string", creationTimestamp="timestamp",
        deletionGracePeriodSeconds="int", deletionTimestamp="timestamp", generation="int", resourceVersion="string",
        finalizers="list(string)",
    ),
    spec=_object("NamespaceSpec", finalizers="list(string)"),
    status=_object("NamespaceStatus", conditions=DeclType("list", _CONDITION), phase="string"),
)  # fmt: skip
_REQUIREMENT = _object("SelectorRequirement", key="string", operator="string", values="list(string)")
_SELECTOR = _object("SelectorAttributes", rawSelector="string", requirements=DeclType("list", _REQUIREMENT))
SUBJECT_ACCESS_REVIEW = _object(
    "SubjectAccessReviewSpec", user="string", groups="list(string)", uid="string", extra="map(string,list(string))",
    resourceAttributes=_object(
        "ResourceAttributes", namespace="string", verb="string", group="string", version="string", resource="string",
        subresource="string", name="string", fieldSelector=_SELECTOR, labelSelector=_SELECTOR,
    ),
    nonResourceAttributes=_object("NonResourceAttributes", path="string", verb="string"),
)  # fmt: skip
_NAME, _DOMAIN = (DeclType("string", most=most) for most in (32, 63))
_MOST_ATTRIBUTES = 32


def _by_domain(kind: DeclType) -> DeclType:
    inner = DeclType("map", _NAME, kind, most=_MOST_ATTRIBUTES)
    return DeclType("map", _DOMAIN, inner, most=_MOST_ATTRIBUTES)


DEVICE = _object(
    "DRADevice", driver=DeclType("string", most=63), attributes=_by_domain(ATTRIBUTE),
    capacity=_by_domain(named("Quantity")), allowMultipleAllocations="bool",
)  # fmt: skip
AUTHORIZER: Mapping[str, DeclType] = {
    "authorizer": named("Authorizer"), "authorizer.requestResource": named("ResourceCheck"),
}  # fmt: skip


def variables(*, of: DeclType = DYN, params: DeclType | None = None) -> dict[str, DeclType]:
    """`of` is the type of the object, `params` that of the parameters, None if there are none."""
    found = {"object": of, "oldObject": of, "request": REQUEST, "namespaceObject": NAMESPACE, **AUTHORIZER}
    return found if params is None else found | {"params": params}


def composed(kinds: Mapping[str, DeclType]) -> DeclType:
    """``variables`` of a policy. Objects among them are not looked into."""
    return object_of("kubernetes.variables", {name: _plain(kind) for name, kind in kinds.items()})


def _plain(kind: DeclType) -> DeclType:
    if kind.is_object or "." in kind.name or kind.name in ("optional_type", "type"):
        return DYN
    return DeclType(kind.name, *map(_plain, kind.parts)) if kind.parts else kind
