"""Answers into bytes: objects out of the cache as they lie there, everything else by the negotiated form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from podwright.api import serialization, status
from podwright.api.objects import Object
from podwright.api.resources import Resource
from podwright.apiserver import codecs
from podwright.apiserver.cache.entries import Cached, Event
from podwright.apiserver.exchange import Bytes, Many, One
from podwright.apiserver.negotiation import JSON, PARTIAL, PARTIAL_LIST, TABLE, YAML, Form
from podwright.apiserver.printers import Printers
from podwright.apiserver.registry.registry import Form as VersionForm
from podwright.apiserver.registry.registry import Registry

_INCLUDE = ("None", "Metadata", "Object")


def dumps(value: Any, form: Form) -> bytes:
    """JSON, indented by two for people if the form says so (upstream's pretty)."""
    if form.pretty:
        return orjson.dumps(value, option=orjson.OPT_INDENT_2) + b"\n"
    return orjson.dumps(value)


_SCALE = Resource("autoscaling", "v1", "scales", "Scale")
"""What subresources of many kinds answer with has columns of its own."""


class Encoder:
    """Encodes replies. `printers` makes tables."""

    def __init__(self, registry: Registry, printers: Printers) -> None:
        self._registry = registry
        self._printers = printers

    def one(self, reply: One, form: Form, include: str = "") -> Bytes:
        row, cached = reply.row, reply.cached
        if cached is not None and form.plain and row is not None and self._lies_ready(row, cached):
            return Bytes(cached.data, JSON, reply.status)
        obj = self.object_of(reply)
        shown = _SCALE if row is None and obj.get("kind") == "Scale" else row
        if form.shape == TABLE and row is not None and row.verbs == ("create",):
            raise status.not_acceptable([JSON])  # a review has no rows
        if form.shape and shown is not None and obj.get("kind") != "Status":
            obj = self._shaped(shown, [obj], form, include, None)
        return self._finish(obj, form, reply.status, row)

    def object_of(self, reply: One) -> Object:
        """The object in the version that was asked for."""
        if reply.cached is None:
            assert reply.object is not None
            obj = reply.object
            if reply.row is not None:
                _, stored = self._registry.storage(reply.row)
                if obj.get("apiVersion") == stored.api_version:
                    obj = self._registry.convert(stored, reply.row, obj)
            return obj
        assert reply.row is not None
        return self.served(reply.row, reply.cached)

    def served(self, row: Resource, cached: Cached) -> Object:
        if row.custom:
            return self._registry.form(row).of(cached)
        _, stored = self._registry.storage(row)
        return self._registry.convert(stored, row, cached.object)

    def conversion(self, row: Resource) -> VersionForm | None:
        """What prepares entries of `row` for :meth:`frame`, if they need it: its objects are converted by a webhook."""
        form = self._registry.form(row) if row.custom else None
        return form if form is not None and form.converts else None

    def _lies_ready(self, row: Resource, cached: Cached) -> bool:
        """Whether the cached bytes are the answer: stored in the version that was asked for."""
        if row.custom:
            return self._registry.form(row).lies_ready(cached)
        return self._is_stored(row)

    def _is_stored(self, row: Resource) -> bool:
        _, stored = self._registry.storage(row)
        return stored is row or (stored.version == row.version and stored.group == row.group)

    def many(self, reply: Many, form: Form, include: str = "") -> Bytes:
        row = reply.row
        meta = page_meta(reply)
        if form.plain and (
            self._is_stored(row) if not row.custom else all(self._lies_ready(row, item) for item in reply.items)
        ):
            return Bytes(_joined(row, reply.items, meta), JSON)
        items = [self.served(row, cached) for cached in reply.items]
        if form.shape:
            return self._finish(self._shaped(row, items, form, include, meta), form, 200, row)
        if not row.custom:
            items = [{k: v for k, v in item.items() if k not in ("kind", "apiVersion")} for item in items]
        body = {"kind": row.list_kind, "apiVersion": row.api_version, "metadata": meta, "items": items}
        return self._finish(body, form, 200, row)

    def _shaped(self, row: Resource, items: Sequence[Object], form: Form, include: str, meta: Object | None) -> Object:
        api_version = f"meta.k8s.io/{form.shape_version}"
        if form.shape == TABLE:
            include = include or "Metadata"
            if include not in _INCLUDE:
                raise status.bad_request(f'unrecognized includeObject value: "{include[:64]}"')
            table = self._printers.table(row, items, include)
            table["apiVersion"] = api_version
            table["metadata"] = meta if meta is not None else _list_meta(items[0])
            return table
        if (form.shape == PARTIAL) == (meta is not None):
            raise status.not_acceptable(
                [JSON] if meta is not None else ["application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"]
            )
        if form.shape == PARTIAL_LIST:
            return {
                "kind": PARTIAL_LIST, "apiVersion": api_version, "metadata": meta,
                "items": [partial(item, form.shape_version) for item in items],
            }
        return partial(items[0], form.shape_version)

    def status_error(self, error: status.ApiError, form: Form) -> Bytes:
        return self.plain_object(error.status, form, error.code)

    def plain_object(self, obj: Object, form: Form, code: int = 200) -> Bytes:
        return self._finish(obj, Form(form.media, "", "v1", form.pretty), code, None)

    def _finish(self, obj: Object, form: Form, code: int, row: Resource | None) -> Bytes:
        if form.media == JSON:
            return Bytes(dumps(obj, form), JSON, code)
        if form.media == YAML:
            return Bytes(serialization.encode_yaml(obj), YAML, code)
        codec = codecs.find(form.media)
        if codec is None or not codec.handles(row):
            return Bytes(dumps(obj, form), JSON, code)
        return Bytes(codec.encode(obj), form.media, code)

    # Watches

    def watch_type(self, form: Form) -> str:
        """The Content-Type of a watch. Raises ApiError (406) for YAML, which is no form of a stream."""
        codec = codecs.find(form.media)
        if codec is not None:
            return codec.watch_type
        if form.media == YAML:
            raise status.not_acceptable([f"{media};stream=watch" for media in (JSON, *codecs.media_types())])
        return JSON

    def frame(
        self, row: Resource, form: Form, include: str, type: str, cached: Cached, event: Event | None, first: bool
    ) -> bytes:
        """One event as a chunk of a chunked HTTP body, kept with the event for the next watcher of the same form."""
        key = (type, row.version, row.group, form, include) if not form.plain else (type, row.version, row.group)
        if event is not None and event.current is cached and not first:
            kept = event.frames.get(key)
            if kept is not None:
                return kept
        body = self._event(row, form, include, type, cached, first)
        chunk = b"%x\r\n%b\r\n" % (len(body), body)
        if event is not None and event.current is cached and not first:
            event.frames[key] = chunk
        return chunk

    def _event(self, row: Resource, form: Form, include: str, type: str, cached: Cached, first: bool) -> bytes:
        if form.plain and self._lies_ready(row, cached):
            return b'{"type":"%b","object":%b}\n' % (type.encode(), cached.data)
        obj = self.served(row, cached)
        if type == "BOOKMARK" and form.shape == TABLE:
            rows = [{"cells": [], "object": partial(obj, form.shape_version)}]
            obj = {"kind": TABLE, "apiVersion": f"meta.k8s.io/{form.shape_version}", "columnDefinitions": None,
                   "metadata": _list_meta(obj), "rows": rows}
        elif form.shape == TABLE:
            obj = self._shaped(row, [obj], form, include, None)
            if not first:
                obj["columnDefinitions"] = None
        elif form.shape:
            obj = partial(obj, form.shape_version)
        codec = codecs.find(form.media)
        if codec is not None:
            return codec.frame(type, obj)
        return orjson.dumps({"type": type, "object": obj}) + b"\n"

    def error_frame(self, error: status.ApiError, form: Form) -> bytes:
        codec = codecs.find(form.media)
        if codec is not None:
            body = codec.frame("ERROR", error.status)
        else:
            body = orjson.dumps({"type": "ERROR", "object": error.status}) + b"\n"
        return b"%x\r\n%b\r\n" % (len(body), body)


def page_meta(reply: Many) -> Object:
    """A list's metadata: its revision, and of a page what is left. How much is left is only said of lists without
    selectors, as upstream does."""
    meta: Object = {"resourceVersion": str(reply.revision)}
    if reply.continue_token:
        meta["continue"] = reply.continue_token
        if reply.remaining:
            meta["remainingItemCount"] = reply.remaining
    return meta


def _head(row: Resource) -> bytes:
    return b'{"kind":"%b","apiVersion":"%b",' % (row.kind.encode(), row.api_version.encode())


def _joined(row: Resource, items: Sequence[Cached], meta: Object) -> bytes:
    """A list by joining the items' bytes. Items of built-in kinds lose their kind and apiVersion, as upstream's do."""
    start = b'{"kind":"%b","apiVersion":"%b","metadata":%b,"items":[' % (
        row.list_kind.encode(), row.api_version.encode(), orjson.dumps(meta),
    )
    if not items:
        return start + b"]}"
    if row.custom:
        return b"%b%b]}" % (start, b",".join([item.data for item in items]))
    head = _head(row)
    length = len(head)
    if all(item.data.startswith(head) for item in items):
        views = [memoryview(item.data)[length:] for item in items]
        views[0] = memoryview(start + b"{" + views[0])
        views[-1] = memoryview(bytes(views[-1]) + b"]}")
        return b",{".join(views)
    return b"%b%b]}" % (start, b",".join([item.data for item in items]))


def _list_meta(obj: Object) -> Object:
    version = (obj.get("metadata") or {}).get("resourceVersion")
    return {"resourceVersion": version} if version else {}


def partial(obj: Object, version: str) -> Object:
    return {"kind": PARTIAL, "apiVersion": f"meta.k8s.io/{version}", "metadata": obj.get("metadata") or {}}
