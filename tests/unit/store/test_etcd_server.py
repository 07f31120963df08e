"""What the etcd store does with real members: TLS, key layout, lost members and connections."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from grpclib.exceptions import StreamTerminatedError
from tests.unit.store.certificates import Authority
from tests.unit.store.etcd_server import EtcdMember, etcd_cluster, free_ports, joined

from podwright.store.etcd import EtcdStore
from podwright.store.etcd_messages import (
    PutRequest,
    RangeRequest,
    RangeResponse,
    RequestOp,
    TxnRequest,
    TxnResponse,
    encode,
)
from podwright.store.protocol import Change, Compacted, Entry, KeyExists, Store, StoreUnavailable, ValueTooLarge, Watch
from podwright.store.urls import open_store


async def follow(watch: Watch, count: int) -> list[Change]:
    changes: list[Change] = []
    async with asyncio.timeout(60):
        async for batch in watch:
            changes += batch
            if len(changes) >= count:
                break
    return changes


def cluster_store(members: list[EtcdMember], **options: float) -> EtcdStore:
    return EtcdStore([("127.0.0.1", member.port) for member in members], **options)  # type: ignore[arg-type]


async def test_tls_with_client_certificates(fast_directory: Path) -> None:
    authority = Authority(fast_directory, "ca")
    server, client = authority.issue("server"), authority.issue("client")
    stranger = Authority(fast_directory, "other-ca").issue("stranger")
    flags = [
        *("--cert-file", str(server.cert), "--key-file", str(server.key)),
        *("--client-cert-auth", "--trusted-ca-file", str(authority.cert)),
    ]
    async with etcd_cluster(fast_directory, 1, flags) as members:
        url = f"etcd://127.0.0.1:{members[0].port}?ca={authority.cert}"
        store = open_store(f"{url}&cert={client.cert}&key={client.key}")
        await store.open()
        watch = await store.watch("/registry/", after=1)
        await store.create("/registry/a", b"1")
        assert len(await follow(watch, 1)) == 1
        await store.close()
        refused = {
            "no client certificate": url,
            "a stranger's certificate": f"{url}&cert={stranger.cert}&key={stranger.key}",
            "a server we do not trust": url.replace("/ca.crt", "/other-ca.crt")
            + f"&cert={client.cert}&key={client.key}",
            "plain text": f"etcd://127.0.0.1:{members[0].port}",
        }
        for url in refused.values():
            with pytest.raises(StoreUnavailable):
                await open_store(url, patience=0.2).open()


async def test_unreadable_certificates_are_said(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="cannot use the certificates"):
        await open_store(f"etcd://127.0.0.1:1?ca={tmp_path}/none").open()


async def test_nobody_there_is_said_soon() -> None:
    (port,) = free_ports(1)
    with pytest.raises(StoreUnavailable, match="no member can be reached"):
        await asyncio.wait_for(open_store(f"etcd://127.0.0.1:{port}", patience=0.2).open(), 60)


async def test_keys_lie_as_kube_apiservers_do(fast_directory: Path) -> None:
    async with etcd_cluster(fast_directory, 1) as members:
        address = f"127.0.0.1:{members[0].port}"
        plain = open_store(f"etcd://{address}")
        await plain.open()
        await plain.create("/registry/pods/default/a", b"{}")
        raw = await plain._client.call(  # type: ignore[attr-defined]
            "/etcdserverpb.KV/Range", RangeRequest(b"/registry/pods/default/a"), RangeResponse, repeatable=True
        )
        assert [(kv.key, kv.value) for kv in raw.kvs] == [(b"/registry/pods/default/a", b"{}")]
        moved = open_store(f"etcd://{address}?prefix=/other/place")
        await moved.open()
        watch = await moved.watch("/registry/pods/", after=1)
        assert (await moved.list("/registry/")).entries == []
        assert (await moved.list("")).entries == []
        entry = await moved.create("/registry/pods/default/a", b"1")
        assert [e.key for e in (await moved.list("")).entries] == ["/registry/pods/default/a"]
        assert await moved.get("/registry/pods/default/a") == entry
        assert await follow(watch, 1) == [Change(entry.key, b"1", 3, None)]
        assert await plain.get("/other/place/pods/default/a") == Entry("/other/place/pods/default/a", b"1", 3)
        with pytest.raises(ValueError, match="not under /registry"):
            await moved.get("/elsewhere")
        await moved.close()
        await plain.close()


async def test_writes_of_others_in_one_transaction_come_in_one_batch(fast_directory: Path) -> None:
    async with etcd_cluster(fast_directory, 1) as members:
        store = cluster_store(members)
        await store.open()
        watch = await store.watch("/r/", after=1)
        puts = [RequestOp(put=PutRequest(b"/r/a", b"1")), RequestOp(put=PutRequest(b"/r/b", b"2"))]
        await store._client.call("/etcdserverpb.KV/Txn", TxnRequest([], puts), TxnResponse, repeatable=False)
        batch = await asyncio.wait_for(anext(aiter(watch)), 60)
        assert [(change.key, change.revision) for change in batch] == [("/r/a", 2), ("/r/b", 2)]
        await store.close()


async def test_a_value_that_is_too_large_is_said(fast_directory: Path) -> None:
    async with etcd_cluster(fast_directory, 1) as members:
        store = cluster_store(members)
        await store.open()
        with pytest.raises(ValueTooLarge):
            await store.create("/r/a", bytes(1_600_000))
        assert await store.revision() == 1
        await store.close()


async def test_a_long_list_comes_in_pages(fast_directory: Path) -> None:
    async with etcd_cluster(fast_directory, 1) as members:
        store = cluster_store(members)
        await store.open()
        for first in range(0, 2500, 100):
            await asyncio.gather(*(store.create(f"/r/{n:04}", b"x" * 1000) for n in range(first, first + 100)))
        page = await store.list("/r/")
        assert [entry.key for entry in page.entries] == [f"/r/{n:04}" for n in range(2500)]
        assert (page.more, page.remaining) == (False, 0)
        page = await store.list("/r/", limit=2100)
        assert (len(page.entries), page.more, page.remaining) == (2100, True, 400)
        await store.close()


async def test_a_slow_watch_holds_up_nobody(fast_directory: Path) -> None:
    async with etcd_cluster(fast_directory, 1) as members:
        store = cluster_store(members)
        await store.open()
        slow = await store.watch("/r/", after=1)
        for number in range(60):
            await store.create(f"/r/{number}", bytes(500_000))
        fast = await store.watch("/s/", after=await store.revision())
        await store.create("/s/a", b"")
        assert len(await follow(fast, 1)) == 1
        assert [change.revision for change in await follow(slow, 60)] == list(range(2, 62))
        await store.close()


async def test_a_watch_goes_on_after_its_member_comes_back(fast_directory: Path) -> None:
    async with etcd_cluster(fast_directory, 1) as members:
        store = cluster_store(members, patience=15.0)
        await store.open()
        watch = await store.watch("/r/", after=1)
        await store.create("/r/a", b"1")
        await store.create("/r/b", b"1")
        assert len(await follow(watch, 2)) == 2
        following = asyncio.ensure_future(follow(watch, 2))
        await asyncio.sleep(0)
        members[0].kill()
        members[0].start()
        entry = await store.get("/r/a")
        assert entry == Entry("/r/a", b"1", 2)
        await store.update("/r/a", b"2", expected=2)
        await store.delete("/r/b")
        assert await following == [
            Change("/r/a", b"2", 4, Entry("/r/a", b"1", 2)), Change("/r/b", None, 5, Entry("/r/b", b"1", 3)),
        ]
        await store.close()


async def test_a_watch_that_lost_its_member_for_too_long_is_told(fast_directory: Path) -> None:
    async with etcd_cluster(fast_directory, 1) as members:
        store = cluster_store(members, patience=0.3)
        await store.open()
        watch = await store.watch("/r/", after=1)
        members[0].kill()
        with pytest.raises(StoreUnavailable):
            await follow(watch, 1)
        with pytest.raises(StoreUnavailable):
            await store.create("/r/a", b"")
        await store.close()


async def test_a_watch_that_compaction_overtook_while_it_was_cut_off(fast_directory: Path) -> None:
    async with etcd_cluster(fast_directory, 1) as members:
        store, other = cluster_store(members, patience=15.0), cluster_store(members, patience=15.0)
        await store.open()
        watch = await store.watch("/r/", after=1)
        entry = await store.create("/r/a", b"")
        assert len(await follow(watch, 1)) == 1
        await store.create("/r/a/b", b"")
        members[0].kill()
        members[0].start()
        await other.open()
        for _ in range(5):
            entry = await other.update("/r/a", b"", expected=entry.revision)
        await other.compact(entry.revision)
        with pytest.raises(Compacted):
            await follow(watch, 10)
        await other.close()
        await store.close()


async def test_notices_of_progress_keep_a_watch_ahead_of_compaction(fast_directory: Path) -> None:
    async with etcd_cluster(fast_directory, 1, ["--experimental-watch-progress-notify-interval", "50ms"]) as members:
        store, other = cluster_store(members, patience=15.0), cluster_store(members, patience=15.0)
        await store.open()
        await other.open()
        watch = await store.watch("/r/", after=1)
        following = asyncio.ensure_future(follow(watch, 1))
        entry = await other.create("/s/a", b"")
        for _ in range(5):
            entry = await other.update("/s/a", b"", expected=entry.revision)
        async with asyncio.timeout(60):
            while watch._given < entry.revision:  # type: ignore[attr-defined]
                await asyncio.sleep(0.01)
        members[0].kill()
        members[0].start()
        await other.compact(entry.revision)
        await other.create("/r/a", b"")
        assert [change.key for change in await following] == ["/r/a"]
        await other.close()
        await store.close()


class Work:
    """Creates one key after another and follows them by a watch, through whatever happens to the members."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.acknowledged: dict[str, int] = {}
        self.changes: list[Change] = []
        self._done = False

    async def write(self, name: str) -> None:
        number = 0
        while not self._done:
            key = f"/r/{name}/{number}"
            try:
                self.acknowledged[key] = (await self._store.create(key, b"x" * 100)).revision
            except StoreUnavailable:
                await asyncio.sleep(0.01)
                continue
            except KeyExists:
                pass  # the write before, of which nobody could tell, took effect
            number += 1

    async def watch(self) -> None:
        while True:
            watch = await self._store.watch("/r/", after=self.changes[-1].revision if self.changes else 1)
            try:
                async for batch in watch:
                    self.changes += batch
            except StoreUnavailable:
                continue
            finally:
                await watch.aclose()

    async def watched(self) -> None:
        """Waits until the watch has seen all that was acknowledged."""
        while not self.changes or self.changes[-1].revision < max(self.acknowledged.values()):
            await asyncio.sleep(0.005)

    async def until(self, count: int) -> None:
        """Waits for so many more acknowledged writes."""
        goal = len(self.acknowledged) + count
        while len(self.acknowledged) < goal:
            await asyncio.sleep(0.005)

    def stop(self) -> None:
        self._done = True

    def check(self) -> None:
        revisions = [change.revision for change in self.changes]
        assert revisions == sorted(set(revisions)), "a change was given twice, or out of order"
        seen = {change.key: change.revision for change in self.changes}
        assert len(seen) == len(self.changes), "a key was created twice"
        for key, revision in self.acknowledged.items():
            assert seen[key] == revision


