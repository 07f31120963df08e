"""AuthorizationConfiguration: several authorizers, webhooks among them, with conditions (Kubernetes documentation,
"Configuring the API Server using an Authorization Config File")."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from podwright.api.cel import EvaluationError, Program, compile_expression
from podwright.api.cel.values import parse_duration
from podwright.api.cel.variables import SUBJECT_ACCESS_REVIEW
from podwright.api.objects import Object
from podwright.api.status import FieldError
from podwright.api.validation import names
from podwright.api.validation.expressions import compiles
from podwright.api.validation.field_errors import duplicate, invalid, not_supported, required, too_many
from podwright.apiserver import config_files
from podwright.apiserver.authorization.metrics import AuthorizationMetrics
from podwright.apiserver.authorization.webhook import WebhookAuthorizer, review_of
from podwright.apiserver.kubeconfigs import endpoint_of
from podwright.apiserver.requests import Attributes, Decision

_VERSIONS = ("apiserver.config.k8s.io/v1", "apiserver.config.k8s.io/v1beta1", "apiserver.config.k8s.io/v1alpha1")
_TYPES = ("AlwaysAllow", "AlwaysDeny", "Node", "RBAC", "Webhook")
_SHAPE = {
    "authorizers": [
        {
            "type": str, "name": str,
            "webhook": {
                "timeout": str, "authorizedTTL": str, "cacheAuthorizedRequests": bool, "unauthorizedTTL": str,
                "cacheUnauthorizedRequests": bool, "subjectAccessReviewVersion": str,
                "matchConditionSubjectAccessReviewVersion": str, "failurePolicy": str,
                "connectionInfo": {"type": str, "kubeConfigFile": str}, "matchConditions": [{"expression": str}],
            },
        }
    ],
}  # fmt: skip
_TTLS = (("authorizedTTL", "5m"), ("unauthorizedTTL", "30s"))
_DENY = "Deny"
_MOST_CONDITIONS = 64


@dataclass(frozen=True, slots=True)
class Entry:
    """An authorizer of the file, by its type; a webhook with its name and settings."""

    type: str
    name: str
    webhook: Object


def seconds(text: str) -> float:
    """Of a duration as Go writes it. Raises ValueError."""
    try:
        return parse_duration(text).ns / 1e9
    except EvaluationError as wrong:
        raise ValueError(str(wrong)) from None


def read(path: Path) -> list[Entry]:
    """Raises OSError; ValueError for what upstream refuses: all of it, a line each."""
    config = config_files.read(path, "AuthorizationConfiguration", _VERSIONS, _SHAPE)
    authorizers = config.get("authorizers") or []
    if errs := errors_of(authorizers):
        raise ValueError("\n".join(f"{path}: {e.field}: {e.message}" for e in errs))
    return [Entry(e["type"], e["name"], e.get("webhook") or {}) for e in authorizers]


def errors_of(authorizers: Sequence[Object]) -> list[FieldError]:
    errs: list[FieldError] = []
    if not authorizers:
        errs.append(required("authorizers", "at least one authorization mode must be defined"))
    for i, entry in enumerate(authorizers):
        path, kind, name = f"authorizers[{i}]", entry.get("type") or "", entry.get("name") or ""
        if not kind:
            errs.append(required(f"{path}.type"))
        elif kind not in _TYPES:
            errs.append(not_supported(f"{path}.type", kind, _TYPES))
        elif kind != "Webhook" and kind in [other.get("type") for other in authorizers[:i]]:
            errs.append(duplicate(f"{path}.type", kind))
        else:
            if not name:
                errs.append(required(f"{path}.name"))
            elif name in [other.get("name") for other in authorizers[:i]]:
                errs.append(duplicate(f"{path}.name", name))
            elif problems := names.dns_subdomain(name):
                errs.append(invalid(f"{path}.name", name, f"authorizer name is invalid: {', '.join(problems)}"))
            _webhook(errs, kind, entry.get("webhook"), path)
    return errs


def _webhook(errs: list[FieldError], kind: str, settings: Object | None, path: str) -> None:
    if kind != "Webhook":
        if settings is not None:
            errs.append(invalid(f"{path}.webhook", "non-null", "may only be specified when type=Webhook"))
        return
    if settings is None:
        errs.append(required(f"{path}.webhook", "required when type=Webhook"))
        return
    for field, default, most in (("timeout", "", 30.0), *((field, default, None) for field, default in _TTLS)):
        _span(errs, settings.get(field) or default, f"{path}.{field}", most)
    conditions = settings.get("matchConditions") or []
    needed = "required if match conditions are specified" if conditions else None
    for field, allowed, missing in (
        ("subjectAccessReviewVersion", ("v1", "v1beta1"), ""),
        ("matchConditionSubjectAccessReviewVersion", ("v1",), needed),
        ("failurePolicy", ("NoOpinion", _DENY), ""),
    ):
        value = settings.get(field) or ""
        if value and value not in allowed:
            errs.append(not_supported(f"{path}.{field}", value, allowed))
        elif not value and missing is not None:
            errs.append(required(f"{path}.{field}", missing))
    _connection(errs, settings.get("connectionInfo") or {}, f"{path}.connectionInfo")
    if len(conditions) > _MOST_CONDITIONS:
        errs.append(too_many(f"{path}.matchConditions", len(conditions), _MOST_CONDITIONS))
        return
    for i, condition in enumerate(conditions):
        where, source = f"{path}.matchConditions[{i}].expression", condition.get("expression") or ""
        if not source.strip():
            errs.append(required(where))
        elif source in [other.get("expression") for other in conditions[:i]]:
            errs.append(duplicate(where, source))
        else:
            compiles(errs, source, where, {"request": SUBJECT_ACCESS_REVIEW}, "bool")


def _span(errs: list[FieldError], text: str, path: str, most: float | None) -> None:
    try:
        span = seconds(text) if text else 0
    except ValueError as wrong:
        errs.append(invalid(path, text, str(wrong)))
        return
    if not span:
        errs.append(required(path))
    elif span < 0 or (most is not None and span > most):
        errs.append(invalid(path, text, "must be > 0s" + (f" and <= {most:.0f}s" if most is not None else "")))


def _connection(errs: list[FieldError], connection: Object, path: str) -> None:
    kind, file = connection.get("type") or "", connection.get("kubeConfigFile") or ""
    if not kind:
        errs.append(required(f"{path}.type"))
    elif kind == "InClusterConfig":  # of servers that ask kube-apiserver, which does not ask itself
        errs.append(invalid(f"{path}.type", kind, "this mode is not allowed for kube-apiserver"))
    elif kind != "KubeConfigFile":
        errs.append(not_supported(f"{path}.type", kind, ("InClusterConfig", "KubeConfigFile")))
    elif not file:
        errs.append(required(f"{path}.kubeConfigFile"))
    elif not file.startswith("/"):
        errs.append(invalid(f"{path}.kubeConfigFile", file, "must be an absolute path"))
    elif not Path(file).is_file():
        errs.append(invalid(f"{path}.kubeConfigFile", file, "must be a regular file"))


class ConditionalWebhook:
    """A webhook that is asked only where its matchConditions hold, and that may refuse what it cannot be asked."""

    def __init__(self, entry: Entry, metrics: AuthorizationMetrics) -> None:
        """`entry` has been checked. Raises OSError, ValueError for a kubeconfig that is of no use."""
        which = (entry.type, entry.name)
        self._errors, self._exclusions = metrics.condition_errors.labels(*which), metrics.exclusions.labels(*which)
        self._seconds = metrics.condition_seconds.labels(*which)
        settings = entry.webhook
        self._denies = settings["failurePolicy"] == _DENY
        self._conditions: Sequence[Program] = [
            compile_expression(condition["expression"], ("request",))
            for condition in settings.get("matchConditions") or ()
        ]
        kept = [settings.get(f"cache{which}Requests", True) for which in ("Authorized", "Unauthorized")]
        ttls = [seconds(settings.get(field) or default) for field, default in _TTLS]
        self._webhook = WebhookAuthorizer(
            endpoint_of(Path(settings["connectionInfo"]["kubeConfigFile"])), timeout=seconds(settings["timeout"]),
            authorized_ttl=ttls[0] * kept[0], unauthorized_ttl=ttls[1] * kept[1],
            version=settings["subjectAccessReviewVersion"],
            asked=metrics.asked(entry.name, fails_open=not self._denies),
        )

    async def close(self) -> None:
        await self._webhook.close()

    async def authorize(self, attributes: Attributes) -> Decision:
        problem = ""
        if self._conditions:
            with self._seconds.time():
                excluded, problem = self._excluded(review_of(attributes, whole=True)["spec"])
            if excluded:
                self._exclusions.inc()
                return Decision(False)
        decision = Decision(False, reason=problem, failed=True)
        if not problem:
            decision = await self._webhook.authorize(attributes)
        if decision.failed and self._denies:
            return Decision(False, denied=True, reason=decision.reason)
        return decision

    def _excluded(self, request: Object) -> tuple[bool, str]:
        """Whether a condition says no, and what is wrong with those that say nothing."""
        problems, excluded = [], False
        for program in self._conditions:
            try:
                if program.evaluate({"request": request}) is False:
                    excluded = True
                    break
            except EvaluationError as error:
                problems.append(f"cel evaluation error: expression '{program.source}' resulted in error: {error}")
        if problems:
            self._errors.inc()
        return excluded, problems[0] if len(problems) == 1 else f"[{', '.join(problems)}]" if problems else ""
