"""Pipes on the event loop."""

from __future__ import annotations

import asyncio
import os

from podwright.runtime.oci.pipes import Channel


async def test_a_closed_channel_wakes_its_reader_and_leaves_the_number_to_its_next_owner() -> None:
    read, write = os.pipe()
    channel = Channel(read)
    reading = asyncio.create_task(channel.read())
    await asyncio.sleep(0)
    channel.close()
    again, other = os.pipe()
    assert again == read, "the kernel gives the lowest free number"
    heard = asyncio.Event()
    asyncio.get_running_loop().add_reader(again, heard.set)
    assert await asyncio.wait_for(reading, 10) == b""
    os.write(other, b"x")
    await asyncio.wait_for(heard.wait(), 10)
    asyncio.get_running_loop().remove_reader(again)
    for fd in (write, again, other):
        os.close(fd)
