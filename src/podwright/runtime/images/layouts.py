"""Where images come from: OCI image layouts (a directory, or one in a tar) and docker archives.

A source gives named *candidates*; :func:`choose` goes down an index to the manifest for this machine.
"""

from __future__ import annotations

import hashlib
import platform
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Protocol

import orjson

from podwright.runtime.images.unpack import BadLayer

_INDEXES = {"application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json"}
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "ppc64le": "ppc64le", "s390x": "s390x"}
_MAX_DOCUMENT = 4 << 20


class BadArchive(Exception):
    """The file is no image archive, or a damaged one."""


def architecture() -> str:
    machine = platform.machine()
    return _ARCHITECTURES.get(machine, machine)


@dataclass(frozen=True, slots=True)
class Layer:
    """`place` is where the source keeps the blob; `digest` is "" where the source knows none."""

    place: str
    digest: str
    media_type: str


@dataclass(frozen=True, slots=True)
class Candidate:
    """One image of a source. `manifest_digest` is "" for docker archives. `index_digest` is what a name resolved to
    when that was a multi-platform index."""

    references: list[str]
    config: bytes
    layers: list[Layer]
    manifest: bytes = b""
    manifest_digest: str = ""
    index_digest: str = ""
    diff_ids: list[str] = field(default_factory=list)

    @property
    def image_id(self) -> str:
        return f"sha256:{hashlib.sha256(self.config).hexdigest()}"


class Source(Protocol):
    def open(self, place: str) -> IO[bytes]: ...


class DirectorySource:
    """An unpacked OCI layout."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def open(self, place: str) -> IO[bytes]:
        try:
            return (self._root / place).open("rb")
        except FileNotFoundError:
            raise BadArchive(f"{place} is missing from the image") from None


class TarSource:
    """A tar file, compressed or not."""

    def __init__(self, archive: tarfile.TarFile) -> None:
        self._archive = archive
        self._members = {member.name.removeprefix("./"): member for member in archive.getmembers()}

    def __contains__(self, place: str) -> bool:
        return place in self._members

    def open(self, place: str) -> IO[bytes]:
        member = self._members.get(place)
        stream = self._archive.extractfile(member) if member is not None else None
        if stream is None:
            raise BadArchive(f"{place} is missing from the image")
        return stream


@contextmanager
def open_archive(path: Path) -> Iterator[tuple[Source, list[Candidate]]]:
    """The images of an OCI or docker archive. Raises BadArchive."""
    try:
        with tarfile.open(path, "r:*") as archive:
            source = TarSource(archive)
            if "index.json" in source:
                yield source, oci_candidates(source)
            elif "manifest.json" in source:
                yield source, list(_docker_candidates(source))
            else:
                raise BadArchive(f"{path} is neither an OCI nor a docker image archive")
    except tarfile.TarError as error:
        raise BadArchive(f"{path}: {error}") from None


def oci_candidates(source: Source) -> list[Candidate]:
    """The images that an OCI layout's index.json names, each for this machine's platform."""
    index = _json(_read(source, "index.json"))
    found = []
    for descriptor in index.get("manifests") or []:
        annotations = descriptor.get("annotations") or {}
        reference = annotations.get("io.containerd.image.name") or annotations.get("org.opencontainers.image.ref.name")
        found.append(_resolve(source, descriptor, [reference] if reference else []))
    return found


def _resolve(source: Source, descriptor: dict[str, Any], references: list[str]) -> Candidate:
    raw = _blob(source, descriptor)
    document = _json(raw)
    index_digest = ""
    for _ in range(4):
        if document.get("mediaType", descriptor.get("mediaType")) not in _INDEXES and "layers" in document:
            break
        index_digest = index_digest or descriptor["digest"]
        descriptor = choose(document.get("manifests") or [])
        raw = _blob(source, descriptor)
        document = _json(raw)
    else:
        raise BadArchive("image index is nested too deeply")
    config = _blob(source, document["config"])
    layers = [Layer(_place(d["digest"]), d["digest"], str(d.get("mediaType", ""))) for d in document["layers"]]
    return _checked(
        Candidate(references, config, layers, raw, descriptor["digest"], index_digest, _diff_ids(config))
    )


def choose(descriptors: list[dict[str, Any]]) -> dict[str, Any]:
    """The entry of an index for this machine: linux, our architecture, the plainest variant first."""
    wanted = architecture()
    fitting = []
    for descriptor in descriptors:
        where = descriptor.get("platform") or {}
        if where.get("os", "linux") == "linux" and where.get("architecture", wanted) == wanted:
            fitting.append(descriptor)
    if not fitting:
        raise BadArchive(f"no matching manifest for linux/{wanted} in the manifest list entries")
    return min(fitting, key=lambda d: len((d.get("platform") or {}).get("variant", "")))


def _docker_candidates(source: Source) -> Iterator[Candidate]:
    for entry in _json(_read(source, "manifest.json")):
        config = _read(source, entry["Config"])
        layers = [Layer(place, "", "") for place in entry["Layers"]]
        yield _checked(Candidate(list(entry.get("RepoTags") or []), config, layers, diff_ids=_diff_ids(config)))


def _checked(candidate: Candidate) -> Candidate:
    if len(candidate.diff_ids) != len(candidate.layers):
        raise BadArchive("image configuration and manifest disagree on the number of layers")
    return candidate


def _diff_ids(config: bytes) -> list[str]:
    return [str(d) for d in (_json(config).get("rootfs") or {}).get("diff_ids") or []]


def _place(digest: str) -> str:
    algorithm, _, value = digest.partition(":")
    if algorithm != "sha256" or len(value) != 64 or not value.isalnum():
        raise BadArchive(f"unsupported digest {digest!r}")
    return f"blobs/sha256/{value}"


def _blob(source: Source, descriptor: dict[str, Any]) -> bytes:
    digest = str(descriptor.get("digest", ""))
    data = _read(source, _place(digest))
    if f"sha256:{hashlib.sha256(data).hexdigest()}" != digest:
        raise BadLayer(f"content of {digest} does not match its digest")
    return data


def _read(source: Source, place: str) -> bytes:
    with source.open(place) as stream:
        data = stream.read(_MAX_DOCUMENT + 1)
    if len(data) > _MAX_DOCUMENT:
        raise BadArchive(f"{place} is too large")
    return data


def _json(raw: bytes) -> Any:
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise BadArchive(f"image metadata is not JSON: {error}") from None
