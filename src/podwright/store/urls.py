"""Which store a URL names."""

from __future__ import annotations

from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from podwright.store.protocol import Store


def open_store(url: str, **options: Any) -> Store:
    """The store that `url` names, not opened yet: the caller awaits its `open()`.

    * ``sqlite:///path/to/store.db``: one file (:class:`podwright.store.sqlite.SqliteStore`; options are its keywords)
    * ``etcd://host:port[,host:port…]?ca=…&cert=…&key=…&prefix=/registry``: an etcd cluster
      (:class:`podwright.store.etcd.EtcdStore`; the query and the options are its keywords)
    * ``memory://``: the same in memory, for tests

    Raises:
        ValueError: the URL names no store.
    """
    parts = urlsplit(url)
    if parts.scheme == "sqlite":
        from podwright.store.sqlite import SqliteStore

        if parts.netloc or not parts.path.startswith("/") or parts.path.endswith("/"):
            raise ValueError(f"store URL {url!r}: write sqlite:///absolute/path/of/the.db")
        return SqliteStore(unquote(parts.path), **options)
    if parts.scheme == "memory":
        from podwright.store.sqlite import MemoryStore

        return MemoryStore(**options)
    if parts.scheme == "etcd":
        from podwright.store.etcd import EtcdStore

        files: dict[str, Any] = dict(parse_qsl(parts.query, strict_parsing=True)) if parts.query else {}
        unknown = files.keys() - {"ca", "cert", "key", "prefix"}
        if unknown or parts.path not in ("", "/"):
            raise ValueError(f"store URL {url!r}: write etcd://host:port,…?ca=…&cert=…&key=…&prefix=/registry")
        return EtcdStore(_endpoints(url, parts), **files, **options)
    raise ValueError(f"store URL {url!r}: the schemes are sqlite, etcd and memory")


def _endpoints(url: str, parts: SplitResult) -> list[tuple[str, int]]:
    endpoints = []
    for name in parts.netloc.split(","):
        host, colon, port = name.rpartition(":")
        if not colon or not host or not port.isdecimal():
            raise ValueError(f"store URL {url!r}: {name!r} is not host:port")
        endpoints.append((host.removeprefix("[").removesuffix("]"), int(port)))
    return endpoints
