"""The store in an etcd cluster, for control planes on many machines: etcd 3.4 and later, v3 gRPC API.

A revision is etcd's own; keys and values lie as a kube-apiserver with JSON storage puts them, so that either reads the
other's data.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from typing import TypeVar

from grpclib.const import Status
from grpclib.exceptions import GRPCError

from podwright.store.etcd_client import EtcdClient, describe
from podwright.store.etcd_keys import Keys, end_of_prefix
from podwright.store.etcd_messages import (
    CompactionRequest,
    CompactionResponse,
    Compare,
    DeleteRangeRequest,
    DeleteRangeResponse,
    KeyValue,
    Message,
    PutRequest,
    RangeRequest,
    RangeResponse,
    RequestOp,
    StatusRequest,
    StatusResponse,
    TxnRequest,
    TxnResponse,
)
from podwright.store.etcd_watch import EtcdWatch
from podwright.store.protocol import (
    Compacted,
    Entry,
    FutureRevision,
    KeyExists,
    KeyMissing,
    Page,
    RevisionMismatch,
    StoreUnavailable,
    ValueTooLarge,
    Watch,
)

_Reply = TypeVar("_Reply", bound=Message)

_RANGE = "/etcdserverpb.KV/Range"
_TXN = "/etcdserverpb.KV/Txn"
_DELETE = "/etcdserverpb.KV/DeleteRange"
_COMPACT = "/etcdserverpb.KV/Compact"
_STATUS = "/etcdserverpb.Maintenance/Status"

# What etcd says, from its api/v3rpc/rpctypes/error.go.
_IS_COMPACTED = "required revision has been compacted"
_IS_FUTURE = "required revision is a future revision"
_IS_TOO_LARGE = "request is too large"

_PAGE = 1000
"""Entries asked of etcd at a time, so that neither side holds a list of everything in one message."""


class EtcdStore:
    """See protocol.Store.

    Args:
        endpoints: host and port of each member; one that fails is left for the next.
        ca: file of the certificates that the members' are checked against.
        cert, key: files of our client certificate. Without `ca` and `cert` the connection is plain text.
        prefix: where the keys that begin with ``/registry`` lie, see :class:`podwright.store.etcd_keys.Keys`.
        request_timeout: seconds until a member that does not answer is left for the next.
        patience: seconds for which everything but a delete that may have taken effect is tried again.
    """

    def __init__(
        self, endpoints: Sequence[tuple[str, int]], *, ca: str | None = None, cert: str | None = None,
        key: str | None = None, prefix: str = "/registry", request_timeout: float = 1.0, patience: float = 5.0,
    ) -> None:
        """Raises ValueError."""
        if not endpoints:
            raise ValueError("etcd: no endpoints")
        if (cert is None) != (key is None):
            raise ValueError("etcd: cert and key go together")
        self._endpoints = list(endpoints)
        self._files = (ca, cert, key)
        self._keys = Keys(prefix)
        self._request_timeout = request_timeout
        self._patience = patience
        self._watches: set[EtcdWatch] = set()
        self._opened: EtcdClient | None = None

    async def open(self) -> None:
        """Raises StoreUnavailable: no member answers, or the files of the certificates cannot be read."""
        tls = await asyncio.to_thread(_tls_context, *self._files) if any(self._files) else None
        self._opened = EtcdClient(
            self._endpoints, tls=tls, request_timeout=self._request_timeout, patience=self._patience
        )
        try:
            await self.revision()
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        client, self._opened = self._opened, None
        if client is None:
            return
        for watch in list(self._watches):
            watch.fail(StoreUnavailable("etcd: the store is closed"))
            await watch.aclose()
        client.close()

    @property
    def _client(self) -> EtcdClient:
        if self._opened is None:
            raise StoreUnavailable("etcd: the store is not open")
        return self._opened

    async def revision(self) -> int:
        return (await self._range(RangeRequest(key=self._keys.encode("/registry"), count_only=True))).header.revision

    async def get(self, key: str) -> Entry | None:
        response = await self._range(RangeRequest(key=self._keys.encode(key)))
        return self._entry(response.kvs[0]) if response.kvs else None

    async def list(self, prefix: str, *, start: str = "", limit: int = 0, revision: int = 0) -> Page:
        first = self._keys.encode(prefix)
        # etcd takes an empty key for none, and so the first one possible for the beginning.
        at = max(first, self._keys.encode(start) if start else b"") or b"\0"
        end = end_of_prefix(first)
        if end != b"\0" and at >= end:
            response = await self._range(RangeRequest(key=at, revision=revision, count_only=True))
            return Page([], revision or response.header.revision)
        entries: list[Entry] = []
        snapshot = revision
        while True:
            size = min(limit - len(entries), _PAGE) if limit else _PAGE
            response = await self._range(RangeRequest(key=at, range_end=end, limit=size, revision=snapshot))
            snapshot = snapshot or response.header.revision
            entries += [self._entry(kv) for kv in response.kvs]
            if not response.more or len(entries) == limit:
                break
            at = response.kvs[-1].key + b"\0"
        remaining = max(response.count - len(response.kvs), 0) if response.more else 0
        return Page(entries, snapshot, more=bool(response.more), remaining=remaining)

    async def create(self, key: str, value: bytes) -> Entry:
        revision, _ = await self._put(key, value, expected=0)
        if not revision:
            raise KeyExists(key)
        return Entry(key, value, revision)

    async def update(self, key: str, value: bytes, *, expected: int) -> Entry:
        if expected == 0:  # to etcd that would be the condition of a create
            raise _refusal(key, await self.get(key))
        revision, current = await self._put(key, value, expected=expected)
        if not revision:
            raise _refusal(key, current)
        return Entry(key, value, revision)

    async def delete(self, key: str, *, expected: int = 0) -> tuple[Entry, int]:
        name = self._keys.encode(key)
        request = DeleteRangeRequest(key=name, prev_kv=True)
        if not expected:
            deleted = await self._write(_DELETE, request, DeleteRangeResponse)
            revision = deleted.header.revision
        else:
            transaction = TxnRequest(
                [Compare(name, expected)], [RequestOp(delete_range=request)], [RequestOp(range=RangeRequest(key=name))]
            )
            response = await self._write(_TXN, transaction, TxnResponse)
            if not response.succeeded:
                raise _refusal(key, self._found(response))
            found = response.responses[0].delete_range
            assert found is not None
            deleted, revision = found, response.header.revision
        if not deleted.prev_kvs:
            raise KeyMissing(key)
        return self._entry(deleted.prev_kvs[0]), revision

    async def watch(self, prefix: str, *, after: int) -> Watch:
        watch = EtcdWatch(
            self._client, self._keys, prefix, after, patience=self._patience, on_close=self._watches.discard
        )
        self._watches.add(watch)
        try:
            await watch.open()
        except BaseException:
            await watch.aclose()
            raise
        return watch

    async def compact(self, revision: int) -> None:
        """Raises FutureRevision. etcd deletes in the background."""
        try:
            await self._client.call(_COMPACT, CompactionRequest(revision), CompactionResponse, repeatable=True)
        except GRPCError as error:
            if _says(error, _IS_COMPACTED):
                return  # by us or another server before
            raise await self._explain(error, revision) from error

    async def size(self) -> int:
        """Bytes of the database of the member in use."""
        return (await self._client.call(_STATUS, StatusRequest(), StatusResponse, repeatable=True)).db_size

    async def _range(self, request: RangeRequest) -> RangeResponse:
        try:
            return await self._client.call(_RANGE, request, RangeResponse, repeatable=True)
        except GRPCError as error:
            raise await self._explain(error, request.revision) from error

    async def _put(self, key: str, value: bytes, *, expected: int) -> tuple[int, Entry | None]:
        """The revision of the write, or 0 and what stands there instead.

        A write that got no answer is tried again: under its condition it takes effect once at most. If the condition
        fails then, the first attempt may be why: it is, if the very value stands there; else nobody can tell.
        """
        name = self._keys.encode(key)
        request = TxnRequest(
            [Compare(name, expected)], [RequestOp(put=PutRequest(name, value))],
            [RequestOp(range=RangeRequest(key=name))],
        )  # fmt: skip
        doubt: StoreUnavailable | None = None
        clock = asyncio.get_running_loop().time
        deadline = clock() + self._patience
        while True:
            try:
                response = await self._write(_TXN, request, TxnResponse)
            except ValueTooLarge:
                raise
            except StoreUnavailable as lost:
                if self._opened is None or clock() >= deadline:
                    raise
                doubt = lost
                continue
            if response.succeeded:
                return response.header.revision, None
            found = self._found(response)
            if doubt is None:
                return 0, found
            if found is None or found.value != value:
                raise doubt
            return found.revision, None

    async def _write(self, method: str, request: Message, reply: type[_Reply]) -> _Reply:
        try:
            return await self._client.call(method, request, reply, repeatable=False)
        except GRPCError as error:
            raise await self._explain(error, 0) from error

    async def _explain(self, error: GRPCError, revision: int) -> Exception:
        """What etcd's refusal means to the caller."""
        if _says(error, _IS_COMPACTED):
            return Compacted(await self._oldest())
        if _says(error, _IS_FUTURE):
            return FutureRevision(revision, await self.revision())
        if _says(error, _IS_TOO_LARGE):
            return ValueTooLarge(describe(error))
        return StoreUnavailable(f"etcd: {describe(error)}")

    async def _oldest(self) -> int:
        """The compacted revision. etcd tells it only to a watch that asks for what is gone."""
        watch = EtcdWatch(self._client, self._keys, "/registry", 1, patience=self._patience, on_close=lambda _: None)
        try:
            async with asyncio.timeout(self._request_timeout):
                await anext(aiter(watch))
        except Compacted as answer:
            return answer.oldest
        except (TimeoutError, StopAsyncIteration):
            pass
        finally:
            await watch.aclose()
        return await self.revision()

    def _found(self, response: TxnResponse) -> Entry | None:
        found = response.responses[0].range
        return self._entry(found.kvs[0]) if found is not None and found.kvs else None

    def _entry(self, kv: KeyValue) -> Entry:
        return Entry(self._keys.decode(kv.key), kv.value, kv.mod_revision)


def _refusal(key: str, current: Entry | None) -> Exception:
    return RevisionMismatch(current) if current is not None else KeyMissing(key)


def _says(error: GRPCError, words: str) -> bool:
    return error.status in (Status.OUT_OF_RANGE, Status.INVALID_ARGUMENT) and words in (error.message or "")


def _tls_context(ca: str | None, cert: str | None, key: str | None) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=ca)
        if cert is not None:
            context.load_cert_chain(cert, key)
    except (OSError, ssl.SSLError) as error:
        raise StoreUnavailable(f"etcd: cannot use the certificates {ca}, {cert}, {key}: {error}") from error
    context.set_alpn_protocols(["h2"])
    return context
