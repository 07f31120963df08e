"""MutatingAdmissionWebhook and ValidatingAdmissionWebhook (Kubernetes documentation, "Dynamic Admission Control")."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import orjson

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
from podwright.apiserver.admission.versions import Convert, conversion, in_version
from podwright.apiserver.admission.webhook_client import CallFailed, WebhookClient, rejected
from podwright.apiserver.admission.webhook_users import WebhookUsers
from podwright.apiserver.requests import PATCHES, AdmissionRequest, Authorizer, Objects


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

    _mutating = False
    _audited = "validating.webhook.admission.k8s.io/"
    """What annotations of audit events begin with."""

    def __init__(
        self, objects: Objects, authorizer: Authorizer, configurations: Resource, table: ResourceTable,
        convert: Convert, users: WebhookUsers | None,
    ) -> None:
        self._table = table
        self._convert = convert
        self._objects = objects
        self._authorizer = authorizer
        self._configurations = configurations
        self._client = WebhookClient(objects, users)
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

    async def _wanted(
        self, hook: _Hook, request: AdmissionRequest, views: dict[Resource, AdmissionRequest]
    ) -> AdmissionRequest | None:
        """The request in the version in which a webhook is to be called; None if it is not. Raises ApiError: its
        conditions fail and it must not be ignored, or (500) the request cannot be converted."""
        if hook.match is None:
            if hook.ignores_failure:
                return None
            raise internal(f'failed calling webhook "{hook.identity[1]}": {hook.broken}')
        version = hook.match.version(request)
        if version is None:
            return None
        if version not in views:
            views[version] = await in_version(request, version, self._convert)
        seen = views[version]
        if hook.conditions is None:
            return seen
        try:
            return seen if hook.conditions.hold(variables_of(seen, self._objects, self._authorizer)) else None
        except EvaluationError as error:
            if hook.ignores_failure:
                return None
            raise forbidden(request, str(error)) from None

    async def _call(self, hook: _Hook, request: AdmissionRequest, place: str) -> Object | None:
        """The webhook's response; None if it failed and failures are ignored. `place` says in audit events which call
        this is. Raises ApiError."""
        called = hook.identity[1]
        if request.dry_run and hook.webhook.get("sideEffects") not in ("None", "NoneOnDryRun"):
            raise bad_request(f'admission webhook "{called}" does not support dry run')
        try:
            response = await self._client.call(hook.webhook, request, mutating=self._mutating)
        except CallFailed as error:
            if hook.ignores_failure:
                request.audit[f"failed-open.{self._audited}{place}"] = called
                return None
            raise internal(f'failed calling webhook "{called}": {error}') from None
        if not response.get("allowed"):
            raise rejected(called, response.get("status"))
        return response


class MutatingAdmissionWebhook(_Webhooks):
    """One after the other; each sees what those before it made of the object."""

    name = "MutatingAdmissionWebhook"
    _mutating = True
    _audited = "mutation.webhook.admission.k8s.io/"

    def __init__(
        self, objects: Objects, authorizer: Authorizer, table: ResourceTable = BUILTIN, convert: Convert = conversion,
        users: WebhookUsers | None = None,
    ) -> None:
        super().__init__(objects, authorizer, MUTATINGWEBHOOKCONFIGURATIONS, table, convert, users)

    async def admit(self, request: AdmissionRequest) -> None:
        hooks = self._hooks if self._hooks is not None else self._compiled()
        if not hooks:
            return
        views: dict[Resource, AdmissionRequest] = {}
        round_ = Reinvocation.of(request)
        round_.begins(self.name, request.object)
        for index, hook in enumerate(hooks):
            step = (self.name, *hook.identity)
            if round_.skips(step) or (seen := await self._wanted(hook, request, views)) is None:
                continue
            place = f"round_{int(round_.again)}_index_{index}"
            response = await self._call(hook, seen, place)
            patched = _patched(hook, seen, response) if response is not None else None
            changed = patched is not None
            self._note(request, hook, place, changed, (response or {}).get("patch"))
            if patched is not None:
                same = seen.resource is request.resource or request.operation == "CONNECT"
                request.object = patched if same else await self._convert(seen.resource, request.resource, patched)
                views.clear()
            round_.ran(step, changed=changed, if_needed=hook.webhook.get("reinvocationPolicy") == "IfNeeded")
        round_.ends(self.name, request.object)


    def _note(self, request: AdmissionRequest, hook: _Hook, place: str, changed: bool, patch: Any) -> None:
        who = {"configuration": hook.identity[0], "webhook": hook.identity[1]}
        request.audit[self._audited + place] = orjson.dumps({**who, "mutated": changed}).decode()
        if patch:
            what = {**who, "patch": patch, "patchType": "JSONPatch"}
            request.audit[PATCHES + place] = orjson.dumps(what).decode()


def _patched(hook: _Hook, request: AdmissionRequest, response: Object) -> Object | None:
    """The object after the response's JSON patch; None if it stays as it is."""
    operations = response.get("patch")
    if not operations:
        return None
    called = hook.identity[1]
    if request.object is None or request.operation == "DELETE":
        raise internal(
            f'admission webhook "{called}" attempted to modify the object, which is not supported for this operation'
        )
    try:
        patched = json_patch.apply(request.object, operations)
    except ApiError as error:
        raise internal(str(error.__cause__ or error)) from None
    if not isinstance(patched, dict):
        raise internal(f'admission webhook "{called}" patched the object into something else')
    if patched.get("kind") == request.resource.kind:
        defaulting.apply(request.resource, patched)
    return patched if patched != request.object else None


class ValidatingAdmissionWebhook(_Webhooks):
    """All at once; the first no, in order, is the answer."""

    name = "ValidatingAdmissionWebhook"

    def __init__(
        self, objects: Objects, authorizer: Authorizer, table: ResourceTable = BUILTIN, convert: Convert = conversion,
        users: WebhookUsers | None = None,
    ) -> None:
        super().__init__(objects, authorizer, VALIDATINGWEBHOOKCONFIGURATIONS, table, convert, users)

    async def validate(self, request: AdmissionRequest) -> None:
        hooks = self._hooks if self._hooks is not None else self._compiled()
        if not hooks:
            return
        views: dict[Resource, AdmissionRequest] = {}
        wanted = [(hook, seen) for hook in hooks if (seen := await self._wanted(hook, request, views)) is not None]
        if not wanted:
            return
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(self._answer(hook, seen, f"round_0_index_{i}"))
                for i, (hook, seen) in enumerate(wanted)
            ]
        for task in tasks:
            if (error := task.result()) is not None:
                raise error

    async def _answer(self, hook: _Hook, request: AdmissionRequest, place: str) -> ApiError | None:
        try:
            await self._call(hook, request, place)
        except ApiError as error:
            return error
        return None
