"""The runtime's images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from podwright.api.objects import Object
from podwright.runtime.cri import answers
from podwright.runtime.cri.calls import IMAGES, TIMEOUT, Calls
from podwright.runtime.protocol import (
    FilesystemUsage,
    Image,
    ImagePullFailure,
    NoSuchThing,
    RegistryAuth,
    RuntimeFailure,
)

_PULL_TIMEOUT = 3600.0


class CriImages:
    """Implements :class:`podwright.runtime.protocol.ImageService` over a CRI socket."""

    def __init__(self, socket: Path) -> None:
        self.socket = socket

    async def _call(self, method: str, request: Object | None = None, *, timeout: float = TIMEOUT) -> Object:
        """With a connection of its own: these calls are rare, and whoever asks need not close anything."""
        with Calls(self.socket) as call:
            return await call(method, request, service=IMAGES, timeout=timeout)

    async def list_images(self) -> Sequence[Image]:
        """Without their configurations, which CRI tells of single images only."""
        found = await self._call("ListImages")
        return [answers.image(image, {}) for image in found.get("images") or ()]

    async def image_status(self, reference: str) -> Image | None:
        answer = await self._call("ImageStatus", {"image": {"image": reference}, "verbose": True})
        found = answer.get("image")
        if not found:
            return None
        spec = answers.info(answer).get("imageSpec") or {}
        return answers.image(found, spec.get("config") or {})

    async def pull_image(self, reference: str, auth: RegistryAuth | None = None) -> str:
        request: Object = {"image": {"image": reference}}
        if auth is not None:
            request["auth"] = {
                "username": auth.username, "password": auth.password, "identity_token": auth.identity_token,
                "registry_token": auth.registry_token,
            }  # fmt: skip
        try:
            answer = await self._call("PullImage", request, timeout=_PULL_TIMEOUT)
            found = await self.image_status(answer.get("image_ref", ""))
        except (RuntimeFailure, TimeoutError) as failed:
            raise ImagePullFailure(str(failed), "ErrImagePull") from failed
        if found is None:
            raise ImagePullFailure(f"{reference} is not there after its pull", "ErrImagePull")
        return found.id

    async def remove_image(self, reference: str) -> None:
        try:
            await self._call("RemoveImage", {"image": {"image": reference}})
        except NoSuchThing:
            return

    async def filesystem_usage(self) -> FilesystemUsage:
        answer = await self._call("ImageFsInfo")
        (first, *_) = answer.get("image_filesystems") or [{}]
        return FilesystemUsage(
            (first.get("fs_id") or {}).get("mountpoint", "/"), (first.get("used_bytes") or {}).get("value", 0),
            (first.get("inodes_used") or {}).get("value", 0),
        )
