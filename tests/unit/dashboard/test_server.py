"""The web page: what it shows, that it lives, and whom it refuses."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import orjson
import pytest

from podwright.api.resources import EVENTS, PODS
from podwright.dashboard.server import serving
from podwright.testing.api import LocalApi

pytestmark = pytest.mark.podwright(simulated_nodes=2)


@pytest.fixture
async def page(podwright_api: LocalApi) -> AsyncIterator[tuple[LocalApi, str, aiohttp.ClientSession]]:
    client = podwright_api.new_client()
    async with serving(client, port=0) as url, aiohttp.ClientSession() as session:
        yield podwright_api, url, session
    await client.aclose()


async def _messages(answer: aiohttp.ClientResponse) -> AsyncIterator[dict[str, Any]]:
    async for line in answer.content:
        if line.startswith(b"data: "):
            yield orjson.loads(line.removeprefix(b"data: "))


def _pod(name: str, node: str) -> dict[str, Any]:
    spec = {"nodeName": node, "containers": [{"name": "c", "image": "<b>x</b>"}]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default"}, "spec": spec}


async def test_pods_appear_with_kubectls_words_and_go(page: tuple[LocalApi, str, aiohttp.ClientSession]) -> None:
    api, url, session = page
    client = api.new_client()
    event = {
        "metadata": {"name": "e", "namespace": "default"}, "reason": "Tested", "message": "<script>", "type": "Normal",
        "involvedObject": {"kind": "Pod", "name": "p", "namespace": "default"},
    }  # fmt: skip
    async with asyncio.timeout(60), session.get(f"{url}tables") as answer:
        assert answer.content_type == "text/event-stream"
        messages = _messages(answer)
        first = await anext(messages)
        assert [row[:2] for row in first["nodes"]["rows"]] == [["simulated-1", "Ready"], ["simulated-2", "Ready"]]
        assert first["pods"]["rows"] == []
        await client.create(PODS, _pod("p", "simulated-1"))
        await client.create(EVENTS, event)
        async for tables in messages:
            rows = tables["pods"]["rows"]
            if rows and rows[0][3] == "Running" and tables["events"]["rows"]:
                break
        assert tables["pods"]["columns"] == ["Namespace", "Name", "Ready", "Status", "Restarts", "Age", "IP", "Node"]
        assert rows[0][:3] == ["default", "p", "1/1"] and rows[0][-1] == "simulated-1"
        assert tables["events"]["rows"][0][-1] == "<script>", "text it is, and the page shows it as text"
        await client.delete(PODS, "p", namespace="default", grace_period_seconds=0)
        async for tables in messages:
            if not tables["pods"]["rows"]:
                break
    await client.aclose()


async def test_it_serves_its_files_and_nothing_else(page: tuple[LocalApi, str, aiohttp.ClientSession]) -> None:
    _, url, session = page
    for path, kind in {"": "text/html", "page.js": "text/javascript", "page.css": "text/css"}.items():
        async with session.get(url + path) as answer:
            assert (answer.status, answer.content_type) == (200, kind)
            assert answer.headers["Content-Security-Policy"].startswith("default-src 'self'")
    async with session.get(f"{url}../etc/passwd") as answer:
        assert answer.status == 404
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        async with session.request(method, f"{url}tables") as answer:
            assert answer.status == 405


async def test_other_names_for_this_machine_are_refused(page: tuple[LocalApi, str, aiohttp.ClientSession]) -> None:
    _, url, session = page
    port = url.rstrip("/").rpartition(":")[2]
    for host, status in {"evil.example": 403, f"evil.example:{port}": 403, f"localhost:{port}": 200}.items():
        async with session.get(url, headers={"Host": host}) as answer:
            assert answer.status == status, host
