"""The discovery URLs. Documents are made when first asked for after a change of the table, and kept as bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable

import orjson

from podwright.api import status
from podwright.api.objects import Object
from podwright.api.resources import Resource
from podwright.apiserver.discovery import documents
from podwright.apiserver.encoding import Encoder
from podwright.apiserver.exchange import Bytes, Request
from podwright.apiserver.handlers import Handlers
from podwright.apiserver.negotiation import negotiate
from podwright.apiserver.registry.registry import Registry

_AGGREGATED = "application/json;g=apidiscovery.k8s.io;v={0};as=APIGroupDiscoveryList"


class Discovery:
    def __init__(self, registry: Registry, encoder: Encoder, address: str) -> None:
        self._registry = registry
        self._encoder = encoder
        self._address = address
        self._groups: dict[str, dict[str, list[Resource]]] | None = None
        self._aggregated: dict[tuple[bool, str], tuple[bytes, str]] = {}
        self.remote: Callable[[], Iterable[tuple[str, str]]] = tuple
        """Groups and versions of other API servers."""
        self.learned: dict[tuple[str, str], Object] = {}
        """The APIResourceLists that they gave."""

    def install(self, handlers: Handlers) -> None:
        handlers.pages["/api"] = self._api
        handlers.pages["/apis"] = self._apis
        handlers.pages["/api/v1"] = self._version
        handlers.page_trees.append(("/apis/", self._version))

    def changed(self) -> None:
        """The resource table changed."""
        self._groups = None
        self._aggregated.clear()

    def groups(self) -> dict[str, dict[str, list[Resource]]]:
        if self._groups is None:
            self._groups = documents.by_group(self._registry.table)
        return self._groups

    async def _api(self, request: Request) -> Bytes:
        return self._aggregated_if_wanted(request, True) or self._plain(
            request, documents.api_versions(self._address)
        )

    async def _apis(self, request: Request) -> Bytes:
        found = self._aggregated_if_wanted(request, False)
        if found is not None:
            return found
        listed = documents.group_list(self.groups())
        known = {entry["name"]: i for i, entry in enumerate(listed["groups"])}
        for name in dict.fromkeys(name for name, _ in self.remote()):
            entry = documents.group(name, self._group_versions(name), standalone=False)
            if name in known:
                listed["groups"][known[name]] = entry
            else:
                listed["groups"].append(entry)
        return self._plain(request, listed)

    def _group_versions(self, name: str) -> list[str]:
        """Local and remote versions of a group, in order of preference; empty if nobody has it."""
        found = {*self.groups().get(name, ()), *(version for group, version in self.remote() if group == name)}
        return sorted(found, key=documents.version_priority)

    async def _version(self, request: Request) -> Bytes:
        parts = request.info.path.strip("/").split("/")
        groups = self.groups()
        if parts[0] == "api":
            return self._plain(request, documents.resource_list(groups[""]["v1"], "v1"))
        name = parts[1] if len(parts) > 1 else ""
        versions = self._group_versions(name) if name else []
        if not versions:
            raise status.path_not_found()
        if len(parts) == 2:
            return self._plain(request, documents.group(name, versions))
        rows = groups.get(name, {}).get(parts[2])
        if rows is None or len(parts) > 3:
            raise status.path_not_found()
        return self._plain(request, documents.resource_list(rows, f"{parts[1]}/{parts[2]}"))

    def _plain(self, request: Request, obj: Object) -> Bytes:
        form = negotiate(
            request.headers.get("Accept") or "", request.user_agent, request.query.get("pretty")
        )
        return self._encoder.plain_object(obj, form)

    def _aggregated_if_wanted(self, request: Request, core: bool) -> Bytes | None:
        version = wanted_aggregated(request.headers.get("Accept") or "")
        if not version:
            return None
        kept = self._aggregated.get((core, version))
        if kept is None:
            document = documents.aggregated(self.groups(), core=core)
            if not core:
                documents.merge_remote(document["items"], self.learned, frozenset(self.remote()))
            document["apiVersion"] = f"apidiscovery.k8s.io/{version}"
            body = orjson.dumps(document)
            kept = self._aggregated[core, version] = (body, hashlib.sha512(body).hexdigest().upper())
        body, tag = kept
        headers = {"ETag": f'"{tag}"', "Vary": "Accept"}
        if request.headers.get("If-None-Match") in (f'"{tag}"', tag):
            return Bytes(b"", "", 304, headers)
        return Bytes(body, _AGGREGATED.format(version), 200, headers)


def wanted_aggregated(accept: str) -> str:
    """The version of aggregated discovery that comes before any plain JSON in an Accept header; "" if none does."""
    for clause in accept.split(","):
        media, *params = (part.strip() for part in clause.split(";"))
        values = dict(param.split("=", 1) for param in params if "=" in param)
        if media not in ("application/json", "*/*"):
            continue
        if values.get("as") == "APIGroupDiscoveryList" and values.get("g") == "apidiscovery.k8s.io":
            if values.get("v") in ("v2", "v2beta1"):
                return values["v"]
        else:
            return ""
    return ""
