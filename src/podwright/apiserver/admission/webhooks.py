"""MutatingAdmissionWebhook and ValidatingAdmissionWebhook (Kubernetes documentation, "Dynamic Admission Control")."""

from __future__ import annotations

import asyncio
import base64
import binascii
from dataclasses import dataclass
from typing import Any

import orjson

from podwright.api import defaulting
from podwright.api.cel import CompileError, EvaluationError
from podwright.api.objects import Object, name
from podwright.api.patch import json_patch
from podwright.api.resources import MUTATINGWEBHOOKCONFIGURATIONS, VALIDATINGWEBHOOKCONFIGURATIONS, Resource
from podwright.api.selectors.labels import InvalidSelector
from podwright.api.status import ApiError, bad_request, internal
from podwright.apiserver.admission.chain import Plugin, Reinvocation
from podwright.apiserver.admission.expressions import Conditions, variables_of
from podwright.apiserver.admission.matching import Match, is_exempt
from podwright.apiserver.admission.refusals import forbidden
from podwright.apiserver.admission.webhook_client import CallFailed, WebhookClient, rejected
from podwright.apiserver.requests import AdmissionRequest, Authorizer, Objects


@dataclass(frozen=True, slots=True)
class _Hook:
    """One compiled webhook. `broken` says why it cannot be used, "" if it can."""

    identity: tuple[str, str]
    webhook: Object
    match: Match | None
    conditions: Conditions | None
    broken: str = ""

    @property
    def ignores_failure(self) -> bool:
        return self.webhook.get("failurePolicy") == "Ignore"


class _Webhooks(Plugin):
    """Keeps the compiled webhooks of one kind of configuration, in order of the configurations' names."""

    def __init__(self, objects: Objects, authorizer: Authorizer, configurations: Resource) -> None:
        self._objects = objects
        self._authorizer = authorizer
        self._configurations = configurations
        self._client = WebhookClient(objects)
        self._hooks: tuple[_Hook, ...] | None = ()
        objects.subscribe(configurations, self._changed)

    async def close(self) -> None:
        await self._client.close()

    def handles(self, request: AdmissionRequest) -> bool:
        return not is_exempt(request)

    def _changed(self, old: Object | None, new: Object | None) -> None:
        self._hooks = None

    def _compiled(self) -> tuple[_Hook, ...]:
        if self._hooks is None:
            found = sorted(self._objects.list(self._configurations), key=name)
            self._hooks = tuple(
                self._compile(name(configuration), webhook)
                for configuration in found
                for webhook in configuration.get("webhooks") or ()
            )
        return self._hooks

    def _compile(self, configuration: str, webhook: Object) -> _Hook:
        identity = (configuration, str(webhook.get("name") or ""))
        try:
            match = Match(self._objects, webhook)
            conditions = Conditions(webhook.get("matchConditions") or ())
        except (InvalidSelector, CompileError) as error:
            return _Hook(identity, webhook, None, None, str(error))
        return _Hook(identity, webhook, match, conditions or None)

    def _wants(self, hook: _Hook, request: AdmissionRequest, variables: list[dict[str, Any]]) -> bool:
        """Whether a webhook is to be called. Raises ApiError if its conditions fail and it must not be ignored."""
        if hook.match is None:
            if hook.ignores_failure:
                return False
            raise internal(f'failed calling webhook "{hook.identity[1]}": {hook.broken}')
        if not hook.match(request):
            return False
        if hook.conditions is None:
            return True
        if not variables:
            variables.append(variables_of(request, self._objects, self._authorizer))
        try:
            return hook.conditions.hold(variables[0])
        except EvaluationError as error:
            if hook.ignores_failure:
                return False
            raise forbidden(request, str(error)) from None

    async def _call(self, hook: _Hook, request: AdmissionRequest) -> Object | None:
        """The webhook's response; None if it failed and failures are ignored. Raises ApiError."""
        called = hook.identity[1]
        if request.dry_run and hook.webhook.get("sideEffects") not in ("None", "NoneOnDryRun"):
            raise bad_request(f'admission webhook "{called}" does not support dry run')
        try:
            response = await self._client.call(hook.webhook, request)
        except CallFailed as error:
            if hook.ignores_failure:
                return None
            raise internal(f'failed calling webhook "{called}": {error}') from None
        if not response.get("allowed"):
            raise rejected(called, response.get("status"))
        return response


class MutatingAdmissionWebhook(_Webhooks):
    """One after the other; each sees what those before it made of the object."""

    name = "MutatingAdmissionWebhook"

    def __init__(self, objects: Objects, authorizer: Authorizer) -> None:
        super().__init__(objects, authorizer, MUTATINGWEBHOOKCONFIGURATIONS)

    async def admit(self, request: AdmissionRequest) -> None:
        hooks = self._hooks if self._hooks is not None else self._compiled()
        if not hooks:
            return
        variables: list[dict[str, Any]] = []
        round_ = Reinvocation.of(request)
        for hook in hooks:
            if not self._wants(hook, request, variables) or round_.skips(hook.identity):
                continue
            response = await self._call(hook, request)
            changed = response is not None and _patch(hook, request, response)
            if changed:
                variables.clear()
            round_.ran(
                hook.identity, changed=changed, if_needed=hook.webhook.get("reinvocationPolicy") == "IfNeeded"
            )


def _patch(hook: _Hook, request: AdmissionRequest, response: Object) -> bool:
    """Applies the response's JSON patch; says whether the object is another now."""
    encoded = response.get("patch")
    if not encoded:
        return False
    called = hook.identity[1]
    if response.get("patchType") != "JSONPatch":
        raise internal(
            f'failed calling webhook "{called}": received invalid webhook response: webhook response.patchType must be'
            f' "JSONPatch", got "{response.get("patchType") or ""}"'
        )
    if request.object is None or request.operation == "DELETE":
        raise internal(
            f'admission webhook "{called}" attempted to modify the object, which is not supported for this operation'
        )
    try:
        operations = orjson.loads(base64.b64decode(encoded))
        patched = json_patch.apply(request.object, operations)
    except (ApiError, ValueError, binascii.Error) as error:
        if hook.ignores_failure and not isinstance(error, ApiError):
            return False
        raise internal(str(error)) from None
    if request.operation != "CONNECT":
        defaulting.apply(request.resource, patched)
    if patched == request.object:
        return False
    request.object = patched
    return True


class ValidatingAdmissionWebhook(_Webhooks):
    """All at once; the first no, in order, is the answer."""

    name = "ValidatingAdmissionWebhook"

    def __init__(self, objects: Objects, authorizer: Authorizer) -> None:
        super().__init__(objects, authorizer, VALIDATINGWEBHOOKCONFIGURATIONS)

    async def validate(self, request: AdmissionRequest) -> None:
        hooks = self._hooks if self._hooks is not None else self._compiled()
        if not hooks:
            return
        variables: list[dict[str, Any]] = []
        wanted = [hook for hook in hooks if self._wants(hook, request, variables)]
        if not wanted:
            return
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._answer(hook, request)) for hook in wanted]
        for task in tasks:
            if (error := task.result()) is not None:
                raise error

    async def _answer(self, hook: _Hook, request: AdmissionRequest) -> ApiError | None:
        try:
            await self._call(hook, request)
        except ApiError as error:
            return error
        return None
