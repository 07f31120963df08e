"""The images that ``podwright setup`` builds, and that every cluster knows without a load."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from podwright.cluster.layout import ARCHIVES
from podwright.runtime.images.store import ImageStore


def _images() -> list[tuple[str, str, Callable[[Path], None]]]:
    """(file name, reference, builder)."""
    from podwright.runtime.build import busybox

    return [(busybox.FILE_NAME, busybox.REFERENCE, busybox.build_busybox)]


def build_missing(directory: Path = ARCHIVES) -> Iterator[str]:
    """Builds what is not there; gives the reference of each before it is built."""
    directory.mkdir(parents=True, exist_ok=True)
    for file, reference, build in _images():
        target = directory / file
        if not target.exists():
            yield reference
            unfinished = target.with_suffix(f".{os.getpid()}.tmp")
            try:
                build(unfinished)
                unfinished.replace(target)
            finally:
                unfinished.unlink(missing_ok=True)


async def load(store: ImageStore, directory: Path = ARCHIVES) -> None:
    """Makes the built images known to a cluster; costs next to nothing if they are."""
    known = {tag for image in await store.list_images() for tag in image.repo_tags}
    for file, reference, _ in _images():
        if reference not in known and (directory / file).exists():
            await store.load_archive(directory / file)
