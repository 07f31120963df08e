"""Unpacks one layer into a directory that serves as an overlayfs lower directory.

A layer is foreign input: no entry may touch anything outside its directory (names are resolved by the kernel with the
directory as root), nothing is written through links, and its digests are checked. Deletions ("whiteouts", OCI image
layer specification) become what overlayfs understands: 0/0 character devices and the opaque attribute.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import stat
import tarfile
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

import zstandard

from podwright.runtime import linux

_OPAQUE = "trusted.overlay.opaque"
_WHITEOUT = ".wh."
_XATTR = "SCHILY.xattr."
_MAX_OPEN_DIRECTORIES = 64
_SYNC_EACH = 64


class BadLayer(Exception):
    """The layer is damaged, or names a path outside itself."""


class _Hashing:
    """Reads from a stream and takes the digest of all that went by."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._hash = hashlib.sha256()
        self.size = 0

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        self._hash.update(data)
        self.size += len(data)
        return data

    def drain(self) -> None:
        while self.read(1 << 20):
            pass

    @property
    def digest(self) -> str:
        return f"sha256:{self._hash.hexdigest()}"


@contextmanager
def decompressed(stream: IO[bytes], media_type: str) -> Iterator[IO[bytes]]:
    """The bytes of a tar stream, whatever its compression; the first bytes decide, for media types lie."""
    head = stream.read(4)
    rest = cast(IO[bytes], _Prefixed(head, stream))
    if head[:2] == b"\x1f\x8b":
        with gzip.GzipFile(fileobj=rest) as plain:
            yield cast(IO[bytes], plain)
    elif head == b"\x28\xb5\x2f\xfd":
        with zstandard.ZstdDecompressor().stream_reader(rest, read_across_frames=True) as reader:
            yield cast(IO[bytes], reader)
    elif media_type.endswith(("gzip", "zstd")) and head:
        raise BadLayer(f"layer is not the {media_type} that it claims to be")
    else:
        yield rest


class _Prefixed:
    def __init__(self, head: bytes, rest: IO[bytes]) -> None:
        self._head, self._rest = head, rest

    def read(self, size: int = -1) -> bytes:
        if not self._head:
            return self._rest.read(size)
        if size < 0:
            data, self._head = self._head + self._rest.read(), b""
        else:
            data, self._head = self._head[:size], self._head[size:]
            if len(data) < size:
                data += self._rest.read(size - len(data))
        return data


