"""Connections to the members of an etcd cluster: which one to talk to, when to turn to another, what to try again.

A request that reached a member and got no answer may or may not have taken effect, so only reads are repeated; a write
is repeated only if it certainly was not proposed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from collections.abc import AsyncIterator, Coroutine, Sequence
from typing import Any, TypeVar, cast

from grpclib.client import Channel, Stream
from grpclib.config import Configuration
from grpclib.const import Cardinality, Status
from grpclib.exceptions import GRPCError, ProtocolError, StreamTerminatedError

from podwright.store.etcd_messages import Codec, Message
from podwright.store.protocol import StoreUnavailable

_log = logging.getLogger(__name__)
_Reply = TypeVar("_Reply", bound=Message)

CONNECTION_ERRORS = (OSError, StreamTerminatedError, ProtocolError, TimeoutError, AssertionError)
"""What grpclib raises when a connection breaks (AssertionError: in the middle of a message)."""

_NO_LEADER = "etcdserver: no leader"
# A member that has no leader says so at once instead of letting the call hang; that check comes before any proposal.
_METADATA = {"hasleader": "true"}
_MIB = 1024 * 1024
_CONFIGURATION = Configuration(
    # etcd ends connections that ping more often than every 5 s.
    _keepalive_time=6.0,
    _keepalive_timeout=2.0,
    _http2_max_pings_without_data=0,
    _http2_min_sent_ping_interval_without_data=5.5,
    # A watch that is not read must not use up the window of all other calls on the connection.
    http2_connection_window_size=256 * _MIB,
    http2_stream_window_size=4 * _MIB,
)


class EtcdClient:
    """Calls on whichever member answers.

    Args:
        endpoints: host and port of each member.
        tls: None for plain text.
        request_timeout: seconds until a member that does not answer is given up.
        patience: seconds for which a read, or a write that was not proposed, is tried again on other members.
    """

    def __init__(
        self, endpoints: Sequence[tuple[str, int]], *, tls: ssl.SSLContext | None, request_timeout: float,
        patience: float,
    ) -> None:
        self._names = [f"{host}:{port}" for host, port in endpoints]
        self._channels = [
            Channel(host, port, ssl=tls, codec=Codec(), config=_CONFIGURATION) for host, port in endpoints
        ]
        self._current = 0
        self._request_timeout = request_timeout
        self._patience = patience
        self._closed = False

    def close(self) -> None:
        """Ends every call."""
        self._closed = True
        for channel in self._channels:
            channel.close()

    async def call(self, method: str, request: Message, reply: type[_Reply], *, repeatable: bool) -> _Reply:
        """One request and its reply. `method` is the full gRPC name.

        Raises:
            GRPCError: etcd refused it for a reason that lies in the request.
            StoreUnavailable: no member answers, or (not `repeatable`) none did and the request may have taken effect.
        """
        pause = 0.02
        clock = asyncio.get_running_loop().time
        deadline = clock() + self._patience
        while True:
            proposed = False
            try:
                channel = await self.connected()
                proposed = True
                # grpclib's own deadline does not cover every wait, such as that for a connection that is being closed.
                async with asyncio.timeout(self._request_timeout):
                    return await _apart(self._exchange(channel, method, request, reply))
            except StoreUnavailable as error:
                problem: Exception = error
            except GRPCError as error:
                if error.status not in (Status.UNAVAILABLE, Status.DEADLINE_EXCEEDED, Status.CANCELLED):
                    raise
                problem = error
                proposed = error.message != _NO_LEADER
                self.turn_from(channel, error)
            except CONNECTION_ERRORS as error:
                problem = error
                self.turn_from(channel, error, hung=isinstance(error, TimeoutError))
            if self._closed or (proposed and not repeatable) or clock() + pause > deadline:
                raise StoreUnavailable(f"etcd: {describe(problem)}") from problem
            await asyncio.sleep(pause)
            pause = min(pause * 2, 0.5)

    async def _exchange(self, channel: Channel, method: str, request: Message, reply: type[_Reply]) -> _Reply:
        call: Stream[Message, _Reply] = channel.request(
            method, Cardinality.UNARY_UNARY, type(request), reply, timeout=self._request_timeout, metadata=_METADATA,
        )
        async with call:
            await call.send_message(request, end=True)
            message = await call.recv_message()
        assert message is not None
        return message

    @contextlib.asynccontextmanager
    async def stream(
        self, method: str, request: type[Message], reply: type[_Reply]
    ) -> AsyncIterator[Stream[Any, _Reply]]:
        """A call in which both sides send any number of messages."""
        channel = await self.connected()
        call = channel.request(method, Cardinality.STREAM_STREAM, request, reply, metadata=_METADATA)
        try:
            async with call:
                yield cast("Stream[Any, _Reply]", call)
        except CONNECTION_ERRORS as error:
            self.turn_from(channel, error)
            raise

    async def connected(self) -> Channel:
        """The connection in use, or else that of the first member that can be reached. Raises StoreUnavailable."""
        problem: Exception | None = None
        for _ in self._channels:
            if self._closed:
                raise StoreUnavailable("the store is closed")
            channel = self._channels[self._current]
            try:
                async with asyncio.timeout(self._request_timeout):
                    await channel.__connect__()
                return channel
            except (OSError, TimeoutError) as error:
                problem = error
                self.turn_from(channel, error)
        raise StoreUnavailable(f"no member can be reached, {describe(problem)}") from problem

    def turn_from(self, channel: Channel, problem: Exception, *, hung: bool = False) -> None:
        """Uses another member from now on. A connection that is `hung` is ended, with the calls and watches on it."""
        if self._closed:
            return
        if channel is self._channels[self._current] and len(self._channels) > 1:
            left = self._names[self._current]
            self._current = (self._current + 1) % len(self._channels)
            _log.warning("etcd: from %s to %s: %s", left, self._names[self._current], describe(problem))
        if hung:
            channel.close()


async def _apart(doing: Coroutine[None, None, _Reply]) -> _Reply:
    """In a task of its own. grpclib cancels the task that waits for a broken connection to wake it, and does not take
    that back: a timeout or task group of that task would then take itself for cancelled, and end it silently."""
    task = asyncio.ensure_future(doing)
    try:
        await asyncio.wait((task,))
    finally:
        if not task.done():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
    if task.cancelled():
        raise ConnectionAbortedError("the connection was ended")
    return task.result()


def describe(problem: Exception | None) -> str:
    """An error in a few words."""
    if isinstance(problem, GRPCError):
        return problem.message or problem.status.name
    if isinstance(problem, TimeoutError):
        return "no answer in time"
    return str(problem) or type(problem).__name__
