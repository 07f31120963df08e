"""Deletes image content that no cluster of the machine refers to any more."""

from __future__ import annotations

import asyncio

from podwright.cluster.layout import IMAGES
from podwright.cluster.registry import Registry
from podwright.runtime.images.store import ImageStore


def collect_images() -> int:
    """Gives how many bytes were freed."""
    clusters = Registry().clusters()
    references = [layout.image_references for layout in clusters.values()]
    store = ImageStore(IMAGES, references[0] if references else IMAGES / "no-references.json")
    return asyncio.run(store.collect())
