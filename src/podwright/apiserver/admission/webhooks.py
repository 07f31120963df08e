"""MutatingAdmissionWebhook and ValidatingAdmissionWebhook (Kubernetes documentation, "Dynamic Admission Control")."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import orjson

from podwright.api import conversion as builtin
from podwright.api import defaulting
from podwright.api.cel import CompileError, EvaluationError
from podwright.api.objects import Object, name
from podwright.api.patch import json_patch
from podwright.api.resources import (
    BUILTIN,
    MUTATINGWEBHOOKCONFIGURATIONS,
    VALIDATINGWEBHOOKCONFIGURATIONS,
    Resource,
    ResourceTable,
)
from podwright.api.selectors.labels import InvalidSelector
from podwright.api.status import ApiError, bad_request, internal
from podwright.apiserver.admission.chain import Plugin, Reinvocation
from podwright.apiserver.admission.expressions import Conditions, variables_of
from podwright.apiserver.admission.matching import Match, is_exempt
from podwright.apiserver.admission.refusals import forbidden
from podwright.apiserver.admission.webhook_client import CallFailed, Seen, WebhookClient, rejected
from podwright.apiserver.requests import AdmissionRequest, Authorizer, Objects

Convert = Callable[[Resource, Resource, Object], Awaitable[Object]]
"""From the version of a row into that of another."""


async def conversion(source: Resource, target: Resource, obj: Object) -> Object:
    """Of built-in kinds."""
    return builtin.convert(source, target, obj)


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

    def __init__(
        self, objects: Objects, authorizer: Authorizer, configurations: Resource, table: ResourceTable,
        convert: Convert,
    ) -> None:
        self._table = table
        self._convert = convert
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
            match = Match(self._objects, webhook, table=self._table)
            conditions = Conditions(webhook.get("matchConditions") or ())
        except (InvalidSelector, CompileError) as error:
            return _Hook(identity, webhook, None, None, str(error))
        return _Hook(identity, webhook, match, conditions or None)

    def _wants(
        self, hook: _Hook, request: AdmissionRequest, variables: list[dict[str, Any]]
    ) -> Resource | None:
        """In which version a webhook is to be called; None if it is not. Raises ApiError if its conditions
        fail and it must not be ignored."""
        if hook.match is None:
            if hook.ignores_failure:
                return None
            raise internal(f'failed calling webhook "{hook.identity[1]}": {hook.broken}')
        version = hook.match.version(request)
        if version is None or hook.conditions is None:
            return version
        if not variables:
            variables.append(variables_of(request, self._objects, self._authorizer))
        try:
            return version if hook.conditions.hold(variables[0]) else None
        except EvaluationError as error:
            if hook.ignores_failure:
                return None
            raise forbidden(request, str(error)) from None

    async def _seen(self, request: AdmissionRequest, version: Resource) -> Seen:
        """Raises ApiError (500)."""
        resource, obj, old = request.resource, request.object, request.old_object
        if version is resource or request.operation == "CONNECT":
            return Seen(version, obj, old)
        return Seen(
            version,
            await self._convert(resource, version, obj) if obj is not None else None,
            await self._convert(resource, version, old) if old is not None else None,
        )

    async def _call(self, hook: _Hook, request: AdmissionRequest, seen: Seen) -> Object | None:
        """The webhook's response; None if it failed and failures are ignored. Raises ApiError."""
        called = hook.identity[1]
        if request.dry_run and hook.webhook.get("sideEffects") not in ("None", "NoneOnDryRun"):
            raise bad_request(f'admission webhook "{called}" does not support dry run')
        try:
            response = await self._client.call(hook.webhook, request, seen)
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

    def __init__(
        self, objects: Objects, authorizer: Authorizer, table: ResourceTable = BUILTIN, convert: Convert = conversion
    ) -> None:
        super().__init__(objects, authorizer, MUTATINGWEBHOOKCONFIGURATIONS, table, convert)

    async def admit(self, request: AdmissionRequest) -> None:
        hooks = self._hooks if self._hooks is not None else self._compiled()
        if not hooks:
            return
        variables: list[dict[str, Any]] = []
        round_ = Reinvocation.of(request)
        for hook in hooks:
            version = self._wants(hook, request, variables)
            if version is None or round_.skips(hook.identity):
                continue
            seen = await self._seen(request, version)
            response = await self._call(hook, request, seen)
            patched = _patched(hook, request, seen, response) if response is not None else None
            changed = patched is not None
            if patched is not None:
                same = version is request.resource or request.operation == "CONNECT"
                request.object = patched if same else await self._convert(version, request.resource, patched)
            if changed:
                variables.clear()
            round_.ran(
                hook.identity, changed=changed, if_needed=hook.webhook.get("reinvocationPolicy") == "IfNeeded"
            )


def _patched(hook: _Hook, request: AdmissionRequest, seen: Seen, response: Object) -> Object | None:
    """The object after the response's JSON patch; None if it stays as it is."""
    encoded = response.get("patch")
    if not encoded:
        return None
    called = hook.identity[1]
    if response.get("patchType") != "JSONPatch":
        raise internal(
            f'failed calling webhook "{called}": received invalid webhook response: webhook response.patchType must be'
            f' "JSONPatch", got "{response.get("patchType") or ""}"'
        )
    if seen.object is None or request.operation == "DELETE":
        raise internal(
            f'admission webhook "{called}" attempted to modify the object, which is not supported for this operation'
        )
    try:
        operations = orjson.loads(base64.b64decode(encoded))
        patched = json_patch.apply(seen.object, operations)
    except (ApiError, ValueError, binascii.Error) as error:
        if hook.ignores_failure and not isinstance(error, ApiError):
            return None
        raise internal(str(error.__cause__ or error)) from None
    if not isinstance(patched, dict):
        raise internal(f'admission webhook "{called}" patched the object into something else')
    if request.operation != "CONNECT" and not seen.resource.custom:
        defaulting.apply(seen.resource, patched)
    return patched if patched != seen.object else None


class ValidatingAdmissionWebhook(_Webhooks):
    """All at once; the first no, in order, is the answer."""

    name = "ValidatingAdmissionWebhook"

    def __init__(
        self, objects: Objects, authorizer: Authorizer, table: ResourceTable = BUILTIN, convert: Convert = conversion
    ) -> None:
        super().__init__(objects, authorizer, VALIDATINGWEBHOOKCONFIGURATIONS, table, convert)

    async def validate(self, request: AdmissionRequest) -> None:
        hooks = self._hooks if self._hooks is not None else self._compiled()
        if not hooks:
            return
        variables: list[dict[str, Any]] = []
        wanted = [(hook, version) for hook in hooks if (version := self._wants(hook, request, variables)) is not None]
        if not wanted:
            return
        views = {version: await self._seen(request, version) for version in dict.fromkeys(v for _, v in wanted)}
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._answer(hook, request, views[version])) for hook, version in wanted]
        for task in tasks:
            if (error := task.result()) is not None:
                raise error

    async def _answer(self, hook: _Hook, request: AdmissionRequest, seen: Seen) -> ApiError | None:
        try:
            await self._call(hook, request, seen)
        except ApiError as error:
            return error
        return None
