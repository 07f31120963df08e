"""A container's log as clients ask for it, read from files in the CRI log format: a time, the stream's name, P or F
(part or full line), and the text."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from asyncinotify import Inotify, Mask

from podwright.api import objects

_BLOCK = 64 * 1024
_CHANGES = Mask.MODIFY | Mask.CREATE | Mask.MOVED_TO | Mask.CLOSE_WRITE


@dataclass(frozen=True, slots=True)
class LogOptions:
    """PodLogOptions. `since` is seconds since the epoch, 0 for everything; `tail` None for everything; `limit` in
    bytes, 0 for none; `stream` "stdout", "stderr" or ""."""

    follow: bool = False
    timestamps: bool = False
    since: float = 0.0
    tail: int | None = None
    limit: int = 0
    stream: str = ""


@dataclass(frozen=True, slots=True)
class LogLine:
    time: str
    stream: str
    partial: bool
    text: bytes


def parse_line(line: bytes) -> LogLine | None:
    """A line of the file without its newline; None for what is not in the format."""
    parts = line.split(b" ", 3)
    if len(parts) < 3 or parts[1] not in (b"stdout", b"stderr"):
        return None
    tags = parts[2].split(b":")
    text = parts[3] if len(parts) == 4 else b""
    return LogLine(parts[0].decode("ascii", "replace"), parts[1].decode(), tags[0] == b"P", text)


def utc_time(text: str) -> str:
    """The time with nanoseconds in UTC, "Z" at the end."""
    if text.endswith("+00:00"):
        return text[:-6] + "Z"
    if text.endswith("Z"):
        return text
    head, dot, rest = text.partition(".")
    digits = rest[: len(rest) - 6] if dot else ""
    zone = text[-6:]
    moved = datetime.fromisoformat(head + zone if dot else text).astimezone(UTC)
    return moved.strftime("%Y-%m-%dT%H:%M:%S") + (f".{digits}" if digits else "") + "Z"


def tail_offset(file: BinaryIO, lines: int) -> int:
    """Where the last `lines` lines of the file begin."""
    end = file.seek(0, os.SEEK_END)
    if lines <= 0:
        return end
    at, found = end, 0
    while at > 0:
        start = max(0, at - _BLOCK)
        file.seek(start)
        block = file.read(at - start)
        if at == end and block.endswith(b"\n"):
            block = block[:-1]
        position = len(block)
        while (position := block.rfind(b"\n", 0, position)) >= 0:
            found += 1
            if found == lines:
                return start + position + 1
        at = start
    return 0


class _Writer:
    """Turns lines into what the client gets, within its limit."""

    def __init__(self, options: LogOptions) -> None:
        self._options = options
        self._left = options.limit
        self._middle_of_line = False

    @property
    def full(self) -> bool:
        return self._options.limit > 0 and self._left <= 0

    def render(self, line: LogLine) -> bytes:
        options = self._options
        if options.stream and line.stream != options.stream:
            return b""
        if options.since and _seconds(line.time) < options.since:
            return b""
        out = line.text if line.partial else line.text + b"\n"
        if options.timestamps and not self._middle_of_line:
            out = utc_time(line.time).encode() + b" " + out
        self._middle_of_line = line.partial
        if options.limit:
            out = out[: self._left]
            self._left -= len(out)
        return out


def _seconds(text: str) -> float:
    try:
        return objects.parse_time(text)
    except ValueError:
        return 0.0


async def read_log(
    path: Path, options: LogOptions, *, ended: Callable[[], Awaitable[None]]
) -> AsyncGenerator[bytes, None]:
    """Pieces of the log. With follow it goes on, across rotations, until the container no longer runs (which is when
    `ended` returns) and everything it wrote was given.

    Raises:
        FileNotFoundError: there is no log.
    """
    writer = _Writer(options)
    with Inotify() as inotify:
        end: asyncio.Future[None] | None = None
        if options.follow:
            inotify.add_watch(path.parent, _CHANGES)
        file = path.open("rb")
        try:
            if options.follow:
                end = asyncio.ensure_future(ended())
                await asyncio.wait((end,), timeout=0)
            # Without follow it is what there is now: whoever writes faster than we read would never be done.
            size = None if options.follow else os.fstat(file.fileno()).st_size
            if options.tail is not None:
                file.seek(await asyncio.to_thread(tail_offset, file, options.tail))
            while True:
                # Asked before reading: what was written before the end is read after this.
                over = end is None or end.done()
                async with aclosing(_complete_lines(file, size)) as batches:
                    async for lines in batches:
                        piece = b"".join(writer.render(line) for line in lines)
                        if piece:
                            yield piece
                        if writer.full:
                            return
                if end is None:
                    return
                if _rotated(path, file):
                    file.close()
                    file = path.open("rb")
                    continue
                if over:
                    return
                await _change(inotify, end)
        finally:
            file.close()
            if end is not None:
                end.cancel()


async def _complete_lines(file: BinaryIO, size: int | None) -> AsyncGenerator[list[LogLine], None]:
    """The complete lines from where the file stands (as far as `size`), in batches; an unfinished last one is left for
    the next time."""
    while True:
        start = file.tell()
        block = await asyncio.to_thread(file.read, _BLOCK if size is None else max(0, min(_BLOCK, size - start)))
        end = block.rfind(b"\n")
        if end < 0:
            if len(block) == _BLOCK:
                block += await asyncio.to_thread(file.readline)
                end = block.rfind(b"\n")
            if end < 0:
                file.seek(start)
                return
        file.seek(start + end + 1)
        parsed = (parse_line(line) for line in block[:end].split(b"\n"))
        yield [line for line in parsed if line is not None]


def _rotated(path: Path, file: BinaryIO) -> bool:
    try:
        current = path.stat()
    except FileNotFoundError:
        return False
    opened = os.fstat(file.fileno())
    return (current.st_dev, current.st_ino) != (opened.st_dev, opened.st_ino)


async def _change(inotify: Inotify, end: asyncio.Future[None]) -> None:
    """Waits for something to happen in the directory, or for the container's end, which may leave no trace there."""
    happened = asyncio.ensure_future(inotify.get())
    try:
        await asyncio.wait((happened, end), return_when=asyncio.FIRST_COMPLETED)
    finally:
        if not happened.done():
            happened.cancel()
            await asyncio.wait((happened,))
