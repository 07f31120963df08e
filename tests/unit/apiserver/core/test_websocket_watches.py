"""Watches over a WebSocket, as browsers ask for them."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import aiohttp

from podwright.api.protobuf import envelope
from podwright.api.protobuf.special import scalars

from .conftest import ADMIN, Api, config_map

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
WATCH = f"{CONFIG_MAPS}?watch=1&labelSelector=!ours"


async def test_each_event_is_a_message(api: Api) -> None:
    headers = {"Authorization": f"Bearer {ADMIN}", "Origin": "http://localhost"}
    async with asyncio.timeout(60), api.session.ws_connect(api.url + WATCH, headers=headers) as socket:
        await socket.ping()
        for data in ("", "x" * 200, "y" * 70000):  # the three forms of a message's length
            made = (await api.post(CONFIG_MAPS, config_map(f"c{len(data)}", data=data))).json
            assert await socket.receive_json() == {"type": "ADDED", "object": made}
        assert (await api.delete(f"{CONFIG_MAPS}/c0")).status == 200
        assert (await socket.receive_json())["type"] == "DELETED"
        await socket.send_str("nobody asked")
        await api.delete(f"{CONFIG_MAPS}/c200")
        assert (await socket.receive_json())["object"]["metadata"]["name"] == "c200"


async def test_a_browser_names_its_token_as_a_subprotocol(api: Api) -> None:
    token = "base64url.bearer.authorization.k8s.io." + base64.urlsafe_b64encode(ADMIN.encode()).decode().rstrip("=")
    async with asyncio.timeout(60), api.session.ws_connect(
        api.url + WATCH, protocols=(token, "base64.binary.k8s.io")
    ) as socket:
        assert socket.protocol == "base64.binary.k8s.io"
        await api.post(CONFIG_MAPS, config_map("c"))
        assert (await socket.receive_json())["object"]["metadata"]["name"] == "c"


async def test_protobuf_comes_in_binary_messages_without_a_length(api: Api) -> None:
    headers = {"Authorization": f"Bearer {ADMIN}", "Accept": envelope.MEDIA_TYPE}
    made = (await api.post(CONFIG_MAPS, config_map("c"))).json
    async with asyncio.timeout(60), api.session.ws_connect(api.url + WATCH, headers=headers) as socket:
        event: Any = scalars(await socket.receive_bytes())
        assert event[1] == b"ADDED"
        shown: Any = scalars(event[2])[1]
        assert envelope.decode(shown) == made


async def test_it_ends_with_its_time_and_with_the_reader(api: Api) -> None:
    headers = {"Authorization": f"Bearer {ADMIN}"}
    async with asyncio.timeout(60):
        async with api.session.ws_connect(f"{api.url}{WATCH}&timeoutSeconds=1", headers=headers) as socket:
            assert (await socket.receive()).type == aiohttp.WSMsgType.CLOSE
        async with api.session.ws_connect(api.url + WATCH, headers=headers) as socket:
            assert await socket.close()
            assert socket.close_code == 1000


async def test_what_is_no_handshake_or_no_stream_is_refused(api: Api) -> None:
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
    for headers in (upgrade, {**upgrade, "Sec-WebSocket-Key": "short"}, {**upgrade, "Sec-WebSocket-Version": "1"}):
        refused = await api.get(WATCH, headers=headers)
        assert (refused.status, refused.json["reason"]) == (400, "BadRequest")
    yaml = await api.get(WATCH, headers={"Accept": "application/yaml"})
    assert yaml.status == 406
    assert b"application/json;stream=watch," in yaml.body
    # A read that is no watch does not care.
    assert (await api.get(CONFIG_MAPS, headers=upgrade)).status == 200
