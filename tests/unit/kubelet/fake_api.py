"""An API server in memory, as small as the kubelet's tests need it: a client Transport with watches, patches, graceful
deletion and TokenRequests."""

from __future__ import annotations

import asyncio
import copy
import time
import uuid
from collections.abc import AsyncIterator
from typing import Any

from podwright.api import objects, schema, status
from podwright.api.objects import Object
from podwright.api.patch import merge, strategic
from podwright.api.resources import Resource, served
from podwright.client.client import Client
from podwright.client.transport import STRATEGIC_MERGE_PATCH, Call, ServerUnreachable, WatchEvent


class FakeApi:
    """`down` makes it unreachable. `calls` are (method, path) of every call. `slow` delays writes by seconds."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str, str], Object] = {}
        self.calls: list[tuple[str, str]] = []
        self.down = False
        self.refuse: dict[tuple[str, str], status.ApiError] = {}
        self._revision = 0
        self._log: list[tuple[int, str, str, Object]] = []
        self._changed = asyncio.Condition()
        self._rows = {(r.group, r.version, r.plural): r for r in served()}
        self.client = Client(self)

    def _split(self, path: str) -> tuple[Resource, str, str, str]:
        parts = path.strip("/").split("/")
        group, version, rest = ("", parts[1], parts[2:]) if parts[0] == "api" else (parts[1], parts[2], parts[3:])
        namespace = ""
        if rest[0] == "namespaces" and len(rest) > 2:
            namespace, rest = rest[1], rest[2:]
        row = self._rows[group, version, rest[0]]
        return row, namespace, rest[1] if len(rest) > 1 else "", rest[2] if len(rest) > 2 else ""

    async def call(self, call: Call) -> Object:
        await asyncio.sleep(0)
        if self.down:
            raise ServerUnreachable("down")
        self.calls.append((call.method, call.path))
        if (call.method, call.path) in self.refuse:
            raise self.refuse[call.method, call.path]
        row, namespace, name, sub = self._split(call.path)
        if call.method == "GET":
            return self._get(row, namespace, name) if name else self._list(row, namespace, call.query)
        if call.method == "POST" and sub == "token":
            expires = objects.format_time(time.time() + call.body["spec"]["expirationSeconds"])
            return {**call.body, "status": {"token": f"token-{uuid.uuid4()}", "expirationTimestamp": expires}}
        if call.method == "POST":
            return await self._create(row, namespace, call.body)
        found = self._get(row, namespace, name)
        if call.method == "DELETE":
            return await self._delete(row, found, call.body or {})
        if call.method == "PUT":
            wanted = copy.deepcopy(call.body)
        elif call.content_type == STRATEGIC_MERGE_PATCH:
            wanted = strategic.apply(schema.for_resource(row), objects.deepcopy(found), call.body)
        else:
            wanted = merge.apply(objects.deepcopy(found), call.body)
        if objects.uid(wanted) != objects.uid(found):
            raise status.conflict(row.group, row.plural, name, "uid mismatch")
        return await self._put(row, wanted, "MODIFIED")

    def _get(self, row: Resource, namespace: str, name: str) -> Object:
        found = self.objects.get((row.qualified, namespace, name))
        if found is None:
            raise status.not_found(row.group, row.plural, name)
        return found

    def _list(self, row: Resource, namespace: str, query: Any) -> Object:
        items = [
            o for (kind, ns, _), o in self.objects.items()
            if kind == row.qualified and (not namespace or ns == namespace) and _selected(o, query)
        ]  # fmt: skip
        return {"kind": row.list_kind, "metadata": {"resourceVersion": str(self._revision)}, "items": items}

    async def _create(self, row: Resource, namespace: str, body: Object) -> Object:
        obj = copy.deepcopy(body)
        meta = obj["metadata"]
        if row.namespaced:
            meta.setdefault("namespace", namespace or "default")
        if (row.qualified, objects.namespace(obj), objects.name(obj)) in self.objects:
            raise status.already_exists(row.group, row.plural, objects.name(obj))
        meta.setdefault("uid", str(uuid.uuid4()))
        meta["creationTimestamp"] = objects.format_time(time.time())
        if row.plural == "pods":
            meta["generation"] = 1
            obj.setdefault("status", {"phase": "Pending"})
        return await self._put(row, obj, "ADDED")

    async def _delete(self, row: Resource, found: Object, options: Object) -> Object:
        wanted_uid = (options.get("preconditions") or {}).get("uid")
        if wanted_uid and wanted_uid != objects.uid(found):
            raise status.conflict(row.group, row.plural, objects.name(found), "uid mismatch")
        if row.plural == "pods" and not found["metadata"].get("annotations", {}).get("kubernetes.io/config.mirror"):
            grace = options.get("gracePeriodSeconds")
            if grace is None:
                grace = found["spec"].get("terminationGracePeriodSeconds", 30)
            if grace > 0:
                changed = copy.deepcopy(found)
                changed["metadata"]["deletionTimestamp"] = objects.format_time(time.time() + grace)
                changed["metadata"]["deletionGracePeriodSeconds"] = grace
                return await self._put(row, changed, "MODIFIED")
        del self.objects[row.qualified, objects.namespace(found), objects.name(found)]
        self._revision += 1
        gone = copy.deepcopy(found)
        gone["metadata"]["resourceVersion"] = str(self._revision)
        await self._tell("DELETED", row, gone)
        return gone

    async def _put(self, row: Resource, obj: Object, kind: str) -> Object:
        self._revision += 1
        obj["metadata"]["resourceVersion"] = str(self._revision)
        obj.setdefault("kind", row.kind)
        obj.setdefault("apiVersion", row.api_version)
        self.objects[row.qualified, objects.namespace(obj), objects.name(obj)] = obj
        await self._tell(kind, row, obj)
        return obj

    async def _tell(self, kind: str, row: Resource, obj: Object) -> None:
        async with self._changed:
            self._log.append((self._revision, kind, row.qualified, obj))
            self._changed.notify_all()

    async def watch(self, call: Call) -> AsyncIterator[WatchEvent]:
        row, namespace, _, _ = self._split(call.path)
        since = int(call.query.get("resourceVersion") or 0)
        position = 0
        while True:
            async with self._changed:
                while len(self._log) <= position and not self.down:
                    await self._changed.wait()
                entries, position = self._log[position:], len(self._log)
            if self.down:
                raise ServerUnreachable("down")
            for revision, kind, qualified, obj in entries:
                if revision > since and qualified == row.qualified and _selected(obj, call.query):
                    if not namespace or objects.namespace(obj) == namespace:
                        yield WatchEvent(kind, obj)

    async def aclose(self) -> None:
        """Nothing to close."""

    # What tests ask and do.

    async def set_down(self, down: bool) -> None:
        self.down = down
        async with self._changed:
            self._changed.notify_all()

    def find(self, row: Resource, name: str, namespace: str = "default") -> Object | None:
        return self.objects.get((row.qualified, namespace if row.namespaced else "", name))

    async def change(self, row: Resource, name: str, edit: Any, namespace: str = "default") -> Object:
        """Changes an object as a user would: `edit` gets a copy."""
        obj = copy.deepcopy(self._get(row, namespace if row.namespaced else "", name))
        edit(obj)
        obj["metadata"]["generation"] = obj["metadata"].get("generation", 1) + 1
        return await self._put(row, obj, "MODIFIED")

    def events(self, name: str) -> list[tuple[str, str]]:
        """(reason, message) of the events about the object, in order."""
        return [
            (o["reason"], o["message"]) for (kind, _, _), o in self.objects.items()
            if kind == "events" and o["involvedObject"].get("name") == name
        ]  # fmt: skip


def _selected(obj: Object, query: Any) -> bool:
    for part in filter(None, (query.get("fieldSelector") or "").split(",")):
        path, _, value = part.partition("=")
        found: Any = obj
        for step in path.split("."):
            found = (found or {}).get(step)
        if found != value:
            return False
    return True
