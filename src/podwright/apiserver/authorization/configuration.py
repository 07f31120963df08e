"""AuthorizationConfiguration: several authorizers, webhooks among them, with conditions (Kubernetes documentation,
"Configuring the API Server using an Authorization Config File")."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from podwright.api.cel import EvaluationError, Program, compile_expression
from podwright.api.objects import Object
from podwright.apiserver.authorization.webhook import WebhookAuthorizer, endpoint_of, review_of
from podwright.apiserver.requests import Attributes, Decision

_DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")
_VERSIONS = ("apiserver.config.k8s.io/v1", "apiserver.config.k8s.io/v1beta1", "apiserver.config.k8s.io/v1alpha1")
_DENY = "Deny"


@dataclass(frozen=True, slots=True)
class Entry:
    """An authorizer of the file, by its type; a webhook with its name and settings."""

    type: str
    name: str
    webhook: Object


def seconds(text: str) -> float:
    """Raises ValueError."""
    found = _DURATION.fullmatch(text)
    if not text or found is None:
        raise ValueError(f"{text!r} is no duration of whole hours, minutes and seconds")
    hours, minutes, rest = (int(part or 0) for part in found.groups())
    return float(hours * 3600 + minutes * 60 + rest)


def read(path: Path) -> list[Entry]:
    """Raises OSError; ValueError for what cannot be honoured."""
    config = yaml.safe_load(path.read_text()) or {}
    if config.get("kind") != "AuthorizationConfiguration" or config.get("apiVersion") not in _VERSIONS:
        raise ValueError(f"{path}: no AuthorizationConfiguration")
    entries = [
        Entry(str(e.get("type")), str(e.get("name") or ""), e.get("webhook") or {})
        for e in config.get("authorizers") or ()
    ]
    if not entries:
        raise ValueError(f"{path}: authorizers: Required value: at least one authorization mode must be defined")
    for i, entry in enumerate(entries):
        if not entry.name:
            raise ValueError(f"{path}: authorizers[{i}].name: Required value")
        if (entry.type, entry.name) in {(e.type, e.name) for e in entries[:i]}:
            raise ValueError(f"{path}: authorizers[{i}].name: Duplicate value: {entry.name!r}")
        if entry.type != "Webhook" and entry.type in {e.type for e in entries[:i]}:
            raise ValueError(f"{path}: authorizers[{i}].type: Duplicate value: {entry.type!r}")
    return entries


class ConditionalWebhook:
    """A webhook that is asked only where its matchConditions hold, and that may refuse what it cannot be asked."""

    def __init__(self, entry: Entry) -> None:
        """Raises ValueError, CompileError."""
        settings = entry.webhook
        connection = settings.get("connectionInfo") or {}
        if connection.get("type") != "KubeConfigFile":
            raise ValueError(f"webhook {entry.name!r}: only a connectionInfo of type KubeConfigFile is supported")
        policy = settings.get("failurePolicy")
        if policy not in (_DENY, "NoOpinion"):
            raise ValueError(f"webhook {entry.name!r}: failurePolicy must be Deny or NoOpinion")
        self._denies = policy == _DENY
        self._conditions: Sequence[Program] = [
            compile_expression(condition["expression"], ("request",))
            for condition in settings.get("matchConditions") or ()
        ]
        self._webhook = WebhookAuthorizer(
            endpoint_of(Path(connection["kubeConfigFile"])), timeout=seconds(settings.get("timeout") or ""),
            authorized_ttl=seconds(settings.get("authorizedTTL") or "5m"),
            unauthorized_ttl=seconds(settings.get("unauthorizedTTL") or "30s"),
        )

    async def close(self) -> None:
        await self._webhook.close()

    async def authorize(self, attributes: Attributes) -> Decision:
        request = review_of(attributes)["spec"] if self._conditions else {}
        problem = ""
        for program in self._conditions:
            try:
                if program.evaluate({"request": request}) is False:
                    return Decision(False)
            except EvaluationError as error:
                problem = f"matchCondition {program.source!r}: {error}"
        decision = Decision(False, reason=problem, failed=True)
        if not problem:
            decision = await self._webhook.authorize(attributes)
        if decision.failed and self._denies:
            return Decision(False, denied=True, reason=decision.reason)
        return decision
