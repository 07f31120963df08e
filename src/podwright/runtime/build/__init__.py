"""Images made from Debian packages of this host, for machines that reach no registry."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from podwright.runtime.build import busybox, web
from podwright.runtime.build.busybox import CannotBuild

__all__ = ["IMAGES", "BuiltImage", "CannotBuild"]


@dataclass(frozen=True, slots=True)
class BuiltImage:
    file_name: str
    reference: str
    build: Callable[[Path], None]


IMAGES = (
    BuiltImage(busybox.FILE_NAME, busybox.REFERENCE, busybox.build_busybox),
    BuiltImage(web.FILE_NAME, web.REFERENCE, web.build_web),
)
