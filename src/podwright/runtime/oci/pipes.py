"""The ends of pipes, sockets and terminals on the event loop, and processes waited for without a signal handler."""

from __future__ import annotations

import asyncio
import errno
import os
import subprocess

_CHUNK = 65536


class Channel:
    """A file descriptor that one task reads and another writes. Closing it twice is no error."""

    def __init__(self, fd: int) -> None:
        os.set_blocking(fd, False)
        self.fd = fd
        self._waits: set[asyncio.Future[None]] = set()

    async def read(self, size: int = _CHUNK) -> bytes:
        """The next bytes; b"" at the end. The end of a terminal (EIO) is an end."""
        while self.fd >= 0:
            try:
                return os.read(self.fd, size)
            except BlockingIOError:
                await self._ready(write=False)
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
                await self._ready(write=True)
            except OSError as error:
                if error.errno == errno.EIO:
                    raise BrokenPipeError(errno.EPIPE, "terminal is gone") from None
                raise

    async def _ready(self, *, write: bool) -> None:
        """Returns when there is something to read or room to write, or the channel is closed."""
        loop, fd = asyncio.get_running_loop(), self.fd
        future: asyncio.Future[None] = loop.create_future()
        self._waits.add(future)
        (loop.add_writer if write else loop.add_reader)(fd, _wake, future)
        try:
            await future
        finally:
            self._waits.discard(future)
            if self.fd == fd:  # once closed, the number may be another file's
                (loop.remove_writer if write else loop.remove_reader)(fd)

    def close(self) -> None:
        if self.fd >= 0:
            loop = asyncio.get_running_loop()
            loop.remove_reader(self.fd)
            loop.remove_writer(self.fd)
            os.close(self.fd)
            self.fd = -1
            for future in self._waits:
                _wake(future)


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


async def wait_process(process: subprocess.Popen[bytes]) -> int:
    """The exit code, as Popen gives it."""
    if process.poll() is None:
        loop, ended = asyncio.get_running_loop(), asyncio.Event()
        fd = os.pidfd_open(process.pid)
        loop.add_reader(fd, ended.set)
        try:
            await ended.wait()
        finally:
            loop.remove_reader(fd)
            os.close(fd)
    return process.wait()
