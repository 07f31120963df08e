"""The image service: names of one cluster over the machine's content store."""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from podwright.runtime.images import reference as references_grammar
from podwright.runtime.images.content import ContentStore, StoredImage
from podwright.runtime.images.layouts import (
    BadArchive,
    Candidate,
    DirectorySource,
    Source,
    oci_candidates,
    open_archive,
)
from podwright.runtime.images.pull import fetch, resolve
from podwright.runtime.images.reference import InvalidReference, Reference
from podwright.runtime.images.references import Entry, References
from podwright.runtime.images.unpack import BadLayer
from podwright.runtime.protocol import (
    FilesystemUsage,
    Image,
    ImagePullFailure,
    NoSuchThing,
    RegistryAuth,
    RuntimeFailure,
)


class ImageStore:
    """Implements :class:`podwright.runtime.protocol.ImageService`.

    `root` is the content store that all clusters of the machine share, `references` this cluster's own file of names.
    Any number of processes may use both at the same time.
    """

    def __init__(self, root: Path, references: Path, *, pull_timeout: float = 3600.0) -> None:
        self.content = ContentStore(root)
        self._references = References(references)
        self._pull_timeout = pull_timeout
        self._pulls: dict[str, asyncio.Lock] = {}
        self._prepared = False

    def _prepare(self) -> None:
        if not self._prepared:
            self.content.prepare(self._references.path)
            self._prepared = True

    async def load_archive(self, path: Path) -> list[str]:
        """Loads every image of an OCI or docker archive; gives their full references (the id of one without).

        Raises:
            RuntimeFailure: the file is not there, no image archive, or damaged.
        """
        return await asyncio.to_thread(self._load_archive, path)

    def _load_archive(self, path: Path) -> list[str]:
        self._prepare()
        loaded: list[str] = []
        try:
            with self.content.locked(), open_archive(path) as (source, candidates):
                if not candidates:
                    raise BadArchive(f"{path} has no image in it")
                for candidate in candidates:
                    loaded += self._keep(source, candidate)
        except (BadArchive, BadLayer, InvalidReference, KeyError, TypeError) as error:
            raise RuntimeFailure(f"cannot load {path}: {error}") from None
        except OSError as error:
            raise RuntimeFailure(f"cannot load {path}: {error.strerror or error}") from None
        return loaded

    def _keep(self, source: Source, candidate: Candidate) -> list[str]:
        image_id = self.content.add(source, candidate)
        names = [references_grammar.parse(text) for text in candidate.references if ":" in text or "/" in text]
        digest = candidate.index_digest or candidate.manifest_digest
        self._name(image_id, digest, names)
        return [str(name) for name in names] or [image_id]

    def _name(self, image_id: str, digest: str, names: Sequence[Reference]) -> None:
        def edit(entries: dict[str, Entry]) -> None:
            for name in names:
                entries[str(name)] = Entry(image_id, digest)
            if not names:
                entries[image_id] = Entry(image_id, digest)

        self._references.change(edit)

    async def tag(self, source: str, target: str) -> None:
        """Gives an image another name. Raises NoSuchThing or RuntimeFailure (the new name is none)."""
        try:
            new = references_grammar.parse(target)
        except InvalidReference as error:
            raise RuntimeFailure(str(error), "InvalidImageName") from None
        entry = await asyncio.to_thread(self._find, source)
        if entry is None:
            raise NoSuchThing(f'image "{source}" not found')
        await asyncio.to_thread(self._name, entry.image, entry.digest, [new])

    async def collect(self) -> int:
        """Deletes images without a name in any cluster; gives the bytes freed. What a container uses stays."""
        self._prepare()
        return await asyncio.to_thread(self.content.collect)

    def _find(self, text: str) -> Entry | None:
        entries = self._references.read()
        if text in entries:
            return entries[text]
        try:
            wanted = references_grammar.parse(text)
        except InvalidReference:
            wanted = None
        if wanted is not None:
            if str(wanted) in entries:
                return entries[str(wanted)]
            if wanted.digest:
                for name, entry in entries.items():
                    if entry.digest == wanted.digest and name.startswith(f"{wanted.name}:"):
                        return entry
        prefix = text.removeprefix("sha256:")
        if len(prefix) >= 12 and prefix.isalnum():
            matching = {e.image: e for e in entries.values() if e.image.removeprefix("sha256:").startswith(prefix)}
            if len(matching) == 1:
                return next(iter(matching.values()))
        return None

    async def list_images(self) -> Sequence[Image]:
        return await asyncio.to_thread(self._list)

    def _list(self) -> list[Image]:
        entries = self._references.read()
        ids = dict.fromkeys(entry.image for entry in entries.values())
        stored = (self.content.image(image_id) for image_id in ids)
        return [self._describe(image, entries) for image in stored if image is not None]

    def status(self, reference: str) -> Image | None:
        """:meth:`image_status` for callers in a thread: reads small files only."""
        entry = self._find(reference)
        image = self.content.image(entry.image) if entry is not None else None
        return self._describe(image, self._references.read()) if image is not None else None

    async def image_status(self, reference: str) -> Image | None:
        return self.status(reference)

    @staticmethod
    def _describe(image: StoredImage, entries: dict[str, Entry]) -> Image:
        tags, digests = [], dict[str, None]()
        for name, entry in entries.items():
            if entry.image != image.id or name == image.id:
                continue
            repository = name.partition("@")[0] if "@" in name else name.rpartition(":")[0]
            if "@" not in name:
                tags.append(name)
            if entry.digest:
                digests[f"{repository}@{entry.digest}"] = None
        config = image.config.get("config") or {}
        return Image(
            id=image.id, repo_tags=tuple(tags), repo_digests=tuple(digests), size=image.size,
            user=str(config.get("User") or ""), config=config,
        )

    async def pull_image(self, reference: str, auth: RegistryAuth | None = None) -> str:
        try:
            wanted = references_grammar.parse(reference)
        except InvalidReference as error:
            raise ImagePullFailure(str(error), "InvalidImageName") from None
        self._prepare()
        lock = self._pulls.setdefault(str(wanted), asyncio.Lock())
        async with lock:
            # The registry is asked in any case: it may have something newer, or nothing for these credentials.
            digest = await resolve(wanted, auth, self._pull_timeout)
            known = self._references.read().get(str(wanted))
            if known is not None and known.digest == digest and self.content.image(known.image) is not None:
                return known.image
            with (self.content.root / "lock").open("w") as held:
                await asyncio.to_thread(fcntl.flock, held.fileno(), fcntl.LOCK_SH)
                work = Path(tempfile.mkdtemp(dir=self.content.root / "tmp", prefix="pull."))
                try:
                    exact = replace(wanted, tag="", digest=digest)
                    await fetch(exact, work / "layout", auth, self._pull_timeout)
                    return await asyncio.to_thread(self._import, wanted, digest, work / "layout")
                except (BadArchive, BadLayer, KeyError, TypeError) as error:
                    raise ImagePullFailure(
                        f'failed to pull and unpack image "{wanted}": {error}', "ErrImagePull"
                    ) from None
                finally:
                    await asyncio.to_thread(shutil.rmtree, work, ignore_errors=True)

    def _import(self, wanted: Reference, digest: str, layout: Path) -> str:
        source = DirectorySource(layout)
        candidates = oci_candidates(source)
        if len(candidates) != 1:
            raise BadArchive(f"expected one image, found {len(candidates)}")
        image_id = self.content.add(source, candidates[0])
        self._name(image_id, digest, [wanted])
        return image_id

    async def remove_image(self, reference: str) -> None:
        """Takes the names away (all of them, if given an id) and deletes what nobody else names. Idempotent."""
        await asyncio.to_thread(self._remove, reference)

    def _remove(self, text: str) -> None:
        entry = self._find(text)
        if entry is None:
            return
        by_id = entry.image.startswith((text, f"sha256:{text}"))

        def edit(entries: dict[str, Entry]) -> None:
            if by_id:
                for name in [n for n, e in entries.items() if e.image == entry.image]:
                    del entries[name]
            else:
                entries.pop(text, None)
                entries.pop(str(references_grammar.parse(text)), None)

        self._references.change(edit)
        self._prepare()
        self.content.collect()

    async def filesystem_usage(self) -> FilesystemUsage:
        return await asyncio.to_thread(self._usage)

    def _usage(self) -> FilesystemUsage:
        self._prepare()
        used = sum(int(path.read_text()) for path in self.content.layers.glob("*.size"))
        inodes = os.statvfs(self.content.root)
        return FilesystemUsage(str(self.content.root), used, inodes.f_files - inodes.f_ffree)

