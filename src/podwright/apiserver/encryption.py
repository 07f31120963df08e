"""Objects encrypted at rest, as an EncryptionConfiguration (apiserver.config.k8s.io/v1) says.

A store between the API server and its backend: values under the configured resources are sealed on their way down and
opened on their way up. A sealed value begins with ``k8s:enc:PROVIDER:v1:KEY:``, as upstream's, and is tied to its
storage key, so that values cannot be swapped. The first provider seals, all of them open: rotating is adding a new
first key (and, unless the file is reloaded, restarting), writing every object once, and taking the old key away.
"""

from __future__ import annotations

import base64
import os
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from pathlib import Path
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from podwright.api.objects import Object
from podwright.api.resources import ResourceTable
from podwright.apiserver import config_files
from podwright.store.protocol import Change, Entry, Page, RevisionMismatch, Store, StoreUnavailable, Watch

PREFIX = b"k8s:enc:"
_REGISTRY = "/registry/"
_KEYS = {"keys": [{"name": str, "secret": str}]}
_SHAPE = {
    "resources": [
        {
            "resources": [str],
            "providers": [{"aesgcm": _KEYS, "aescbc": _KEYS, "secretbox": _KEYS, "identity": {}, "kms": None}],
        }
    ]
}


class Sealer(Protocol):
    """One key of one provider. `prefix` marks what it sealed."""

    prefix: bytes

    def seal(self, key: str, value: bytes) -> bytes: ...

    def open(self, key: str, sealed: bytes) -> bytes:
        """Raises ValueError if the value was not sealed with this key, or was changed."""


class AesGcm:
    """AES-GCM with a random 12-byte nonce; the storage key is authenticated with the value."""

    def __init__(self, name: str, secret: bytes) -> None:
        """Raises ValueError if the secret is not 16, 24 or 32 bytes."""
        self.prefix = PREFIX + f"aesgcm:v1:{name}:".encode()
        self._cipher = AESGCM(secret)

    def seal(self, key: str, value: bytes) -> bytes:
        nonce = os.urandom(12)
        return self.prefix + nonce + self._cipher.encrypt(nonce, value, key.encode())

    def open(self, key: str, sealed: bytes) -> bytes:
        body = sealed[len(self.prefix) :]
        try:
            return self._cipher.decrypt(body[:12], body[12:], key.encode())
        except InvalidTag:
            raise ValueError("cipher: message authentication failed") from None


class Secretbox:
    """XSalsa20 and Poly1305 with a random 24-byte nonce."""

    def __init__(self, name: str, secret: bytes) -> None:
        """Raises ValueError if the secret is not 32 bytes."""
        from nacl.secret import SecretBox

        self.prefix = PREFIX + f"secretbox:v1:{name}:".encode()
        self._box = SecretBox(secret)

    def seal(self, key: str, value: bytes) -> bytes:
        return self.prefix + bytes(self._box.encrypt(value))

    def open(self, key: str, sealed: bytes) -> bytes:
        from nacl.exceptions import CryptoError

        try:
            return self._box.decrypt(sealed[len(self.prefix) :])
        except CryptoError:
            raise ValueError("invalid secretbox") from None


class Identity:
    """No encryption. Opens only what is not sealed."""

    prefix = b""

    def seal(self, key: str, value: bytes) -> bytes:
        return value

    def open(self, key: str, sealed: bytes) -> bytes:
        if sealed.startswith(PREFIX):
            raise ValueError("identity transformer tried to read encrypted data")
        return sealed


class Rule:
    """Resources and the providers for them, the sealing one first."""

    def __init__(self, resources: Iterable[str], providers: Sequence[Sealer]) -> None:
        self.resources = frozenset(resources)
        self.providers = tuple(providers)

    def covers(self, qualified: str) -> bool:
        """`qualified` is "secrets" or "deployments.apps"."""
        _, dot, group = qualified.partition(".")
        wild = f"*.{group}" if dot else "*."
        return bool(self.resources & {qualified, wild, "*.*"})

    def seal(self, key: str, value: bytes) -> bytes:
        return self.providers[0].seal(key, value)

    def open(self, key: str, value: bytes) -> bytes:
        """Raises StoreUnavailable if no provider can."""
        problem = "no matching prefix found"
        for provider in self.providers:
            if value.startswith(provider.prefix):
                try:
                    return provider.open(key, value)
                except ValueError as error:
                    problem = str(error)
        raise StoreUnavailable(f"{key}: {problem}")


def rules_of(path: Path) -> list[Rule]:
    """Reads an EncryptionConfiguration. Raises OSError, ValueError, KeyError."""
    config = config_files.read(path, "EncryptionConfiguration", ("apiserver.config.k8s.io/v1",), _SHAPE)
    return [
        Rule(entry["resources"], [sealer for provider in entry["providers"] for sealer in _sealers(provider)])
        for entry in config.get("resources") or ()
    ]


