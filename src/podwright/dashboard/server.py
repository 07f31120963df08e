"""Serves the page on the machine itself: three files and a stream of server-sent events. Nothing can be written."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from importlib.resources import files

import orjson
from aiohttp import web

from podwright.client.client import Client
from podwright.dashboard.picture import Picture

_SETTLE = 0.2
"""A burst of changes is one message."""
_REFRESH = 10.0
"""Ages grow without a change."""
_FILES = {
    "/": ("page.html", "text/html"),
    "/page.js": ("page.js", "text/javascript"),
    "/page.css": ("page.css", "text/css"),
}
_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
_HOSTS = ("127.0.0.1", "localhost", "[::1]")


@contextlib.asynccontextmanager
async def serving(client: Client, *, port: int, host: str = "127.0.0.1") -> AsyncIterator[str]:
    """Gives the page's URL; `port` 0 takes any free one. The pictures are those that `client` may see.

    Raises:
        OSError: the port is taken.
    """
    picture = Picture(client, now=time.time)
    application = web.Application(middlewares=[_guarded])
    application.router.add_get("/tables", _tables(picture))
    for path, (name, kind) in _FILES.items():
        application.router.add_get(path, _file(name, kind))
    runner = web.AppRunner(application, shutdown_timeout=0.5, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        async with asyncio.TaskGroup() as group:
            watching = group.create_task(picture.run(), name="dashboard")
            try:
                yield f"http://{host}:{runner.addresses[0][1]}/"
            finally:
                watching.cancel()
    finally:
        await runner.cleanup()


@web.middleware
async def _guarded(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """A page of somebody else's must not read this one by a name of its own that points here."""
    if (request.host.rpartition(":")[0] or request.host) not in _HOSTS:
        raise web.HTTPForbidden(text="this page is served by 127.0.0.1 and localhost only\n")
    return await handler(request)


def _file(name: str, kind: str) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    body = (files(__package__) / "static" / name).read_bytes()

    async def serve(request: web.Request) -> web.StreamResponse:
        return web.Response(body=body, content_type=kind, charset="utf-8", headers=_HEADERS)

    return serve


def _tables(picture: Picture) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def stream(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={**_HEADERS, "Content-Type": "text/event-stream"})
        await response.prepare(request)
        await picture.synced()
        with contextlib.suppress(ConnectionError):
            while True:
                changed = picture.change()
                await response.write(b"data: " + orjson.dumps(picture.tables()) + b"\n\n")
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_REFRESH):
                        await changed.wait()
                        await asyncio.sleep(_SETTLE)
        return response

    return stream
