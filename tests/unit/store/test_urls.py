"""Which store a URL names."""

from __future__ import annotations

import pytest

from podwright.store.etcd import EtcdStore
from podwright.store.sqlite import MemoryStore, SqliteStore
from podwright.store.urls import open_store


def test_sqlite() -> None:
    store = open_store("sqlite:///var/lib/pod%20wright/store.db", watch_backlog=5)
    assert isinstance(store, SqliteStore)
    assert str(store.path) == "/var/lib/pod wright/store.db"


def test_memory() -> None:
    assert isinstance(open_store("memory://"), MemoryStore)


def test_etcd() -> None:
    store = open_store("etcd://a:2379,10.0.0.1:2380,[::1]:2381?ca=/a&cert=/b&key=/c&prefix=/registry")
    assert isinstance(store, EtcdStore)
    assert store._endpoints == [("a", 2379), ("10.0.0.1", 2380), ("::1", 2381)]
    assert store._files == ("/a", "/b", "/c")


@pytest.mark.parametrize(
    "url",
    [
        "", "store.db", "postgres://x", "sqlite://store.db", "sqlite:///", "sqlite://host/store.db", "etcd://",
        "etcd://host", "etcd://host:port", "etcd://a:1,:2", "etcd://a:1/path", "etcd://a:1?user=x",
        "etcd://a:1?cert=/b", "etcd://a:1?prefix=x/",
    ],
)
def test_what_names_none_is_refused(url: str) -> None:
    with pytest.raises(ValueError):
        open_store(url)