def _sealers(provider: Object) -> Iterable[Sealer]:
    ((kind, settings),) = provider.items()
    if kind == "identity":
        return [Identity()]
    makers: dict[str, Callable[[str, bytes], Sealer]] = {"aesgcm": AesGcm, "secretbox": Secretbox}
    if kind not in makers:
        raise ValueError(f"encryption provider {kind!r} is not supported")
    keys = settings["keys"]
    if not keys:
        raise ValueError(f"encryption provider {kind!r} has no keys")
    return [makers[kind](key["name"], base64.b64decode(key["secret"], validate=True)) for key in keys]


class EncryptedStore:
    """A store whose values are sealed in the backend. Keys, revisions and errors are the backend's own.

    Raises StoreUnavailable where a value cannot be opened.
    """

    def __init__(self, backend: Store, rules: Sequence[Rule], table: ResourceTable) -> None:
        self._backend = backend
        self._rules = tuple(rules)
        self._table = table
        self._by_path: dict[str, Rule | None] = {}

    def reload(self, rules: Sequence[Rule]) -> None:
        """Seals and opens by these from now on."""
        self._rules = tuple(rules)
        self._by_path = {}

    def _rule(self, key: str) -> Rule | None:
        """The rule for a storage key: the first that covers its resource."""
        if not key.startswith(_REGISTRY):
            return None
        parts = key[len(_REGISTRY) :].split("/")
        first = parts[0]
        path = f"{first}/{parts[1]}" if "." in first and len(parts) > 1 else first
        if path in self._by_path:
            return self._by_path[path]
        qualified = self._qualified(path)
        found = next((rule for rule in self._rules if rule.covers(qualified)), None)
        self._by_path[path] = found
        return found

    def _qualified(self, path: str) -> str:
        for row in self._table:
            if row.storage_path in (path, path.partition("/")[0]):
                return row.qualified
        group, _, plural = path.partition("/")
        return f"{plural}.{group}" if plural else path

    def _entry(self, entry: Entry) -> Entry:
        rule = self._rule(entry.key)
        if rule is None:
            return entry
        return Entry(entry.key, rule.open(entry.key, entry.value), entry.revision)

    def _change(self, change: Change) -> Change:
        rule = self._rule(change.key)
        if rule is None:
            return change
        value = None if change.value is None else rule.open(change.key, change.value)
        previous = None if change.previous is None else self._entry(change.previous)
        return Change(change.key, value, change.revision, previous)

    def _sealed(self, key: str, value: bytes) -> bytes:
        rule = self._rule(key)
        return value if rule is None else rule.seal(key, value)

    async def open(self) -> None:
        await self._backend.open()

    async def close(self) -> None:
        await self._backend.close()

    async def revision(self) -> int:
        return await self._backend.revision()

    async def get(self, key: str) -> Entry | None:
        entry = await self._backend.get(key)
        return None if entry is None else self._entry(entry)

    async def list(self, prefix: str, *, start: str = "", limit: int = 0, revision: int = 0) -> Page:
        page = await self._backend.list(prefix, start=start, limit=limit, revision=revision)
        return Page([self._entry(entry) for entry in page.entries], page.revision, page.more, page.remaining)

    async def create(self, key: str, value: bytes) -> Entry:
        entry = await self._backend.create(key, self._sealed(key, value))
        return Entry(key, value, entry.revision)

    async def update(self, key: str, value: bytes, *, expected: int) -> Entry:
        try:
            entry = await self._backend.update(key, self._sealed(key, value), expected=expected)
        except RevisionMismatch as mismatch:
            raise RevisionMismatch(self._entry(mismatch.current)) from None
        return Entry(key, value, entry.revision)

    async def delete(self, key: str, *, expected: int = 0) -> tuple[Entry, int]:
        try:
            entry, revision = await self._backend.delete(key, expected=expected)
        except RevisionMismatch as mismatch:
            raise RevisionMismatch(self._entry(mismatch.current)) from None
        return self._entry(entry), revision

    async def watch(self, prefix: str, *, after: int) -> Watch:
        return _OpeningWatch(await self._backend.watch(prefix, after=after), self)

    async def compact(self, revision: int) -> None:
        await self._backend.compact(revision)

    async def size(self) -> int:
        return await self._backend.size()


class _OpeningWatch:
    def __init__(self, watch: Watch, store: EncryptedStore) -> None:
        self._watch = watch
        self._store = store

    async def __aiter__(self) -> AsyncIterator[Sequence[Change]]:
        async for batch in self._watch:
            yield [self._store._change(change) for change in batch]

    async def aclose(self) -> None:
        await self._watch.aclose()
