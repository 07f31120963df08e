"""How the store's keys lie in etcd."""

from __future__ import annotations

_ROOT = "/registry"


class Keys:
    """Keys that begin with ``/registry``, as all of the API server's do, lie under `prefix` instead, as
    kube-apiserver's do with ``--etcd-prefix``. Other keys stay as they are, which only ``/registry`` itself allows."""

    def __init__(self, prefix: str = _ROOT) -> None:
        """Raises ValueError."""
        if not prefix.startswith("/") or prefix.endswith("/"):
            raise ValueError(f"etcd key prefix {prefix!r}: it must begin with a slash and end without one")
        self._prefix = prefix

    def encode(self, key: str) -> bytes:
        """A key, or the beginning of keys, in etcd. Raises ValueError for one that has no place there."""
        if self._prefix == _ROOT:
            return key.encode()
        if key.startswith(_ROOT):
            return (self._prefix + key[len(_ROOT) :]).encode()
        if _ROOT.startswith(key):
            return self._prefix.encode() + b"/"
        raise ValueError(f"key {key!r} is not under {_ROOT}")

    def decode(self, key: bytes) -> str:
        """The store's key for one in etcd."""
        text = key.decode()
        return text if self._prefix == _ROOT else _ROOT + text[len(self._prefix) :]


def end_of_prefix(prefix: bytes) -> bytes:
    """The end of the range of all keys that begin with `prefix`; a single zero byte is etcd's "no end"."""
    kept = prefix.rstrip(b"\xff")
    return kept[:-1] + bytes([kept[-1] + 1]) if kept else b"\0"
