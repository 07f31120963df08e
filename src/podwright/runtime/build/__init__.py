"""Images made from Debian packages of this host, for machines that reach no registry."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from podwright.runtime.build import busybox, web
from podwright.runtime.build.busybox import CannotBuild

__all__ = ["IMAGES", "BuiltImage", "CannotBuild", "build_all"]


@dataclass(frozen=True, slots=True)
class BuiltImage:
    file_name: str
    reference: str
    build: Callable[[Path], None]


IMAGES = (
    BuiltImage(busybox.FILE_NAME, busybox.REFERENCE, busybox.build_busybox),
    BuiltImage(web.FILE_NAME, web.REFERENCE, web.build_web),
)


def build_all(directory: Path) -> list[Path]:
    """Builds into `directory` what is not there; gives the paths of all. Raises CannotBuild."""
    directory.mkdir(parents=True, exist_ok=True)
    for image in IMAGES:
        if not (directory / image.file_name).exists():
            image.build(directory / image.file_name)
    return [directory / image.file_name for image in IMAGES]
