"""Access and token reviews: questions, not objects that are kept."""

from __future__ import annotations

from podwright.api.objects import Object
from podwright.api.status import FieldError
from podwright.api.validation.field_errors import forbidden, invalid, required
from podwright.api.validation.rules import Kinds, Rules, spec_of

_AUTHN = "authentication.k8s.io"
_AUTHZ = "authorization.k8s.io"


def _name(_name: str, _prefix: bool) -> tuple[str, ...]:
    return ()


def _attributes(errs: list[FieldError], spec: Object) -> None:
    resource, path = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    if resource is not None and path is not None:
        said = "cannot be specified in combination with resourceAttributes"
        errs.append(invalid("spec.nonResourceAttributes", path, said))
    if resource is None and path is None:
        said = "exactly one of nonResourceAttributes or resourceAttributes must be specified"
        errs.append(invalid("spec.resourceAttributes", resource, said))
    for kind in ("fieldSelector", "labelSelector"):
        selector = (resource or {}).get(kind)
        if selector is None:
            continue
        raw, requirements = selector.get("rawSelector"), selector.get("requirements")
        field = f"spec.resourceAttributes.{kind}"
        if raw and requirements:
            errs.append(invalid(f"{field}.rawSelector", raw, "may not specified at the same time as requirements"))
        if not raw and not requirements:
            said = f"when {field} is specified, requirements or rawSelector is required"
            errs.append(required(f"{field}.requirements", said))


def _needs_subject(errs: list[FieldError], spec: Object) -> None:
    if not spec.get("user") and not spec.get("groups"):
        errs.append(invalid("spec.user", spec.get("user") or "", "at least one of user or group must be specified"))


def _no_metadata(errs: list[FieldError], obj: Object, said: str, *allowed: str) -> None:
    given = obj.get("metadata") or {}
    if any(value for field, value in given.items() if field not in ("managedFields", *allowed)):
        errs.append(invalid("metadata", given, said))


def _access(errs: list[FieldError], obj: Object) -> None:
    _attributes(errs, spec_of(obj))
    _needs_subject(errs, spec_of(obj))


def subject_access(errs: list[FieldError], obj: Object) -> None:
    _access(errs, obj)
    _no_metadata(errs, obj, "must be empty")


def self_subject_access(errs: list[FieldError], obj: Object) -> None:
    _attributes(errs, spec_of(obj))
    _no_metadata(errs, obj, "must be empty")


def local_subject_access(errs: list[FieldError], obj: Object) -> None:
    spec = spec_of(obj)
    _access(errs, obj)
    _no_metadata(errs, obj, "must be empty except for namespace", "namespace")
    namespace = (obj.get("metadata") or {}).get("namespace") or ""
    attributes = spec.get("resourceAttributes")
    if attributes is not None and (attributes.get("namespace") or "") != namespace:
        field = "spec.resourceAttributes.namespace"
        errs.append(invalid(field, attributes.get("namespace") or "", "must match metadata.namespace"))
    if spec.get("nonResourceAttributes") is not None:
        said = "disallowed on this kind of request"
        errs.append(invalid("spec.nonResourceAttributes", spec["nonResourceAttributes"], said))


def token_review(errs: list[FieldError], obj: Object) -> None:
    if not spec_of(obj).get("token"):
        errs.append(required("spec.token"))


def token_request(errs: list[FieldError], obj: Object) -> None:
    """authentication.k8s.io/v1 TokenRequest, as serviceaccounts/token takes it."""
    seconds = spec_of(obj).get("expirationSeconds", 3600)
    if seconds < 600:
        errs.append(invalid("spec.expirationSeconds", seconds, "may not specify a duration less than 10 minutes"))
    if seconds > 1 << 32:
        errs.append(invalid("spec.expirationSeconds", seconds, "may not specify a duration larger than 2^32 seconds"))


def rules_review(errs: list[FieldError], obj: Object) -> None:
    if not spec_of(obj).get("namespace"):
        errs.append(forbidden("spec.namespace", "no namespace on request"))


KINDS: Kinds = {
    (_AUTHN, "TokenReview"): Rules(name=_name, create=token_review),
    (_AUTHN, "TokenRequest"): Rules(name=_name, create=token_request),
    (_AUTHN, "SelfSubjectReview"): Rules(name=_name),
    (_AUTHZ, "SubjectAccessReview"): Rules(name=_name, create=subject_access),
    (_AUTHZ, "SelfSubjectAccessReview"): Rules(name=_name, create=self_subject_access),
    (_AUTHZ, "LocalSubjectAccessReview"): Rules(name=_name, create=local_subject_access),
    (_AUTHZ, "SelfSubjectRulesReview"): Rules(name=_name, create=rules_review),
}
