"""Measures the cluster store: durable creates a second by the number of callers, beside what the disk alone can do.

    python bench/store.py [--store sqlite:///path/store.db | etcd://…] [--seconds 3] [--keys 0] [--json]

The floor is one fdatasync after another of a file that grows by one value each time, on the disk of the store's file
(or of the working directory). `--keys` puts so many keys there first: the cost of a write should not depend on them.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import shutil
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import uvloop

from podwright.store.protocol import Store
from podwright.store.urls import open_store

VALUE_BYTES = 1500
CALLERS = (1, 32, 128)


def fdatasync_floor(directory: Path, seconds: float) -> dict[str, float]:
    """One writer, one sync a value."""
    path = directory / "fdatasync-floor"
    value = os.urandom(VALUE_BYTES)
    times = []
    fd = os.open(path, os.O_CREAT | os.O_WRONLY)
    try:
        end = time.perf_counter() + seconds
        while (start := time.perf_counter()) < end:
            os.write(fd, value)
            os.fdatasync(fd)
            times.append(time.perf_counter() - start)
    finally:
        os.close(fd)
        path.unlink()
    return summary(times, sum(times))


def summary(times: list[float], elapsed: float) -> dict[str, float]:
    cuts = statistics.quantiles(times, n=100)
    return {
        "per_second": round(len(times) / elapsed, 1), "p50_ms": round(cuts[49] * 1000, 3),
        "p99_ms": round(cuts[98] * 1000, 3), "worst_ms": round(max(times) * 1000, 3),
    }


def key(number: int) -> str:
    # Names as a workload makes them: spread over the order of the keys.
    return f"/registry/pods/default/web-{random.Random(number).getrandbits(64):016x}"


async def repeat(
    callers: int, seconds: float, call: Callable[[int], Awaitable[Any]], first: int
) -> tuple[dict[str, float], int]:
    """`callers` calls at a time; the numbers that `call` gets are all different."""
    times: list[float] = []
    number = first
    end = time.perf_counter() + seconds

    async def caller() -> None:
        nonlocal number
        while (start := time.perf_counter()) < end:
            mine = number
            number += 1
            await call(mine)
            times.append(time.perf_counter() - start)

    start, cpu = time.perf_counter(), time.thread_time()
    async with asyncio.TaskGroup() as tasks:
        for _ in range(callers):
            tasks.create_task(caller())
    result = summary(times, time.perf_counter() - start)
    result["loop_us"] = round((time.thread_time() - cpu) / len(times) * 1e6, 1)
    return result, number


async def measure(store: Store, seconds: float, keys: int) -> dict[str, Any]:
    value = os.urandom(VALUE_BYTES)
    number = 0

    async def create(mine: int) -> None:
        await store.create(key(mine), value)

    while number < keys:
        size = min(512, keys - number)
        await asyncio.gather(*(create(n) for n in range(number, number + size)))
        number += size
    results: dict[str, Any] = {}
    for callers in CALLERS:
        results[f"create, {callers} callers"], number = await repeat(callers, seconds, create, number)

    entries = {n: await store.get(key(n)) for n in random.sample(range(number), min(number, 1000))}
    names = list(entries)

    async def get(mine: int) -> None:
        await store.get(key(names[mine % len(names)]))

    results["get, 1 caller"], _ = await repeat(1, seconds / 2, get, 0)

    async def update(mine: int) -> None:
        name = names[mine % len(names)]
        entry = entries[name]
        assert entry is not None
        entries[name] = await store.update(entry.key, value, expected=entry.revision)

    results["update, 32 callers"], _ = await repeat(32, seconds / 2, update, 0)
    start = time.perf_counter()
    page = await store.list("/registry/pods/")
    results["list"] = {"entries": len(page.entries), "seconds": round(time.perf_counter() - start, 3)}
    start = time.perf_counter()
    await store.compact(page.revision)
    results["compact"] = {"seconds": round(time.perf_counter() - start, 3)}
    return results


async def main(url: str, seconds: float, keys: int) -> dict[str, Any]:
    store = open_store(url)
    await store.open()
    try:
        return await measure(store, seconds, keys)
    finally:
        await store.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else None)
    parser.add_argument("--store", help="an empty store (default: SQLite in a directory below the current one)")
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--keys", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    scratch = Path(tempfile.mkdtemp(prefix="bench-store-", dir="."))
    try:
        figures: dict[str, Any] = {"fdatasync, 1 caller": fdatasync_floor(scratch, options.seconds / 2)}
        store_url = options.store or f"sqlite://{scratch.resolve()}/store.db"
        figures |= uvloop.run(main(store_url, options.seconds, options.keys))
    finally:
        shutil.rmtree(scratch)
    if options.json:
        print(json.dumps(figures, indent=1))
    else:
        for name, figure in figures.items():
            print(f"{name:22}", "  ".join(f"{what} {amount:>9}" for what, amount in figure.items()))
