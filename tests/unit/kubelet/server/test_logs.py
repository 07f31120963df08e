from __future__ import annotations

import asyncio
import io
from functools import partial
from pathlib import Path

import pytest

from podwright.kubelet.server.logs import LogOptions, parse_line, read_log, tail_offset, utc_time

LINES = [
    b"2026-01-01T00:00:01.000000001+00:00 stdout F one",
    b"2026-01-01T00:00:02.000000001+00:00 stderr F oops",
    b"2026-01-01T00:00:03.000000001+00:00 stdout P par",
    b"2026-01-01T00:00:03.000000002+00:00 stdout F tial",
    b"2026-01-01T00:00:04.000000001+00:00 stdout F ",
]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "0.log"
    path.write_bytes(b"\n".join(LINES) + b"\n")
    return path


async def _ended() -> None:
    return


async def _until(event: asyncio.Event) -> None:
    await event.wait()


async def read(path: Path, options: LogOptions) -> bytes:
    return b"".join([piece async for piece in read_log(path, options, ended=_ended)])


async def test_parts_of_a_line_come_together(log: Path) -> None:
    assert await read(log, LogOptions()) == b"one\noops\npartial\n\n"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (LogOptions(tail=1), b"\n"),
        (LogOptions(tail=0), b""),
        (LogOptions(tail=99), b"one\noops\npartial\n\n"),
        (LogOptions(limit=5), b"one\no"),
        (LogOptions(stream="stderr"), b"oops\n"),
        (LogOptions(since=1767225603.0), b"partial\n\n"),
    ],
)
async def test_options(log: Path, options: LogOptions, expected: bytes) -> None:
    assert await read(log, options) == expected


async def test_without_follow_nothing_is_given_that_is_written_later(log: Path) -> None:
    """A reader behind a flood comes to an end."""
    pieces = read_log(log, LogOptions(), ended=_ended)
    given = await anext(pieces)
    with log.open("ab") as file:
        file.write(b"2026-01-01T00:00:05.0+00:00 stdout F later\n")
    log.rename(log.with_suffix(".old"))
    log.write_bytes(b"2026-01-01T00:00:07.0+00:00 stdout F later still\n")
    assert given + b"".join([piece async for piece in pieces]) == b"one\noops\npartial\n\n"


async def test_times_are_in_utc_and_once_a_line(log: Path) -> None:
    text = await read(log, LogOptions(timestamps=True, tail=3))
    assert text == b"2026-01-01T00:00:03.000000001Z partial\n2026-01-01T00:00:04.000000001Z \n"
    assert utc_time("2026-01-01T02:00:03.123456789+02:00") == "2026-01-01T00:00:03.123456789Z"


async def test_follow_goes_on_across_a_rotation_until_the_container_ended(log: Path) -> None:
    over = asyncio.Event()
    seen = bytearray()

    async def follow() -> None:
        async for piece in read_log(log, LogOptions(follow=True), ended=partial(_until, over)):
            seen.extend(piece)

    async def reached(text: bytes) -> None:
        async with asyncio.timeout(60):
            while not seen.endswith(text):
                await asyncio.sleep(0.005)

    task = asyncio.ensure_future(follow())
    await reached(b"partial\n\n")
    with log.open("ab") as file:
        file.write(b"2026-01-01T00:00:05.0+00:00 stdout F half")
        file.flush()
        await asyncio.sleep(0.02)  # The unfinished line must not be given: that is the case under test.
        assert b"half" not in seen
        file.write(b" and half\n")
    await reached(b"half and half\n")
    with log.open("ab") as file:
        file.write(b"2026-01-01T00:00:06.0+00:00 stdout F last of the old\n")
    log.rename(log.with_suffix(".old"))
    log.write_bytes(b"2026-01-01T00:00:07.0+00:00 stdout F first of the new\n")
    await reached(b"last of the old\nfirst of the new\n")
    over.set()
    with log.open("ab") as file:
        file.write(b"2026-01-01T00:00:08.0+00:00 stdout F end\n")
    async with asyncio.timeout(60):
        await task
    assert seen.endswith(b"first of the new\nend\n")


async def test_follower_of_a_silent_log_learns_of_the_end(log: Path) -> None:
    over, given = asyncio.Event(), asyncio.Event()

    async def follow() -> None:
        async for _ in read_log(log, LogOptions(follow=True), ended=partial(_until, over)):
            given.set()

    task = asyncio.ensure_future(follow())
    await given.wait()
    over.set()
    async with asyncio.timeout(60):
        await task


async def test_follow_of_a_log_that_is_over(log: Path) -> None:
    async with asyncio.timeout(60):
        assert await read(log, LogOptions(follow=True)) == b"one\noops\npartial\n\n"


def test_tail_over_blocks() -> None:
    data = b"".join(b"%06d %s\n" % (i, b"x" * 90) for i in range(3000))
    for lines in (1, 7, 1000, 2999, 3000, 5000):
        offset = tail_offset(io.BytesIO(data), lines)
        assert data[offset:].count(b"\n") == min(lines, 3000)
        assert offset == 0 or data[offset - 1 : offset] == b"\n"


@pytest.mark.parametrize("line", [b"", b"x", b"2026 stdout", b"2026 nowhere F x"])
def test_what_is_no_log_line_is_passed_over(line: bytes) -> None:
    assert parse_line(line) is None
