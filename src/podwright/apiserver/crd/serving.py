"""Keeps the resource table in step with the definitions, and clears up behind those that go."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from podwright.api import objects, schema
from podwright.api.objects import Object
from podwright.api.resources import CUSTOMRESOURCEDEFINITIONS, Resource
from podwright.api.status import ApiError
from podwright.apiserver.admission.webhook_client import WebhookClient
from podwright.apiserver.cache.entries import Event
from podwright.apiserver.crd import definitions, establishing
from podwright.apiserver.crd.conversion import WebhookConverter
from podwright.apiserver.crd.forms import VersionForm
from podwright.apiserver.crd.rules import Expressions, VersionRules
from podwright.apiserver.openapi.custom import SELECTABLE
from podwright.apiserver.printers import Printers
from podwright.apiserver.registry.registry import Conflict, Missing, Registry, ScalePaths

_log = logging.getLogger(__name__)

CompileExpressions = Callable[[Object], Expressions | None]
"""From an openAPIV3Schema to its x-kubernetes-validations; None if it has none."""


class CustomResources:
    """Follows the cache of definitions: an established one is served as soon as the cache has it."""

    def __init__(
        self, registry: Registry, printers: Printers, *, changed: Callable[[str, str], None], webhooks: WebhookClient,
        expressions: CompileExpressions | None = None,
    ) -> None:
        """`changed` is told the group and version whose rows changed; `webhooks` calls conversion webhooks."""
        self._registry = registry
        self._printers = printers
        self._changed = changed
        self._expressions = expressions
        self._rows: dict[str, list[Resource]] = {}
        self._webhooks = webhooks
        self._installed: dict[str, tuple[Any, ...]] = {}
        self._raw: dict[tuple[str, str, str], Object] = {}
        self._work: asyncio.Queue[str] = asyncio.Queue()
        self._followed: set[str] = set()

    def follow(self) -> None:
        """Serves what is there, and from now on what comes."""
        cache = self._registry.cache(CUSTOMRESOURCEDEFINITIONS)
        for entry in cache.objects.values():
            self._install(entry.object)
        cache.listeners.append(self._event)

    def openapi(self, row: Resource) -> tuple[str, Object]:
        """Name and schema of a row, for the OpenAPI documents."""
        key = (row.group, row.version, row.plural)
        fields = [{"fieldPath": label} for label in self._registry.selectable.get(key) or ()]
        raw = self._raw[key]
        return definitions.definition_name(row), {**raw, SELECTABLE: fields} if fields else raw

    def _event(self, event: Event) -> None:
        crd = event.current.object
        if event.type == "DELETED":
            self._remove(objects.name(crd))
            self._end_watches(crd)
            self._work.put_nowait("")
        else:
            self._install(crd)

    def _end_watches(self, crd: Object) -> None:
        """Watches of a definition that changed or went are begun anew by their clients, as upstream has it."""
        cache = self._registry.feed.cache(definitions.storage_path(crd["spec"]))
        for subscriber in cache.subscribers():
            subscriber.close()

    def _install(self, crd: Object) -> None:
        self._serve(crd)
        if crd["metadata"].get("deletionTimestamp"):
            name = objects.name(crd)
            for row in self._rows.get(name, ()):
                self._registry.strategies[row.group, row.plural] = establishing.EndingStrategy(row.group, row.plural)
            self._work.put_nowait(name)

    def _serve(self, crd: Object) -> None:
        name = objects.name(crd)
        established = objects.condition_is_true(crd, "Established")
        state = (established, crd["spec"], (crd.get("status") or {}).get("acceptedNames"))
        before = self._installed.get(name)
        if before == state:
            return
        self._remove(name)
        self._installed[name] = state
        if before is not None and before[0]:
            self._end_watches(crd)
        if not established:
            return
        conversion = crd["spec"].get("conversion") or {}
        converter = WebhookConverter(self._webhooks, conversion) if conversion.get("strategy") == "Webhook" else None
        since = int(crd["metadata"].get("resourceVersion") or 0)
        made: list[Resource] = []
        for row, version in definitions.rows(crd):
            table = self._registry.table
            there = table.by_path(row.group, row.version, row.plural) or table.by_kind(row.api_version, row.kind)
            if there is not None and not there.custom:
                continue  # what is built in stays so
            try:
                self._add(row, version, since, converter)
            except (ValueError, KeyError, TypeError, AttributeError):
                _log.exception("version %s of %s is not served", version.get("name"), name)
                continue
            made.append(row)
        self._rows[name] = made

    def _add(self, row: Resource, version: Object, since: int, converter: WebhookConverter | None) -> None:
        registry = self._registry
        key = (row.group, row.version, row.plural)
        raw = definitions.raw_schema(version)
        registry.schemas[key] = schema.from_structural(raw)
        expressions = self._expressions(raw) if self._expressions is not None else None
        rules = registry.rules.custom[key] = VersionRules(row, raw, expressions)
        form = registry.forms[key] = VersionForm(
            row, registry.schemas[key], rules, since, converter, definitions.deprecation(row, version)
        )
        if version.get("storage"):
            registry.stored_forms[row.group, row.plural] = form
        registry.selectable[key] = {
            field["jsonPath"].lstrip("."): field["jsonPath"] for field in version.get("selectableFields") or []
        }
        scale = (version.get("subresources") or {}).get("scale")
        if scale:
            registry.scale_paths[key] = ScalePaths(
                scale.get("specReplicasPath") or ".spec.replicas",
                scale.get("statusReplicasPath") or ".status.replicas",
                scale.get("labelSelectorPath") or "",
            )
        self._printers.custom[key] = version.get("additionalPrinterColumns") or []
        self._raw[key] = raw
        if version.get("served"):
            registry.table.add(row)
            self._changed(row.group, row.version)

    def _remove(self, name: str) -> None:
        registry = self._registry
        self._installed.pop(name, None)
        for row in self._rows.pop(name, []):
            registry.stored_forms.pop((row.group, row.plural), None)
            registry.strategies.pop((row.group, row.plural), None)
            key = (row.group, row.version, row.plural)
            registry.table.remove(row)
            registry.forget(row)
            parts: tuple[dict[tuple[str, str, str], Any], ...] = (
                registry.rules.custom, registry.forms, registry.selectable, registry.scale_paths,
                self._printers.custom, self._raw,
            )
            for part in parts:
                part.pop(key, None)
            self._changed(row.group, row.version)

    async def run(self) -> None:
        """Deletes the objects of definitions that go, and looks again at names when one has gone. Until cancelled."""
        while True:
            name = await self._work.get()
            try:
                if name:
                    await self._clear(name)
                else:
                    await self._accept_names()
            except (ApiError, Conflict, Missing) as exc:
                _log.info("definition %s: %s", name, exc)
            except Exception:
                # One definition that cannot be followed must not end the server for all others.
                _log.exception("definition %s", name)

    async def _clear(self, name: str) -> None:
        registry = self._registry
        entry = registry.cache(CUSTOMRESOURCEDEFINITIONS).get(name)
        if entry is None or not entry.object["metadata"].get("deletionTimestamp"):
            return
        crd = entry.object
        finalizers = crd["metadata"].get("finalizers") or []
        if definitions.FINALIZER not in finalizers:
            return
        row, _ = next(definitions.rows(crd))
        cache = registry.feed.cache(row.storage_path)
        overlaps = any(not other.custom and other.storage_path == row.storage_path for other in registry.table)
        if name not in self._followed and not overlaps:
            self._followed.add(name)

            def gone(event: Event) -> None:
                if event.type == "DELETED" and not cache.objects:
                    self._work.put_nowait(name)

            cache.listeners.append(gone)
        for item in () if overlaps else list(cache.objects.values()):
            try:
                if item.object["metadata"].get("finalizers"):
                    if not item.object["metadata"].get("deletionTimestamp"):
                        marked = objects.deepcopy(item.object)
                        marked["metadata"]["deletionTimestamp"] = objects.format_time(registry.now())
                        marked["metadata"]["deletionGracePeriodSeconds"] = 0
                        await registry.commit_update(row, item, marked)
                else:
                    await registry.commit_delete(row, item)
            except (Conflict, Missing):
                self._work.put_nowait(name)
        if cache.objects and not overlaps:
            return
        entry = registry.cache(CUSTOMRESOURCEDEFINITIONS).get(name)
        if entry is None:
            return
        rest = [f for f in entry.object["metadata"].get("finalizers") or [] if f != definitions.FINALIZER]
        try:
            if rest:
                changed = objects.deepcopy(entry.object)
                changed["metadata"]["finalizers"] = rest
                await registry.commit_update(CUSTOMRESOURCEDEFINITIONS, entry, changed)
            else:
                await registry.commit_delete(CUSTOMRESOURCEDEFINITIONS, entry)
        except Conflict:
            self._work.put_nowait(name)

    async def _accept_names(self) -> None:
        registry = self._registry
        for entry in list(registry.cache(CUSTOMRESOURCEDEFINITIONS).objects.values()):
            crd = entry.object
            if objects.condition_is_true(crd, "NamesAccepted") or crd["metadata"].get("deletionTimestamp"):
                continue
            changed = objects.deepcopy(crd)
            changed["status"] = establishing.accepted_status(registry, changed, crd.get("status") or {})
            if changed["status"] == crd.get("status"):
                continue
            try:
                await registry.commit_update(CUSTOMRESOURCEDEFINITIONS, entry, changed)
            except (Conflict, Missing):
                self._work.put_nowait("")
