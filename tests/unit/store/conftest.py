"""Every backend, for the tests that hold them all to the one contract."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from podwright.store.protocol import Store
from podwright.store.urls import open_store

BACKENDS = ("sqlite", "memory")


@pytest.fixture(params=BACKENDS)
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A URL of an empty store of each backend."""
    return {"sqlite": f"sqlite://{tmp_path}/store.db", "memory": "memory://"}[request.param]


@pytest.fixture
async def store(store_url: str) -> AsyncIterator[Store]:
    store = open_store(store_url)
    await store.open()
    yield store
    await store.close()