@pytest.mark.parametrize("fault", ["kill", "pause"])
async def test_each_member_in_turn_fails_without_a_lost_write(fast_directory: Path, fault: str) -> None:
    async with etcd_cluster(fast_directory, 3) as members:
        store = cluster_store(members, request_timeout=0.7)
        await store.open()
        await joined(members)
        work = Work(store)
        async with asyncio.timeout(180), asyncio.TaskGroup() as tasks:
            writers = [tasks.create_task(work.write(name)) for name in ("a", "b", "c", "d")]
            watcher = tasks.create_task(work.watch())
            for member in members:
                await work.until(50)
                if fault == "kill":
                    member.kill()
                    await work.until(50)
                    member.start()
                    await member.ready()
                    await joined(members)
                else:
                    member.pause()
                    await work.until(50)
                    member.resume()
            await work.until(50)
            work.stop()
            await asyncio.wait(writers)
            await work.watched()
            watcher.cancel()
        work.check()
        assert {e.key for e in (await store.list("/r/")).entries} == {change.key for change in work.changes}
        await store.close()


async def test_a_write_without_an_answer_is_tried_again_and_takes_effect_once(fast_directory: Path) -> None:
    async with etcd_cluster(fast_directory, 1) as members:
        store = cluster_store(members)
        await store.open()
        client = store._client
        exchange, lost = client._exchange, 0

        async def forgetful(*arguments: Any) -> Any:
            """The first answer to each transaction is lost on its way."""
            nonlocal lost
            answer = await exchange(*arguments)
            if arguments[1].endswith("/Txn") and (lost := lost + 1) % 2:
                raise StreamTerminatedError("lost")
            return answer

        client._exchange = forgetful  # type: ignore[method-assign]
        made = await store.create("/registry/a", b"1")
        assert await store.get("/registry/a") == made
        changed = await store.update("/registry/a", b"2", expected=made.revision)
        assert await store.get("/registry/a") == changed
        assert (await store.revision()) == changed.revision == made.revision + 1
        lost = 1  # answers arrive now
        with pytest.raises(KeyExists):
            await store.create("/registry/a", b"2")

        async def overtaken(*arguments: Any) -> Any:
            if arguments[1].endswith("/Txn") and b"overtaken" in encode(arguments[2]):
                client._exchange = exchange  # type: ignore[method-assign]
                entry = await store.create("/registry/b", b"overtaken")
                await store.update("/registry/b", b"by another", expected=entry.revision)
                raise StreamTerminatedError("lost")
            return await exchange(*arguments)

        client._exchange = overtaken  # type: ignore[method-assign]
        with pytest.raises(StoreUnavailable, match="lost"):
            await store.create("/registry/b", b"overtaken")
        await store.close()


async def test_broken_connections_cancel_no_caller(fast_directory: Path) -> None:
    """Neither at once nor when a timeout that began before expires later."""
    async with etcd_cluster(fast_directory, 1) as members:
        store = cluster_store(members, patience=0.5)
        await store.open()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.5):
                reading = [asyncio.create_task(store.revision()) for _ in range(3)]
                members[0].pause()
                async with asyncio.timeout(1.2):
                    with pytest.raises(StoreUnavailable):
                        members[0].pause()
                        killing = asyncio.get_running_loop().call_later(0.1, members[0].kill)
                        await store.revision()
                killing.cancel()
                await asyncio.gather(*reading, return_exceptions=True)
                await asyncio.Event().wait()
        task = asyncio.current_task()
        assert task is not None and task.cancelling() == 0
        await store.close()
