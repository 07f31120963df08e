"""The ends of pipes, sockets and terminals on the event loop, and processes waited for without a signal handler."""

from __future__ import annotations

import asyncio
import errno
import os
import subprocess

_CHUNK = 65536


async def _ready(fd: int, *, write: bool) -> None:
    loop = asyncio.get_running_loop()
    future: asyncio.Future[None] = loop.create_future()

    def wake() -> None:
        if not future.done():
            future.set_result(None)

    (loop.add_writer if write else loop.add_reader)(fd, wake)
    try:
        await future
    finally:
        (loop.remove_writer if write else loop.remove_reader)(fd)


class Channel:
    """A file descriptor that one task reads and another writes. Closing it twice is no error."""

    def __init__(self, fd: int) -> None:
        os.set_blocking(fd, False)
        self.fd = fd

    async def read(self, size: int = _CHUNK) -> bytes:
        """The next bytes; b"" at the end. The end of a terminal (EIO) is an end."""
        while self.fd >= 0:
            try:
                return os.read(self.fd, size)
            except BlockingIOError:
                await _ready(self.fd, write=False)
            except OSError as error:
                if error.errno in (errno.EIO, errno.ECONNRESET):
                    return b""
                raise
        return b""

    async def write(self, data: bytes) -> None:
        """Writes all of it. Raises BrokenPipeError if nobody reads any more."""
        view = memoryview(data)
        while view:
            if self.fd < 0:
                raise BrokenPipeError(errno.EPIPE, "closed")
            try:
                view = view[os.write(self.fd, view) :]
            except BlockingIOError:
                await _ready(self.fd, write=True)
            except OSError as error:
                if error.errno == errno.EIO:
                    raise BrokenPipeError(errno.EPIPE, "terminal is gone") from None
                raise

    def close(self) -> None:
        if self.fd >= 0:
            loop = asyncio.get_running_loop()
            loop.remove_reader(self.fd)
            loop.remove_writer(self.fd)
            os.close(self.fd)
            self.fd = -1


async def wait_process(process: subprocess.Popen[bytes]) -> int:
    """The exit code, as Popen gives it."""
    if process.poll() is None:
        fd = os.pidfd_open(process.pid)
        try:
            await _ready(fd, write=False)
        finally:
            os.close(fd)
    return process.wait()
