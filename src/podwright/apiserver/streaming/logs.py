"""pods/log: the kubelet's answer, handed on as it comes, over a WebSocket to those who ask for one."""

from __future__ import annotations

import asyncio
import base64
import ssl

import aiohttp
from aiohttp import web
from yarl import URL

from podwright.api.objects import Object, name
from podwright.api.status import ApiError, bad_request, failure, internal
from podwright.apiserver.streaming.kubelets import Address

CONNECT_TIMEOUT = 10.0
_BASE64 = "base64.binary.k8s.io"


def refusal(status: int, text: str, pod: Object) -> ApiError:
    """What a kubelet's error becomes."""
    text = text.strip()
    if status == 400:
        return bad_request(text)
    if status == 500:
        return internal(text)
    if status == 404:
        details: Object = {"name": name(pod), "kind": "pods/log"}
        message = f"the server could not find the requested resource ( pods/log {name(pod)})"
        return failure(404, "NotFound", message, details)
    return failure(status, "", text)


async def stream(
    request: web.BaseRequest, session: aiohttp.ClientSession, address: Address, target: str, tls: ssl.SSLContext,
    pod: Object,
) -> web.StreamResponse:
    """Raises ApiError if the kubelet refuses or cannot be reached."""
    url = f"https://{address.netloc}{target}"
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT)
    try:
        async with session.get(URL(url, encoded=True), ssl=tls, timeout=timeout, allow_redirects=False) as answer:
            if not 200 <= answer.status <= 206:
                raise refusal(answer.status, await answer.text(errors="replace"), pod)
            if web.WebSocketResponse().can_prepare(request):
                return await _frames(request, answer)
            response = web.StreamResponse(headers={"Content-Type": "text/plain", "Cache-Control": "no-cache, private"})
            await response.prepare(request)
            async for chunk in answer.content.iter_any():
                await response.write(chunk)
            await response.write_eof()
            return response
    except aiohttp.ClientConnectorError as error:
        raise internal(f'Get "{url}": dial tcp {address.netloc}: {error.strerror or error}') from None
    except (aiohttp.ClientError, TimeoutError, asyncio.IncompleteReadError) as error:
        if request.transport is not None and _started(request):
            request.transport.close()
            raise
        raise internal(f'Get "{url}": {error}') from None


async def _frames(request: web.BaseRequest, answer: aiohttp.ClientResponse) -> web.StreamResponse:
    """Each piece is a message; what the client says is of no interest but for its end."""
    socket = web.WebSocketResponse(protocols=("binary.k8s.io", _BASE64))
    await socket.prepare(request)

    async def send() -> None:
        async for chunk in answer.content.iter_any():
            if socket.ws_protocol == _BASE64:
                await socket.send_str(base64.b64encode(chunk).decode())
            else:
                await socket.send_bytes(chunk)

    async def listen() -> None:
        async for _ in socket:
            continue

    tasks = [asyncio.ensure_future(send()), asyncio.ensure_future(listen())]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    await socket.close()
    return socket


def _started(request: web.BaseRequest) -> bool:
    return bool(getattr(request._payload_writer, "output_size", 0))
