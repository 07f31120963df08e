"""The machine's content store: image configurations, manifests, and layers unpacked once by digest.

    configs/HEX       image configuration, as it came
    manifests/HEX     manifest, as it came
    images/HEX.json   what we know of an image: its layers, size
    layers/NAME/      a layer's files; NAME is short, for overlayfs takes all of them in one page of options
    layers/empty/     the second layer of images that have only one
    users/HEX         the path of a cluster's references file: what it names is kept

All of it is read-only once it has its name: everything is made under tmp/ and renamed. The store's lock is held shared
while something is added and exclusively while what nobody needs is collected.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from podwright.runtime import atomic
from podwright.runtime.images.layouts import Candidate, Source
from podwright.runtime.images.references import References
from podwright.runtime.images.unpack import unpack_layer

EMPTY_LAYER = "empty"


@dataclass(frozen=True, slots=True)
class StoredImage:
    """`layers` are directory names below layers/, the lowest first. `config` is the whole configuration document."""

    id: str
    layers: tuple[str, ...]
    size: int
    created_at: float
    config: dict[str, Any]


def layer_name(diff_id: str) -> str:
    return diff_id.removeprefix("sha256:")[:24]


class ContentStore:
    """Everything here blocks; call it from a thread."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.layers = root / "layers"
        self._images: dict[str, StoredImage] = {}

    def prepare(self, references: Path) -> None:
        """Makes the directories and registers the references file of a cluster."""
        for name in ("configs", "manifests", "images", f"layers/{EMPTY_LAYER}", "users", "tmp"):
            (self.root / name).mkdir(parents=True, exist_ok=True)
        self.root.chmod(0o700)
        user = self.root / "users" / hashlib.sha256(str(references).encode()).hexdigest()[:24]
        if not user.exists():
            atomic.write(user, str(references).encode())
        with open(self.root / "lock", "w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return  # Somebody is at work: what a dead process left is cleared away another time.
            self._clear_unfinished()

    @contextmanager
    def locked(self, *, exclusive: bool = False) -> Iterator[None]:
        with open(self.root / "lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH)
            yield

    def add(self, source: Source, candidate: Candidate) -> str:
        """Keeps an image; layers that are there already are not read again. Gives its id. Call it under the lock."""
        names = []
        size = 0
        for layer, diff_id in zip(candidate.layers, candidate.diff_ids, strict=True):
            name = layer_name(diff_id)
            meta = self.root / "layers" / f"{name}.size"
            if not (self.layers / name).is_dir():
                with source.open(layer.place) as stream:
                    self._unpack(stream, name, layer.digest, diff_id, layer.media_type)
            size += int(meta.read_text())
            names.append(name)
        image_id = candidate.image_id
        hexdigest = image_id.removeprefix("sha256:")
        atomic.write(self.root / "configs" / hexdigest, candidate.config)
        if candidate.manifest:
            manifest = candidate.manifest_digest.removeprefix("sha256:")
            atomic.write(self.root / "manifests" / manifest, candidate.manifest)
        atomic.write_json(
            self.root / "images" / f"{hexdigest}.json", {"layers": names, "size": size, "created": time.time()},
            durable=True,
        )
        return image_id

    def _unpack(self, stream: Any, name: str, digest: str, diff_id: str, media_type: str) -> None:
        work = Path(tempfile.mkdtemp(dir=self.root / "tmp", prefix=f"{name}."))
        try:
            tree = work / "tree"
            tree.mkdir()
            size = unpack_layer(stream, tree, digest=digest, diff_id=diff_id, media_type=media_type)
            atomic.write(self.layers / f"{name}.size", str(size).encode(), durable=True)
            try:
                os.rename(tree, self.layers / name)
            except OSError:
                if not (self.layers / name).is_dir():  # somebody else was as fast
                    raise
            atomic.sync_directory(self.layers)
        finally:
            shutil.rmtree(work, ignore_errors=True)

    def image(self, image_id: str) -> StoredImage | None:
        known = self._images.get(image_id)
        hexdigest = image_id.removeprefix("sha256:")
        if not hexdigest.isalnum():
            return None
        path = self.root / "images" / f"{hexdigest}.json"
        if known is not None and path.exists():
            return known
        try:
            facts = orjson.loads(path.read_bytes())
            config = orjson.loads((self.root / "configs" / hexdigest).read_bytes())
        except FileNotFoundError:
            self._images.pop(image_id, None)
            return None
        found = StoredImage(image_id, tuple(facts["layers"]), facts["size"], facts["created"], config)
        self._images[image_id] = found
        return found

    def lower_directories(self, image_id: str) -> Sequence[str]:
        """The image's layers as overlayfs wants them, the uppermost first, relative to :attr:`layers`."""
        image = self.image(image_id)
        if image is None:
            raise FileNotFoundError(f"image {image_id} is not in the store")
        return list(reversed(image.layers)) or [EMPTY_LAYER]

    def collect(self) -> int:
        """Deletes what no cluster's references name and no mounted container uses; gives the bytes freed."""
        with self.locked(exclusive=True):
            keep: set[str] = set()
            for user in (self.root / "users").iterdir():
                path = Path(user.read_text())
                if path.exists():
                    keep.update(entry.image for entry in References(path).read().values())
                elif not path.parent.exists():
                    user.unlink()
            used_layers = self._mounted_layers()
            for path in (self.root / "images").glob("*.json"):
                image_id = f"sha256:{path.stem}"
                image = self.image(image_id)
                if image_id in keep and image is not None:
                    used_layers.update(image.layers)
                else:
                    path.unlink()
                    (self.root / "configs" / path.stem).unlink(missing_ok=True)
                    self._images.pop(image_id, None)
            freed = 0
            for path in self.layers.glob("*.size"):
                if path.stem not in used_layers:
                    freed += int(path.read_text())
                    self._delete_layer(path.stem)
            self._clear_unfinished()
        return freed

    def _clear_unfinished(self) -> None:
        """What processes that died were about to make. Call it under the exclusive lock."""
        for left in (self.root / "tmp").iterdir():
            shutil.rmtree(left, ignore_errors=True)

    def _delete_layer(self, name: str) -> None:
        gone = Path(tempfile.mkdtemp(dir=self.root / "tmp"))
        try:
            os.rename(self.layers / name, gone / "tree")
        except FileNotFoundError:
            pass
        (self.layers / f"{name}.size").unlink()
        shutil.rmtree(gone)

    def _mounted_layers(self) -> set[str]:
        used: set[str] = set()
        with open("/proc/self/mountinfo") as file:
            for line in file:
                _, _, tail = line.partition(" - overlay ")
                for option in tail.split()[-1].split(",") if tail else ():
                    if option.startswith("lowerdir"):
                        used.update(part.rpartition("/")[2] for part in option.partition("=")[2].split(":"))
        return used