def unpack_layer(stream: IO[bytes], target: Path, *, digest: str, diff_id: str, media_type: str) -> int:
    """Fills the empty directory `target` and syncs it to disk; gives the bytes that it takes.

    Raises:
        BadLayer: a digest does not match, or an entry is not allowed.
    """
    packed = _Hashing(stream)
    writer = _Writer(target)
    try:
        with decompressed(cast(IO[bytes], packed), media_type) as plain_stream:
            plain = _Hashing(plain_stream)
            try:
                with tarfile.open(fileobj=cast(IO[bytes], plain), mode="r|", tarinfo=tarfile.TarInfo) as archive:
                    for member in archive:
                        writer.add(archive, member)
            except tarfile.TarError as error:
                raise BadLayer(f"layer {digest or diff_id}: {error}") from None
            plain.drain()
        packed.drain()
        if digest and packed.digest != digest:
            raise BadLayer(f"layer digest is {packed.digest}, expected {digest}")
        if diff_id and plain.digest != diff_id:
            raise BadLayer(f"layer content digest is {plain.digest}, expected {diff_id}")
        writer.finish()
    except (EOFError, OSError, zstandard.ZstdError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise BadLayer(f"layer {digest or diff_id}: {error}") from None
    finally:
        writer.close()
    return writer.size


class _Writer:
    def __init__(self, target: Path) -> None:
        self._root = os.open(target, os.O_RDONLY | os.O_DIRECTORY)
        self._parents: OrderedDict[str, int] = OrderedDict()
        self._directory_times: list[tuple[str, float]] = []
        self._files: list[str] = []
        self.size = 0
        os.fchmod(self._root, 0o755)

    def close(self) -> None:
        for fd in self._parents.values():
            os.close(fd)
        self._parents.clear()
        os.close(self._root)

    def finish(self) -> None:
        for path, when in reversed(self._directory_times):
            parent, name = self._place(path)
            if name:
                os.utime(name, (when, when), dir_fd=parent, follow_symlinks=False)
            else:
                os.utime(self._root, (when, when))
        if len(self._files) > _SYNC_EACH:
            linux.syncfs(self._root)
            return
        for path in self._files:
            parent, name = self._place(path)
            try:
                fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=parent)
            except FileNotFoundError:  # a later entry took its place
                continue
            try:
                os.fsync(fd)
            finally:
                os.close(fd)
        os.fsync(self._root)

    def _clean(self, name: str) -> str:
        parts = [part for part in name.split("/") if part not in ("", ".")]
        if ".." in parts or "\0" in name:
            raise BadLayer(f"layer entry {name!r} leaves the layer")
        return "/".join(parts)

    def _place(self, path: str) -> tuple[int, str]:
        """An open descriptor of the entry's directory, made if missing, and the entry's name in it."""
        directory, _, name = path.rpartition("/")
        if not directory:
            return self._root, name
        fd = self._parents.get(directory)
        if fd is not None:
            self._parents.move_to_end(directory)
            return fd, name
        try:
            fd = linux.openat2(self._root, directory, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            parent, own = self._place(directory)
            try:
                os.mkdir(own, 0o755, dir_fd=parent)
            except FileExistsError as error:
                raise BadLayer(f"layer entry {path!r} lies below a dangling link") from error
            fd = linux.openat2(self._root, directory, os.O_RDONLY | os.O_DIRECTORY)
        except NotADirectoryError as error:
            raise BadLayer(f"layer entry {path!r} lies below a file") from error
        self._parents[directory] = fd
        if len(self._parents) > _MAX_OPEN_DIRECTORIES:
            os.close(self._parents.popitem(last=False)[1])
        return fd, name

    def _forget(self, path: str) -> None:
        """`path` is replaced: descriptors of it or below it are stale."""
        for known in [k for k in self._parents if k == path or k.startswith(f"{path}/")]:
            os.close(self._parents.pop(known))

    def _clear(self, parent: int, name: str, path: str) -> None:
        """Removes what stands in the way of an entry."""
        try:
            info = os.stat(name, dir_fd=parent, follow_symlinks=False)
        except FileNotFoundError:
            return
        if stat.S_ISDIR(info.st_mode):
            self._forget(path)
            _remove_tree(parent, name)
        else:
            os.unlink(name, dir_fd=parent)

    def add(self, archive: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        path = self._clean(member.name)
        parent, name = self._place(path)
        if name.startswith(_WHITEOUT):
            self._whiteout(path, parent, name)
            return
        mode = stat.S_IMODE(member.mode)
        if member.isdir():
            self._directory(path, parent, name, member)
            return
        if not name:
            raise BadLayer(f"layer entry {member.name!r} is not a directory")
        self._clear(parent, name, path)
        if member.isreg() or member.type in (tarfile.CONTTYPE, tarfile.GNUTYPE_SPARSE):
            self._file(archive, member, path, parent, name)
        elif member.issym():
            os.symlink(member.linkname, name, dir_fd=parent)
            os.chown(name, member.uid, member.gid, dir_fd=parent, follow_symlinks=False)
            os.utime(name, (member.mtime, member.mtime), dir_fd=parent, follow_symlinks=False)
        elif member.islnk():
            self._hardlink(member, parent, name)
        elif member.ischr() or member.isblk() or member.isfifo():
            kind = stat.S_IFIFO if member.isfifo() else stat.S_IFCHR if member.ischr() else stat.S_IFBLK
            device = 0 if member.isfifo() else os.makedev(member.devmajor, member.devminor)
            if kind == stat.S_IFCHR and device == 0:
                raise BadLayer(f"layer entry {member.name!r} has the form of an overlayfs whiteout")
            os.mknod(name, kind | 0o600, device, dir_fd=parent)
            os.chown(name, member.uid, member.gid, dir_fd=parent, follow_symlinks=False)
            os.chmod(name, mode, dir_fd=parent)
        else:
            raise BadLayer(f"layer entry {member.name!r} has unknown type {member.type!r}")

    def _directory(self, path: str, parent: int, name: str, member: tarfile.TarInfo) -> None:
        if name:
            try:
                info = os.stat(name, dir_fd=parent, follow_symlinks=False)
                if not stat.S_ISDIR(info.st_mode):
                    os.unlink(name, dir_fd=parent)
                    os.mkdir(name, 0o700, dir_fd=parent)
            except FileNotFoundError:
                os.mkdir(name, 0o700, dir_fd=parent)
            fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
        else:
            fd = os.dup(self._root)
        try:
            self._attributes(fd, member)
        finally:
            os.close(fd)
        self._directory_times.append((path, member.mtime))

    def _file(self, archive: tarfile.TarFile, member: tarfile.TarInfo, path: str, parent: int, name: str) -> None:
        source = archive.extractfile(member)
        assert source is not None
        fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=parent)
        with open(fd, "wb") as file:
            while chunk := source.read(1 << 20):
                file.write(chunk)
                self.size += len(chunk)
            file.flush()
            self._attributes(fd, member)
            os.utime(fd, (member.mtime, member.mtime))
        self._files.append(path)

    def _hardlink(self, member: tarfile.TarInfo, parent: int, name: str) -> None:
        source = self._clean(member.linkname)
        try:
            source_parent, source_name = self._place(source)
            os.link(source_name, name, src_dir_fd=source_parent, dst_dir_fd=parent, follow_symlinks=False)
        except FileNotFoundError:
            raise BadLayer(f"layer entry {member.name!r} links to {member.linkname!r}, which is not there") from None

    def _whiteout(self, path: str, parent: int, name: str) -> None:
        if name == ".wh..wh..opq":
            os.setxattr(f"/proc/self/fd/{parent}", _OPAQUE, b"y")
            return
        if name.startswith(".wh..wh."):  # aufs bookkeeping, without meaning elsewhere
            return
        hidden = name.removeprefix(_WHITEOUT)
        if hidden in ("", ".", ".."):
            raise BadLayer(f"layer entry {path!r} deletes outside its directory")
        directory = path.rpartition("/")[0]
        self._clear(parent, hidden, f"{directory}/{hidden}" if directory else hidden)
        os.mknod(hidden, stat.S_IFCHR, 0, dir_fd=parent)

    @staticmethod
    def _attributes(fd: int, member: tarfile.TarInfo) -> None:
        os.fchown(fd, member.uid, member.gid)
        os.fchmod(fd, stat.S_IMODE(member.mode))
        headers: dict[str, Any] = dict(member.pax_headers)
        for key, value in headers.items():
            attribute = key.removeprefix(_XATTR)
            if attribute == key or attribute.startswith("trusted.overlay."):
                continue
            os.setxattr(fd, attribute, str(value).encode("utf-8", "surrogateescape"))


def _remove_tree(parent: int, name: str) -> None:
    fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
    try:
        with os.scandir(fd) as entries:
            found = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
        for child, is_directory in found:
            if is_directory:
                _remove_tree(fd, child)
            else:
                os.unlink(child, dir_fd=fd)
    finally:
        os.close(fd)
    os.rmdir(name, dir_fd=parent)
