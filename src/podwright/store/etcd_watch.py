"""A watch on etcd that outlives the connection it runs on."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence

from grpclib.client import Stream
from grpclib.exceptions import GRPCError

from podwright.store.etcd_client import CONNECTION_ERRORS, EtcdClient, describe
from podwright.store.etcd_keys import Keys, end_of_prefix
from podwright.store.etcd_messages import EVENT_DELETE, Event, KeyValue, WatchCreateRequest, WatchRequest, WatchResponse
from podwright.store.protocol import Change, Compacted, Entry, StoreUnavailable

_METHOD = "/etcdserverpb.Watch/Watch"
_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.02, 0.5


class EtcdWatch:
    """See protocol.Watch. What is not read yet waits in etcd: HTTP/2 holds it back."""

    def __init__(
        self, client: EtcdClient, keys: Keys, prefix: str, after: int, *, patience: float,
        on_close: Callable[[EtcdWatch], None],
    ) -> None:
        self._client = client
        self._keys = keys
        self._prefix = keys.encode(prefix)
        self._given = after  # every change up to this revision was given, or there is none
        self._patience = patience
        self._on_close = on_close
        self._closed = asyncio.Event()
        self._error: StoreUnavailable | None = None
        self._resources: contextlib.AsyncExitStack | None = None
        self._stream: Stream[WatchRequest, WatchResponse] | None = None
        self._receiving: asyncio.Task[WatchResponse | None] | None = None

    async def open(self) -> None:
        """Waits until etcd has the watch: it then holds what comes after, even if nobody reads yet. Raises
        StoreUnavailable."""
        response = await self._receive()
        if response is not None and response.canceled:
            raise _refused(response)

    def __aiter__(self) -> AsyncIterator[Sequence[Change]]:
        return self

    async def __anext__(self) -> Sequence[Change]:
        while not self._closed.is_set():
            response = await self._receive()
            if response is None:
                break
            if response.canceled:
                raise _refused(response)
            changes = [self._change(event) for event in response.events if event.kv.mod_revision > self._given]
            if changes:
                self._given = changes[-1].revision
                return changes
            if not response.created and not response.events and response.watch_id >= 0:
                # A notice of progress: nothing was missed up to here. (Those with a negative id are older members'
                # answers to a request for progress, which may overtake events.)
                self._given = max(self._given, response.header.revision)
        if self._error is not None:
            raise self._error
        raise StopAsyncIteration

    async def _receive(self) -> WatchResponse | None:
        """The next response, from a new stream if the last one broke; None when the watch is closed."""
        pause = 0.0
        clock = asyncio.get_running_loop().time
        deadline = clock() + self._patience
        while True:
            try:
                if self._stream is None:
                    await self._connect()
                response = await self._next_response()
                if response is not None or self._closed.is_set():
                    return response
                problem: Exception = StoreUnavailable("etcd: the watch was ended")
            except (GRPCError, StoreUnavailable, *CONNECTION_ERRORS) as error:
                problem = error
            await self._disconnect()
            pause = min(max(pause * 2, _SHORTEST_PAUSE), _LONGEST_PAUSE)
            if clock() + pause > deadline:
                raise StoreUnavailable(f"etcd: watch: {describe(problem)}") from problem
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._closed.wait(), pause)
            if self._closed.is_set():
                return None

    async def _connect(self) -> None:
        # From the last change on, not after it: etcd refuses a start only if it is before the compacted revision, but
        # of the change at that revision the previous value, or if it is a delete the change itself, may be gone.
        request = WatchRequest(
            WatchCreateRequest(
                key=self._prefix or b"\0", range_end=end_of_prefix(self._prefix), start_revision=max(self._given, 1),
                progress_notify=True, prev_kv=True,
            )
        )
        async with contextlib.AsyncExitStack() as resources:
            stream = await resources.enter_async_context(self._client.stream(_METHOD, WatchRequest, WatchResponse))
            await stream.send_message(request)
            self._stream = stream
            self._resources = resources.pop_all()

    async def _next_response(self) -> WatchResponse | None:
        assert self._stream is not None
        # The task outlives a reader that is cancelled in the middle of a message.
        if self._receiving is None:
            self._receiving = asyncio.create_task(self._stream.recv_message())
        closing = asyncio.create_task(self._closed.wait())
        try:
            await asyncio.wait({self._receiving, closing}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            closing.cancel()
        if self._closed.is_set():
            return None
        receiving, self._receiving = self._receiving, None
        return receiving.result()

    async def _disconnect(self) -> None:
        receiving, self._receiving = self._receiving, None
        if receiving is not None:
            receiving.cancel()
            await asyncio.wait({receiving})
        resources, self._resources, self._stream = self._resources, None, None
        if resources is not None:
            # A call that is left by an exception is reset at once, otherwise grpclib waits for the server's end of it.
            with contextlib.suppress(_Left, GRPCError, *CONNECTION_ERRORS):
                await resources.__aexit__(_Left, _Left(), None)

    def _change(self, event: Event) -> Change:
        kv = event.kv
        previous = self._entry(event.prev_kv) if event.prev_kv is not None else None
        return Change(
            self._keys.decode(kv.key), None if event.type == EVENT_DELETE else kv.value, kv.mod_revision, previous
        )

    def _entry(self, kv: KeyValue) -> Entry:
        return Entry(self._keys.decode(kv.key), kv.value, kv.mod_revision)

    def fail(self, error: StoreUnavailable) -> None:
        """Ends the iteration with that error."""
        self._error = error
        self._closed.set()

    async def aclose(self) -> None:
        self._closed.set()
        self._on_close(self)
        await self._disconnect()


def _refused(response: WatchResponse) -> Exception:
    if response.compact_revision:
        return Compacted(response.compact_revision)
    return StoreUnavailable(f"etcd: watch refused: {response.cancel_reason}")


class _Left(Exception):
    """The watch needs its stream no more."""
