"""Authorization: may this user do that.

The authorizers named by the configuration are asked in order until one allows or denies; nobody's word is a no.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from podwright.apiserver.authorization import configuration
from podwright.apiserver.authorization.configuration import ConditionalWebhook
from podwright.apiserver.authorization.node import NodeAuthorizer
from podwright.apiserver.authorization.rbac import RBAC
from podwright.apiserver.authorization.webhook import WebhookAuthorizer, endpoint_of
from podwright.apiserver.config import ApiServerConfig
from podwright.apiserver.requests import Attributes, Authorizer, Decision, Objects

MASTERS = "system:masters"
_MASTER = Decision(True)


class AlwaysAllow:
    async def authorize(self, attributes: Attributes) -> Decision:
        return Decision(True)


class AlwaysDeny:
    async def authorize(self, attributes: Attributes) -> Decision:
        return Decision(False, reason="Everything is forbidden.")


class Union:
    """Asks in order. ``rbac`` is the RBAC authorizer among them (one that stands apart if the mode is off), for
    escalation checks and rule reviews."""

    def __init__(self, authorizers: Sequence[Authorizer], rbac: RBAC) -> None:
        self.rbac = rbac
        self._authorizers = tuple(authorizers)
        self.cacheable = not any(isinstance(a, WebhookAuthorizer | ConditionalWebhook) for a in authorizers)
        """Whether an answer holds until an RBAC object changes (a webhook's has its own lifetime)."""
        self._synchronous = tuple(a.decide if isinstance(a, RBAC | NodeAuthorizer) else None for a in self._authorizers)

    async def authorize(self, attributes: Attributes) -> Decision:
        if MASTERS in attributes.user.groups:
            return _MASTER
        reasons: list[str] = []
        by_name = False
        for authorizer, decide in zip(self._authorizers, self._synchronous, strict=True):
            decision = decide(attributes) if decide is not None else await authorizer.authorize(attributes)
            by_name = by_name or decision.by_name
            if decision.allowed or decision.denied:
                return replace(decision, by_name=by_name) if by_name else decision
            if decision.reason:
                reasons.append(decision.reason)
        return Decision(False, reason="\n".join(reasons), by_name=by_name)


def build(config: ApiServerConfig, objects: Objects) -> Union:
    """The authorizers of ``config.authorization_config``, or ``authorization_modes``, in that order."""
    rbac = RBAC(objects)
    authorizers: list[Authorizer] = []
    modes: list[tuple[str, configuration.Entry | None]] = [(mode, None) for mode in config.authorization_modes]
    if config.authorization_config is not None:
        modes = [(entry.type, entry) for entry in configuration.read(config.authorization_config)]
    for mode, entry in modes:
        if mode == "RBAC":
            authorizers.append(rbac)
        elif mode == "Node":
            authorizers.append(NodeAuthorizer(objects))
        elif mode == "Webhook" and entry is not None:
            authorizers.append(ConditionalWebhook(entry))
        elif mode == "Webhook":
            if config.authorization_webhook is None:
                raise ValueError("authorization mode Webhook needs authorization_webhook")
            authorizers.append(WebhookAuthorizer(endpoint_of(config.authorization_webhook)))
        elif mode == "AlwaysAllow":
            authorizers.append(AlwaysAllow())
        elif mode == "AlwaysDeny":
            authorizers.append(AlwaysDeny())
        else:
            raise ValueError(f"unknown authorization mode {mode!r}")
    return Union(authorizers, rbac)


def forbidden_reason(a: Attributes, decision: Decision) -> str:
    """Why a request is refused, in upstream's words: what goes behind "is forbidden: " in the Status' message."""
    user = f'User "{a.user.name}"'
    if not a.is_resource:
        text = f'{user} cannot {a.verb} path "{a.path}"'
    else:
        resource = f"{a.resource}/{a.subresource}" if a.subresource else a.resource
        text = f'{user} cannot {a.verb} resource "{resource}" in API group "{a.group}"'
        text += f' in the namespace "{a.namespace}"' if a.namespace else " at the cluster scope"
    return f"{text}: {decision.reason}" if decision.reason else text
