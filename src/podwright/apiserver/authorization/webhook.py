"""The webhook authorizer: asks an outside service by SubjectAccessReview.

The service is named by a kubeconfig file (Kubernetes documentation, "Webhook Mode"). Answers are remembered: allowed
ones 5 minutes, others 30 seconds, as upstream's defaults.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import aiohttp
import orjson

from podwright.api.objects import Object
from podwright.api.selectors import fields, labels
from podwright.apiserver.authorization.metrics import Asked
from podwright.apiserver.kubeconfigs import Endpoint
from podwright.apiserver.requests import Attributes, Decision

AUTHORIZED_TTL = 300.0
UNAUTHORIZED_TTL = 30.0
TIMEOUT = 30.0
_REMEMBERED = 8192
_LARGEST = 10_000
"""Bytes of a question whose answer is remembered: who asks must not fill the memory."""


_LABEL_OPERATORS = {
    labels.IN: "In", labels.EQUALS: "In", labels.DOUBLE_EQUALS: "In", labels.NOT_IN: "NotIn",
    labels.NOT_EQUALS: "NotIn", labels.EXISTS: "Exists", labels.DOES_NOT_EXIST: "DoesNotExist",
}  # fmt: skip


def _selectors(a: Attributes) -> Iterator[tuple[str, list[Object]]]:
    """What a list, watch or deletecollection is narrowed to. What cannot be read, or has no requirement that the API
    has an operator for, does not narrow it."""
    try:
        terms = fields.parse(a.field_selector).terms
        yield "fieldSelector", [
            {"key": field, "operator": "In" if operator == fields.EQUALS else "NotIn", "values": [value]}
            for field, operator, value in terms
        ]
    except labels.InvalidSelector:
        pass
    try:
        yield "labelSelector", [
            {"key": term.key, "operator": _LABEL_OPERATORS[term.operator], "values": sorted(term.values)}
            for term in labels.parse(a.label_selector).requirements
            if term.operator in _LABEL_OPERATORS
        ]
    except labels.InvalidSelector:
        pass


def review_of(a: Attributes, *, whole: bool = False, version: str = "v1") -> Object:
    """The SubjectAccessReview that asks for a decision on `a`; `whole`: with what is empty too, for expressions."""
    spec: Object = {
        "user": a.user.name,
        "groups" if version == "v1" else "group": list(a.user.groups),
        "uid": a.user.uid,
        "extra": {k: list(v) for k, v in a.user.extra.items()},
    }
    if a.is_resource:
        wanted: Object = {
            "verb": a.verb, "group": a.group, "version": a.version, "resource": a.resource,
            "subresource": a.subresource, "namespace": a.namespace, "name": a.name,
        }
        spec["resourceAttributes"] = {k: v for k, v in wanted.items() if v or whole} | {
            name: {"requirements": requirements} for name, requirements in _selectors(a) if requirements
        }
    else:
        spec["nonResourceAttributes"] = {"verb": a.verb, "path": a.path}
    return {"apiVersion": f"authorization.k8s.io/{version}", "kind": "SubjectAccessReview", "spec": spec}


class WebhookAuthorizer:
    """No opinion when the service cannot be asked, so that later authorizers speak."""

    def __init__(
        self, endpoint: Endpoint, *, clock: Callable[[], float] = time.monotonic, timeout: float = TIMEOUT,
        authorized_ttl: float = AUTHORIZED_TTL, unauthorized_ttl: float = UNAUTHORIZED_TTL,
        version: str = "v1", asked: Asked = lambda result, seconds: None,
    ) -> None:
        """Times in seconds."""
        self._asked = asked
        self._timeout = timeout
        self._version = version
        self._ttl = {True: authorized_ttl, False: unauthorized_ttl}
        self._endpoint = endpoint
        self._clock = clock
        self._session: aiohttp.ClientSession | None = None
        self._answers: dict[bytes, tuple[float, Decision]] = {}

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def authorize(self, attributes: Attributes) -> Decision:
        review = review_of(attributes, version=self._version)
        key = orjson.dumps(review["spec"], option=orjson.OPT_SORT_KEYS)
        now = self._clock()
        known = self._answers.get(key)
        if known is not None and known[0] > now:
            return known[1]
        try:
            status = await self._ask(review)
        except (aiohttp.ClientError, TimeoutError, ValueError, KeyError) as error:
            self._asked("timeout" if isinstance(error, TimeoutError) else "error", self._clock() - now)
            return Decision(False, reason=f"webhook authorizer: {error}", failed=True)
        self._asked("success", self._clock() - now)
        allowed, denied = bool(status.get("allowed")), bool(status.get("denied"))
        decision = Decision(allowed and not denied, denied, str(status.get("reason") or ""))
        if len(key) < _LARGEST:
            if len(self._answers) >= _REMEMBERED:
                self._answers.clear()
            self._answers[key] = (now + self._ttl[allowed], decision)
        return decision

    async def _ask(self, review: Object) -> Object:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=self._timeout))
        headers = {"Content-Type": "application/json", **self._endpoint.headers}
        async with self._session.post(
            self._endpoint.url, data=orjson.dumps(review), headers=headers, ssl=self._endpoint.tls or True
        ) as response:
            response.raise_for_status()
            answer: Object = orjson.loads(await response.read())
        status: Object = answer["status"]
        return status
