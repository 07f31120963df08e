"""Writes an image of one layer as an OCI archive. Same input, same bytes."""

from __future__ import annotations

import hashlib
import io
import os
import stat
import tarfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from podwright.runtime import atomic
from podwright.runtime.images.layouts import architecture

_EPOCH = "1970-01-01T00:00:00Z"


@dataclass
class Layer:
    """The files of an image, by path without a leading slash. Everything belongs to root unless told otherwise."""

    _entries: dict[str, tuple[tarfile.TarInfo, bytes]] = field(default_factory=dict)

    def directory(self, path: str, *, mode: int = 0o755, uid: int = 0, gid: int = 0) -> None:
        info = tarfile.TarInfo(path)
        info.type = tarfile.DIRTYPE
        info.mode, info.uid, info.gid = mode, uid, gid
        self._parents(path)
        self._entries[path] = (info, b"")

    def file(self, path: str, data: bytes, *, mode: int = 0o644) -> None:
        info = tarfile.TarInfo(path)
        info.size, info.mode = len(data), mode
        self._parents(path)
        self._entries[path] = (info, data)

    def host_file(self, path: str, source: Path) -> None:
        """A file of the host under the same permissions; a link is followed."""
        self.file(path, source.read_bytes(), mode=stat.S_IMODE(os.stat(source).st_mode) & 0o755)

    def hardlink(self, path: str, target: str) -> None:
        info = tarfile.TarInfo(path)
        info.type, info.linkname, info.mode = tarfile.LNKTYPE, target, 0o755
        self._parents(path)
        self._entries[path] = (info, b"")

    def symlink(self, path: str, target: str) -> None:
        info = tarfile.TarInfo(path)
        info.type, info.linkname, info.mode = tarfile.SYMTYPE, target, 0o777
        self._parents(path)
        self._entries[path] = (info, b"")

    def __contains__(self, path: str) -> bool:
        return path in self._entries

    def _parents(self, path: str) -> None:
        parent = path.rpartition("/")[0]
        if parent and parent not in self._entries:
            self.directory(parent)

    def tar(self) -> bytes:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
            links = [p for p, (info, _) in self._entries.items() if info.type == tarfile.LNKTYPE]
            for path in [*sorted(p for p in self._entries if p not in set(links)), *sorted(links)]:
                info, data = self._entries[path]
                archive.addfile(info, io.BytesIO(data))
        return buffer.getvalue()


def write_archive(target: Path, reference: str, layer: Layer, config: dict[str, Any]) -> None:
    """Writes the OCI archive; `config` is the image configuration's "config" object."""
    tar = layer.tar()
    layer_digest = _digest(tar)
    blobs = [tar]
    image = orjson.dumps(
        {
            "architecture": architecture(),
            "os": "linux",
            "created": _EPOCH,
            "config": config,
            "rootfs": {"type": "layers", "diff_ids": [layer_digest]},
            "history": [{"created": _EPOCH, "created_by": "podwright setup"}],
        },
        option=orjson.OPT_SORT_KEYS,
    )
    blobs.append(image)
    manifest = orjson.dumps(
        {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": _descriptor("application/vnd.oci.image.config.v1+json", image),
            "layers": [_descriptor("application/vnd.oci.image.layer.v1.tar", tar)],
        }
    )
    blobs.append(manifest)
    index = orjson.dumps(
        {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": [
                _descriptor("application/vnd.oci.image.manifest.v1+json", manifest)
                | {
                    "platform": {"architecture": architecture(), "os": "linux"},
                    "annotations": {
                        "io.containerd.image.name": reference,
                        "org.opencontainers.image.ref.name": reference.rpartition(":")[2],
                    },
                }
            ],
        }
    )
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        files = {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}', "index.json": index}
        files |= {f"blobs/sha256/{_digest(blob).removeprefix('sha256:')}": blob for blob in blobs}
        for name in sorted(files):
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(files[name]), 0o644
            archive.addfile(info, io.BytesIO(files[name]))
    atomic.write(target, buffer.getvalue(), mode=0o644)


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _descriptor(media_type: str, data: bytes) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": _digest(data), "size": len(data)}
