"""The few threads that do what blocks: mounts, files, starting processes.

Each lives in the mount namespace in which the low-level runtime works (see :mod:`engine`) and, under cgroup v1, in
conmon's control group: the processes they start are born there, which costs nothing, while moving one afterwards costs
milliseconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ParamSpec, TypeVar

from podwright.runtime import linux
from podwright.runtime.oci import namespaces
from podwright.runtime.oci.cgroups import Cgroups

P = ParamSpec("P")
T = TypeVar("T")


class Workers:
    def __init__(self, *, size: int, mount_namespace: Path | None, cgroups: Cgroups, cgroup: str) -> None:
        self._mount_namespace = mount_namespace
        self._cgroups = cgroups
        self._cgroup = cgroup
        self._pool = ThreadPoolExecutor(size, thread_name_prefix="runtime", initializer=self._enter)

    def _enter(self) -> None:
        linux.unshare(linux.CLONE_FS)
        if self._mount_namespace is not None:
            namespaces.enter(self._mount_namespace, "mnt")
        self._cgroups.enter(self._cgroup)

    async def run(self, work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Runs `work` in one of the threads. Cancellation does not stop it: it runs to its end, which is awaited, so
        that nobody cleans up under its hands."""
        future = asyncio.wrap_future(self._pool.submit(work, *args, **kwargs))
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            if not future.done():
                await asyncio.wait([future])
            raise

    def close(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)
