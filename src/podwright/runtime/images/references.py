"""Which names a cluster gives to which images: one JSON file a cluster, changed under a lock, replaced whole."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import orjson

from podwright.runtime import atomic


@dataclass(frozen=True, slots=True)
class Entry:
    """What a reference stands for: the image's id, and the digest that the registry knows it by ("" if none does)."""

    image: str
    digest: str = ""


class References:
    """The mapping from full references to images. Several processes may share the file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen: tuple[int, int] = (0, 0)
        self._entries: dict[str, Entry] = {}

    def read(self) -> dict[str, Entry]:
        """The mapping now; parsed again only if the file changed. Never changed by the caller."""
        try:
            info = os.stat(self.path)
        except FileNotFoundError:
            self._seen, self._entries = (0, 0), {}
            return self._entries
        stamp = (info.st_mtime_ns, info.st_ino)
        if stamp != self._seen:
            document = orjson.loads(self.path.read_bytes())
            self._entries = {
                name: Entry(str(value["image"]), str(value.get("digest", "")))
                for name, value in document["references"].items()
            }
            self._seen = stamp
        return self._entries

    def change(self, edit: Callable[[dict[str, Entry]], None]) -> None:
        """Runs `edit` on a copy of the mapping, alone on this machine, and makes the result durable."""
        with self._locked():
            entries = dict(self.read())
            edit(entries)
            atomic.write_json(
                self.path,
                {"references": {name: {"image": e.image, "digest": e.digest} for name, e in sorted(entries.items())}},
                durable=True,
            )

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with open(self.path.with_name(f".{self.path.name}.lock"), "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
