"""The images that ``podwright setup`` builds, and that every cluster knows without a load."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from podwright.cluster.layout import ARCHIVES
from podwright.runtime.build import IMAGES
from podwright.runtime.images.store import ImageStore


def build_missing(directory: Path = ARCHIVES) -> Iterator[str]:
    """Builds what is not there; gives the reference of each before it is built."""
    directory.mkdir(parents=True, exist_ok=True)
    for image in IMAGES:
        target = directory / image.file_name
        if not target.exists():
            yield image.reference
            unfinished = target.with_suffix(f".{os.getpid()}.tmp")
            try:
                image.build(unfinished)
                unfinished.replace(target)
            finally:
                unfinished.unlink(missing_ok=True)


async def load(store: ImageStore, directory: Path = ARCHIVES) -> None:
    """Makes the built images known to a cluster; costs next to nothing if they are."""
    known = {tag for image in await store.list_images() for tag in image.repo_tags}
    for image in IMAGES:
        if image.reference not in known and (directory / image.file_name).exists():
            await store.load_archive(directory / image.file_name)
