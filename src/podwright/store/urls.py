"""Which store a URL names."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote, urlsplit

from podwright.store.protocol import Store


def open_store(url: str, **options: Any) -> Store:
    """The store that `url` names, not opened yet: the caller awaits its `open()`.

    * ``sqlite:///path/to/store.db``: one file (:class:`podwright.store.sqlite.SqliteStore`; options are its keywords)
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
    raise ValueError(f"store URL {url!r}: the schemes are sqlite and memory")
