"""Authorization: may this user do that.

The authorizers named by the configuration are asked in order until one allows or denies; nobody's word is a no.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from prometheus_client import CollectorRegistry

from podwright.apiserver.authorization import configuration
from podwright.apiserver.authorization.configuration import ConditionalWebhook, Entry
from podwright.apiserver.authorization.metrics import AuthorizationMetrics, Counted
from podwright.apiserver.authorization.node import NodeAuthorizer
from podwright.apiserver.authorization.rbac import RBAC
from podwright.apiserver.authorization.webhook import WebhookAuthorizer
from podwright.apiserver.config import ApiServerConfig
from podwright.apiserver.kubeconfigs import endpoint_of
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
        self.use([(authorizer, None) for authorizer in authorizers])

    def use(self, authorizers: Sequence[tuple[Authorizer, Counted | None]]) -> None:
        """Asks these from now on, and counts what each allows and denies."""
        self.cacheable = not any(isinstance(a, WebhookAuthorizer | ConditionalWebhook) for a, _ in authorizers)
        """Whether an answer holds until an RBAC object changes (a webhook's has its own lifetime)."""
        self._asked = tuple(
            (a, a.decide if isinstance(a, RBAC | NodeAuthorizer) else None, counted) for a, counted in authorizers
        )

    async def authorize(self, attributes: Attributes) -> Decision:
        if MASTERS in attributes.user.groups:
            return _MASTER
        reasons: list[str] = []
        by_name = False
        for authorizer, decide, counted in self._asked:
            decision = decide(attributes) if decide is not None else await authorizer.authorize(attributes)
            by_name = by_name or decision.by_name
            if decision.allowed or decision.denied:
                if counted is not None:
                    counted[decision.denied].inc()
                return replace(decision, by_name=by_name) if by_name else decision
            if decision.reason:
                reasons.append(decision.reason)
        return Decision(False, reason="\n".join(reasons), by_name=by_name)


class Configured:
    """``union`` asks the authorizers of ``config.authorization_config``, or ``authorization_modes``, in that order."""

    def __init__(self, config: ApiServerConfig, objects: Objects, registry: CollectorRegistry) -> None:
        """Raises OSError; ValueError for what is refused."""
        self._config = config
        self._metrics = AuthorizationMetrics(registry)
        self._kept: dict[str, Authorizer] = {"AlwaysAllow": AlwaysAllow(), "AlwaysDeny": AlwaysDeny()}
        rbac, entries = RBAC(objects), self._entries()
        modes = {entry.type for entry in entries}
        if "RBAC" in modes:
            self._kept["RBAC"] = rbac
        if "Node" in modes:
            self._kept["Node"] = NodeAuthorizer(objects)
        self._retired: list[Authorizer] = []
        self._current = self._made(entries)
        self.union = Union((), rbac)
        self.union.use(self._current)

    def _entries(self) -> list[Entry]:
        if self._config.authorization_config is not None:
            return configuration.read(self._config.authorization_config)
        return [Entry(mode, mode.lower(), {}) for mode in self._config.authorization_modes]

    def _made(self, entries: Sequence[Entry]) -> list[tuple[Authorizer, Counted | None]]:
        return [(self._authorizer(entry), self._metrics.counted(entry.type, entry.name)) for entry in entries]

    def _authorizer(self, entry: Entry) -> Authorizer:
        if entry.type == "Webhook" and entry.webhook:
            return ConditionalWebhook(entry, self._metrics)
        if entry.type == "Webhook":
            if self._config.authorization_webhook is None:
                raise ValueError("authorization mode Webhook needs authorization_webhook")
            return WebhookAuthorizer(
                endpoint_of(self._config.authorization_webhook), asked=self._metrics.asked(entry.name, fails_open=True)
            )
        if (kept := self._kept.get(entry.type)) is not None:
            return kept
        if entry.type in ("Node", "RBAC"):
            said = "is not allowed if it was not enabled at initial server startup"
            raise ValueError(f"authorizer type {entry.type} {said}")
        raise ValueError(f"unknown authorization mode {entry.type!r}")

    async def reload(self) -> None:
        """Asks whom the file names now. The connections of webhooks that were asked before stay until the next time:
        they may be in use. Raises OSError, ValueError."""
        fresh = self._made(self._entries())
        await _close(self._retired)
        self._retired = [authorizer for authorizer, _ in self._current]
        self._current = fresh
        self.union.use(fresh)

    async def close(self) -> None:
        await _close([*self._retired, *(authorizer for authorizer, _ in self._current)])


async def _close(authorizers: Sequence[Authorizer]) -> None:
    for authorizer in authorizers:
        if isinstance(authorizer, WebhookAuthorizer | ConditionalWebhook):
            await authorizer.close()


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
