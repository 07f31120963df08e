"""How fast the disk behind the data directory is: what a node advertises as podwright.io/disk-*.

The probe is short: at most a quarter of a second and 16 MiB for each of four figures, with direct I/O on a file
without a name, so that nothing is left of it however it ends. Operations are counted with sixteen under way. Of three
probes the best counts: one that somebody else's load fell into says what the disk gave at that moment, not what it can.
"""

from __future__ import annotations

import fcntl
import json
import mmap
import os
import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

_SIZE = 16 << 20
_BLOCK = 1 << 20
_PAGE = 4096
_SECONDS = 0.25
_DEPTH = 16
_PROBES = 3

NAMES = tuple(f"podwright.io/disk-{what}" for what in ("read-bps", "write-bps", "read-iops", "write-iops"))


def measure(directory: Path, probe: Callable[[Path], tuple[float, ...]] | None = None) -> dict[str, str]:
    """Blocks for up to three seconds. OSError where the filesystem has no direct I/O (or files without names)."""
    best = [max(found) for found in zip(*((probe or _probe)(directory) for _ in range(_PROBES)), strict=True)]
    return {name: str(max(1, int(amount))) for name, amount in zip(NAMES, best, strict=True)}


def _probe(directory: Path) -> tuple[float, ...]:
    """Bytes read and written, operations read and written, each a second."""
    fd = os.open(directory, os.O_TMPFILE | os.O_RDWR | os.O_DIRECT, 0o600)
    try:
        # Anonymous mappings are aligned to pages, as direct I/O demands.
        with mmap.mmap(-1, _BLOCK) as block, mmap.mmap(-1, _PAGE) as page:
            block.write(random.randbytes(_BLOCK))
            blocks = [n * _BLOCK for n in range(_SIZE // _BLOCK)]
            write = _rate(lambda at: os.pwritev(fd, [block], at), blocks)
            # Time may have ended before the file was whole: only what is there is read.
            written = os.fstat(fd).st_size
            read = _rate(lambda at: os.preadv(fd, [block], at), [at for at in blocks if at < written])
            pages = random.sample(range(0, written, _PAGE), written // _PAGE)
            reads = _rate_at_depth(lambda at: os.preadv(fd, [page], at), pages)
            writes = _rate_at_depth(lambda at: os.pwritev(fd, [page], at), pages)
    finally:
        os.close(fd)
    return read * _BLOCK, write * _BLOCK, reads, writes


def _rate(operation: Callable[[int], int], offsets: list[int]) -> float:
    """Operations per second."""
    start = time.perf_counter()
    done = 0
    for at in offsets:
        operation(at)
        done += 1
        if time.perf_counter() - start >= _SECONDS:
            break
    return done / max(time.perf_counter() - start, 1e-9)


def _rate_at_depth(operation: Callable[[int], int], offsets: list[int]) -> float:
    with ThreadPoolExecutor(_DEPTH) as pool:
        return sum(pool.map(lambda n: _rate(operation, offsets[n::_DEPTH]), range(_DEPTH)))


def _device(directory: Path) -> str:
    number = directory.stat().st_dev
    return f"{os.major(number)}:{os.minor(number)}"


def cached(cache: Path, directory: Path) -> dict[str, str] | None:
    """What was measured before on the device behind `directory`; None if nothing (readable) was."""
    try:
        found = json.loads(cache.read_text())[_device(directory)]
        return {name: str(int(found[name])) for name in NAMES}
    except (OSError, ValueError, KeyError, TypeError):
        return None


def measured_once(cache: Path, directory: Path, *, anew: bool = False) -> dict[str, str]:
    """The cached figures, or new ones (`anew`: always) that are cached then. Blocks: several nodes of one machine
    measure one after the other, which means that the first one does. OSError as :func:`measure`."""
    with cache.with_name(f"{cache.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        found = None if anew else cached(cache, directory)
        if found is None:
            found = measure(directory)
            new = cache.with_name(f"{cache.name}.new")
            new.write_text(json.dumps({_device(directory): found}))
            new.replace(cache)
        return found
