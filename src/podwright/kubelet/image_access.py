"""Which Pods may use an image that is on the machine already: those that could have pulled it themselves (documentation
page "Images", on the verification of pull credentials; KEP-2535)."""

from __future__ import annotations

import fnmatch
import hashlib
import json
import os
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from podwright.runtime.images import reference as image_names
from podwright.runtime.protocol import RegistryAuth

NEVER, PRELOADED, LISTED, ALWAYS = (
    "NeverVerify", "NeverVerifyPreloadedImages", "NeverVerifyAllowlistedImages", "AlwaysVerify",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Credential:
    """One entry of a pull secret; `secret` says which: its namespace, name and uid."""

    auth: RegistryAuth
    secret: str


def _digest(*words: str) -> str:
    return hashlib.sha256("\0".join(words).encode()).hexdigest()


def _marks(repository: str, credential: Credential) -> tuple[str, str]:
    """By a secret as it was, or by the same words in another one."""
    return _digest(repository, credential.secret), _digest(repository, json.dumps(asdict(credential.auth)))


class ImageAccess:
    """What the kubelet has pulled, and by which credentials. The records are empty files named by hashes, so that all
    nodes of a cluster on one machine, which share its images, can share `directory` too."""

    def __init__(self, directory: Path, policy: str = PRELOADED, allowed: Sequence[str] = ()) -> None:
        self._images = directory / "pulled"
        self._intents = directory / "pulling"
        self._policy = policy
        self._allowed = allowed
        self._under_way: Counter[str] = Counter()

    def is_open(self, reference: str, image_id: str) -> bool:
        """Whether any Pod may use the image by this name."""
        repository, records = image_names.parse(reference).name, self._records(image_id)
        if self._policy == NEVER:
            return True
        if self._policy == PRELOADED and not records.exists() and not self._intent(reference).exists():
            return True
        if self._policy == LISTED and any(fnmatch.fnmatchcase(repository, entry) for entry in self._allowed):
            return True
        return (records / _digest(repository)).exists()

    def is_opened(self, reference: str, image_id: str, credentials: Iterable[Credential]) -> bool:
        """Whether one of these has pulled it."""
        repository, records = image_names.parse(reference).name, self._records(image_id)
        for credential in credentials:
            if any((records / mark).exists() for mark in _marks(repository, credential)):
                self._write(records, *_marks(repository, credential))
                return True
        return False

    def pulling(self, reference: str) -> None:
        """Noted first: whoever is killed between the pull and its record must not leave an image for all. Raises
        OSError."""
        self._under_way[self._intent(reference).name] += 1
        self._write(self._intents, self._intent(reference).name)

    def pulled(self, reference: str, image_id: str, credential: Credential | None) -> None:
        """It is here, for those who have this credential, or for all. Raises OSError."""
        repository = image_names.parse(reference).name
        self._write(
            self._records(image_id), *(_marks(repository, credential) if credential else (_digest(repository),))
        )
        self.over(reference)

    def over(self, reference: str) -> None:
        """The pull has ended."""
        intent = self._intent(reference)
        self._under_way[intent.name] -= 1
        if not self._under_way[intent.name]:
            del self._under_way[intent.name]
            intent.unlink(missing_ok=True)

    def retain(self, image_ids: Collection[str]) -> None:
        """Forgets images that are gone."""
        kept = {self._records(image_id).name for image_id in image_ids}
        for records in self._images.iterdir() if self._images.exists() else ():
            if records.name not in kept:
                for mark in records.iterdir():
                    mark.unlink(missing_ok=True)
                records.rmdir()

    def _records(self, image_id: str) -> Path:
        return self._images / _digest(image_id)

    def _intent(self, reference: str) -> Path:
        return self._intents / _digest(str(image_names.parse(reference)))

    @staticmethod
    def _write(directory: Path, *names: str) -> None:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        for name in names:
            os.close(os.open(directory / name, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600))
