"""Every backend, for the tests that hold them all to the one contract."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from tests.unit.store.etcd_server import etcd_cluster

from podwright.store.protocol import Store
from podwright.store.urls import open_store

BACKENDS = ("sqlite", "memory", "etcd")


@pytest.fixture
def fast_directory() -> Iterator[Path]:
    """In memory where there is such a thing: etcd syncs dozens of times at its start."""
    in_memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(prefix="podwright-test-", dir=in_memory if in_memory.is_dir() else None) as name:
        yield Path(name)


@pytest.fixture(params=BACKENDS)
async def store_url(request: pytest.FixtureRequest, tmp_path: Path, fast_directory: Path) -> AsyncIterator[str]:
    """A URL of an empty store of each backend."""
    if request.param == "sqlite":
        yield f"sqlite://{tmp_path}/store.db"
    elif request.param == "memory":
        yield "memory://"
    else:
        if shutil.which("etcd") is None:
            pytest.fail("etcd is not installed: make setup does it")
        async with etcd_cluster(fast_directory, 1) as members:
            yield f"etcd://127.0.0.1:{members[0].port}"


@pytest.fixture
async def store(store_url: str) -> AsyncIterator[Store]:
    store = open_store(store_url)
    await store.open()
    yield store
    await store.close()
