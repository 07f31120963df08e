"""The Available condition of APIServices with a Service, and what such a server says it has."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import aiohttp
import orjson

from podwright.api import objects
from podwright.api.objects import Object
from podwright.api.resources import APISERVICES, ENDPOINTSLICES, SERVICES
from podwright.api.status import ApiError
from podwright.apiserver.admission.webhook_client import SERVICE_NAME, CallFailed
from podwright.apiserver.aggregation.backends import AGGREGATOR, Backends, Remote, identity_headers
from podwright.apiserver.aggregation.proxying import Aggregator
from podwright.apiserver.call_failures import told
from podwright.apiserver.openapi.merging import narrowed
from podwright.apiserver.requests import Objects, Writer

_log = logging.getLogger(__name__)

RECHECK = 30.0
"""Seconds after which an APIService is looked at again though nothing changed."""
_ATTEMPTS = 5
_TIMEOUT = aiohttp.ClientTimeout(total=5.0)


@dataclass(frozen=True, slots=True)
class Published:
    """What a remote says of itself."""

    resources: Object
    """Its APIResourceList."""
    third: str | None
    """The hash of its OpenAPI v3 document ("" if it does not say); None if it has no such document."""
    second: Object | None
    """Its part of OpenAPI v2."""


Learned = Callable[[Remote, Published | None], None]
"""Told what a remote says; None: it is gone."""


class Availability:
    """Looks at every remote when it, its Service or its endpoints change, and every half minute."""

    def __init__(
        self, found: Objects, writer: Writer, aggregator: Aggregator, backends: Backends,
        http: Callable[[], aiohttp.ClientSession], now: Callable[[], float], learned: Learned,
    ) -> None:
        self._objects = found
        self._writer = writer
        self._aggregator = aggregator
        self._backends = backends
        self._http = http
        self._now = now
        self._learned = learned
        self._known: dict[str, Remote] = {}
        self._said: dict[str, tuple[Published, str]] = {}
        """With the ETag of its OpenAPI v2 document."""
        self._wake = asyncio.Event()
        aggregator.listeners.append(self._wake.set)
        found.subscribe(SERVICES, self._related)
        found.subscribe(ENDPOINTSLICES, self._related)

    def _related(self, old: Object | None, new: Object | None) -> None:
        if not self._aggregator.remotes:
            return
        obj = new or old or {}
        name = objects.labels(obj).get(SERVICE_NAME) or objects.name(obj)
        if any(
            (r.namespace, r.service) == (objects.namespace(obj), name) for r, _ in self._aggregator.remotes.values()
        ):
            self._wake.set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                async with asyncio.timeout(RECHECK if self._aggregator.remotes else None):
                    await self._wake.wait()
            except TimeoutError:
                pass  # time for another look
            self._wake.clear()
            remotes = [remote for remote, _ in self._aggregator.remotes.values()]
            for name in self._known.keys() - {remote.name for remote in remotes}:
                self._said.pop(name, None)
                self._learned(self._known.pop(name), None)
            async with asyncio.TaskGroup() as tasks:
                for remote in remotes:
                    tasks.create_task(self._check(remote))

    async def _check(self, remote: Remote) -> None:
        state, reason, message = self._service(remote)
        if not state:
            state, reason, message = await self._ask(remote)
        api_service = self._objects.get(APISERVICES, "", remote.name)
        if api_service is None or Remote.of(api_service) != remote:
            return
        before = objects.condition(api_service, "Available") or {}
        if (before.get("status"), before.get("reason"), before.get("message")) == (state, reason, message):
            return
        since = before.get("lastTransitionTime")
        if before.get("status") != state or not since:
            since = objects.format_time(self._now())
        condition = {
            "type": "Available", "status": state, "reason": reason, "message": message, "lastTransitionTime": since,
        }
        held = (api_service.get("status") or {}).get("conditions") or []
        conditions = [condition if c.get("type") == "Available" else c for c in held]
        if condition not in conditions:
            conditions.append(condition)
        try:
            await self._writer.update(APISERVICES, {**api_service, "status": {"conditions": conditions}})
        except ApiError as error:
            _log.info("APIService %s: %s", remote.name, error)  # it changed, and is looked at again for that

    def _service(self, remote: Remote) -> tuple[str, str, str]:
        """What is wrong with the Service; an empty status if nothing is."""
        where = f'service/{remote.service} in "{remote.namespace}"'
        service = self._objects.get(SERVICES, remote.namespace, remote.service)
        if service is None:
            return "False", "ServiceNotFound", f"{where} is not present"
        spec = service.get("spec") or {}
        if spec.get("type") != "ClusterIP":
            return "", "", ""
        port = next((p for p in spec.get("ports") or () if p.get("port") == remote.port), None)
        if port is None:
            return "False", "ServicePortError", f"{where} is not listening on port {remote.port}"
        name = port.get("name") or ""
        slices = [
            s for s in self._objects.list(ENDPOINTSLICES, remote.namespace)
            if objects.labels(s).get(SERVICE_NAME) == remote.service
        ]
        if not slices:
            return "False", "EndpointsNotFound", f"cannot find endpointslices for {where}"
        for found in slices:
            ready = any((e.get("conditions") or {}).get("ready") is not False for e in found.get("endpoints") or ())
            if ready and any((p.get("name") or "") == name and p.get("port") for p in found.get("ports") or ()):
                return "", "", ""
        said = f'endpointslices for {where} have no addresses with port name "{name}"'
        return "False", "MissingEndpoints", said

    async def _ask(self, remote: Remote) -> tuple[str, str, str]:
        problem = ""
        for _ in range(_ATTEMPTS):
            try:
                address, tls = self._backends.address(remote), self._backends.tls(remote)
            except CallFailed as error:
                problem = str(error)
                break
            url = f"https://{address.netloc}{remote.path}"
            try:
                listed = await self._get(remote, url, tls)
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                problem = f'failing or missing response from {url}: Get "{url}": {told(error)}'
                continue
            except ValueError as error:
                problem = f"failing or missing response from {url}: {error}"
                continue
            self._known[remote.name] = remote
            self._learned(remote, await self._published(remote, listed, f"https://{address.netloc}/openapi", tls))
            return "True", "Passed", "all checks passed"
        return "False", "FailedDiscoveryCheck", problem

    async def _get(self, remote: Remote, url: str, tls: Any) -> Object:
        """Raises ValueError for an answer that is no JSON object or no success."""
        async with self._asked(remote, url, tls) as answer:
            return await _object(answer, url)

    def _asked(self, remote: Remote, url: str, tls: Any, tag: str = "") -> Any:
        headers = [*identity_headers(AGGREGATOR), ("Accept", "application/json")]
        if tag:
            headers.append(("If-None-Match", tag))
        return self._http().get(
            url, headers=headers, ssl=tls, server_hostname=remote.server_name, timeout=_TIMEOUT,
            allow_redirects=False,
        )

    async def _published(self, remote: Remote, listed: Object, url: str, tls: Any) -> Published:
        """A document that cannot be had right now is still as it was."""
        before, tag = self._said.get(remote.name, (Published(listed, None, None), ""))
        third, second = before.third, before.second
        try:
            async with self._asked(remote, f"{url}/v3", tls) as answer:
                if answer.status == 404:
                    third = None
                else:
                    entry = ((await _object(answer, url)).get("paths") or {}).get(remote.path.lstrip("/")) or {}
                    third = str(entry.get("serverRelativeURL") or "").partition("hash=")[2]
            async with self._asked(remote, f"{url}/v2", tls, tag) as answer:
                if answer.status == 404:
                    second, tag = None, ""
                elif answer.status != 304:
                    second = narrowed(await _object(answer, url), remote.path)
                    tag = answer.headers.get("ETag", "")
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError, AttributeError) as error:
            _log.info("OpenAPI of %s: %s", remote.name, error)
        said = Published(listed, third, second)
        self._said[remote.name] = (said, tag)
        return said


async def _object(answer: aiohttp.ClientResponse, url: str) -> Object:
    if not 200 <= answer.status < 300:
        raise ValueError(f"bad status from {url}: {answer.status}")
    value = orjson.loads(await answer.read())
    if not isinstance(value, dict):
        raise ValueError("the answer is no object")
    return value
