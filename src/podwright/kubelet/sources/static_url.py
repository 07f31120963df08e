"""Static Pods from a URL that is asked from time to time."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence

import aiohttp

from podwright.api import objects
from podwright.api.objects import Object
from podwright.client.clock import Clock
from podwright.kubelet.sources.static_pods import BadManifest, parse_many

log = logging.getLogger(__name__)

_TIMEOUT = 10.0


class StaticPodUrl:
    """`changed` gets all Pods of the URL when its answer changes. While it cannot be had, or makes no sense, what it
    said last goes on."""

    def __init__(
        self,
        url: str,
        node_name: str,
        clock: Clock,
        changed: Callable[[Sequence[Object]], None],
        *,
        period: float,
        headers: Mapping[str, str],
    ) -> None:
        self._url = url
        self._node_name = node_name
        self._clock = clock
        self._changed = changed
        self._period = period
        self._headers = dict(headers)
        self._last: bytes | None = None

    async def run(self) -> None:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_TIMEOUT)) as session:
            while True:
                await self._ask(session)
                await self._clock.sleep(self._period)

    async def _ask(self, session: aiohttp.ClientSession) -> None:
        try:
            async with session.get(self._url, headers=self._headers) as answer:
                data = await answer.read()
                if answer.status != 200:
                    log.warning("static Pod URL %s answered %d", self._url, answer.status)
                    return
        except (aiohttp.ClientError, TimeoutError, OSError) as failed:
            log.warning("static Pod URL %s: %s", self._url, failed)
            return
        if data == self._last:
            return
        seen = objects.format_time(self._clock.now())
        try:
            found = parse_many(data, node_name=self._node_name, origin=self._url, seen=seen)
        except BadManifest as wrong:
            log.error("static Pod URL %s: %s", self._url, wrong)
            return
        self._last = data
        self._changed(found)
