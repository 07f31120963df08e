from __future__ import annotations

import base64
from pathlib import Path

import pytest

from podwright.api.resources import served
from podwright.apiserver.encryption import EncryptedStore, rules_of
from podwright.store.protocol import StoreUnavailable

KEY = "/registry/secrets/ns/s"


def config(tmp_path: Path, *providers: str, resources: str = "[secrets]") -> Path:
    file = tmp_path / "encryption.yaml"
    lines = "\n".join(f"  - {p}" for p in providers)
    file.write_text(
        f"apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n- resources: {resources}\n"
        f"  providers:\n{lines}\n"
    )
    return file


def provider(kind: str, name: str, fill: int) -> str:
    secret = base64.b64encode(bytes([fill]) * 32).decode()
    return f"{kind}: {{keys: [{{name: {name}, secret: {secret}}}]}}"


class Backend:
    """The part of a store that a test of sealing needs."""

    def __init__(self) -> None:
        self.values: dict[str, bytes] = {}

    async def create(self, key: str, value: bytes) -> object:
        from podwright.store.protocol import Entry

        self.values[key] = value
        return Entry(key, value, 1)

    async def get(self, key: str) -> object:
        from podwright.store.protocol import Entry

        return Entry(key, self.values[key], 1)

    async def update(self, key: str, value: bytes, *, expected: int) -> object:
        return await self.create(key, value)


def store(backend: Backend, file: Path) -> EncryptedStore:
    return EncryptedStore(backend, rules_of(file), served())  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["aesgcm", "secretbox"])
async def test_values_are_sealed_below_and_open_above(tmp_path: Path, kind: str) -> None:
    backend = Backend()
    sealed = store(backend, config(tmp_path, provider(kind, "k1", 1), "identity: {}"))
    entry = await sealed.create(KEY, b"hush")
    assert entry.value == b"hush"
    assert backend.values[KEY].startswith(f"k8s:enc:{kind}:v1:k1:".encode())
    assert b"hush" not in backend.values[KEY]
    found = await sealed.get(KEY)
    assert found is not None and found.value == b"hush"
    await sealed.create("/registry/configmaps/ns/c", b"open")
    assert backend.values["/registry/configmaps/ns/c"] == b"open"


async def test_a_new_first_key_seals_and_old_ones_still_open(tmp_path: Path) -> None:
    backend = Backend()
    old, new = provider("aesgcm", "k1", 1), provider("secretbox", "k2", 2)
    await store(backend, config(tmp_path, "identity: {}")).create(KEY, b"plain")
    first = store(backend, config(tmp_path, old, "identity: {}"))
    found = await first.get(KEY)
    assert found is not None and found.value == b"plain"
    await first.update(KEY, b"v", expected=1)
    second = store(backend, config(tmp_path, new, old))
    found = await second.get(KEY)
    assert found is not None and found.value == b"v"
    await second.update(KEY, b"v", expected=1)
    assert backend.values[KEY].startswith(b"k8s:enc:secretbox:v1:k2:")
    with pytest.raises(StoreUnavailable):
        await store(backend, config(tmp_path, old, "identity: {}")).get(KEY)


async def test_a_sealed_value_is_tied_to_its_key(tmp_path: Path) -> None:
    backend = Backend()
    sealed = store(backend, config(tmp_path, provider("aesgcm", "k1", 1)))
    await sealed.create(KEY, b"hush")
    backend.values["/registry/secrets/ns/other"] = backend.values[KEY]
    with pytest.raises(StoreUnavailable, match="authentication failed"):
        await sealed.get("/registry/secrets/ns/other")


async def test_wildcards_cover_groups(tmp_path: Path) -> None:
    backend = Backend()
    apps = store(backend, config(tmp_path, provider("aesgcm", "k1", 1), resources='["*.apps"]'))
    await apps.create("/registry/deployments/ns/d", b"x")
    await apps.create("/registry/pods/ns/p", b"x")
    assert backend.values["/registry/deployments/ns/d"] != b"x" == backend.values["/registry/pods/ns/p"]


def test_providers_that_cannot_be_had_are_said(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'kms' is not supported"):
        rules_of(config(tmp_path, "kms: {name: x}"))
