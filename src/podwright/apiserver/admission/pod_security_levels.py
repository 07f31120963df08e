"""Pod Security Standards as a namespace asks for them: a level and a version for each mode."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass

from podwright.api.objects import Object, labels
from podwright.api.status import FieldError
from podwright.api.validation import field_errors

PREFIX = "pod-security.kubernetes.io/"
LEVELS = ("privileged", "baseline", "restricted")
MODES = ("enforce", "warn", "audit")
VERSION = re.compile(r"v1\.([0-9]|[1-9][0-9]*)")


@dataclass(frozen=True, slots=True)
class Standard:
    """A level at a version; minor -1 is "latest"."""

    level: str = "privileged"
    minor: int = -1

    def __str__(self) -> str:
        return f"{self.level}:{'latest' if self.minor < 0 else f'v1.{self.minor}'}"


@dataclass(frozen=True, slots=True)
class Policy:
    enforce: Standard = Standard()
    audit: Standard = Standard()
    warn: Standard = Standard()

    @property
    def is_privileged(self) -> bool:
        return all(s.level == "privileged" for s in (self.enforce, self.audit, self.warn))


@functools.lru_cache(maxsize=512)
def _parsed(
    items: tuple[tuple[str, str], ...], defaults: tuple[tuple[str, str], ...]
) -> tuple[Policy, tuple[FieldError, ...]]:
    given, otherwise = dict(items), dict(defaults)
    errors: list[FieldError] = []

    def invalid_label(key: str, why: str) -> None:
        errors.append(field_errors.invalid(f"metadata.labels[{PREFIX}{key}]", given[key], why))

    def standard(mode: str) -> tuple[Standard, bool]:
        level, minor, good = given.get(mode, otherwise.get(mode, "privileged")), -1, mode in given
        if level not in LEVELS:
            invalid_label(mode, f"must be one of {', '.join(LEVELS)}")
            level, good = "restricted" if mode == "enforce" else "privileged", False
        version = given.get(f"{mode}-version", otherwise.get(f"{mode}-version", "latest"))
        if version != "latest":
            match = VERSION.fullmatch(version)
            if match is None:
                invalid_label(f"{mode}-version", 'must be "latest" or "v1.x"')
            else:
                minor = int(match.group(1))
        return Standard(level, minor), good

    enforce, has_enforce = standard("enforce")
    audit, _ = standard("audit")
    warn, _ = standard("warn")
    if "warn" not in given and has_enforce and LEVELS.index(enforce.level) > LEVELS.index(warn.level):
        warn = Standard(enforce.level, warn.minor if "warn-version" in given else enforce.minor)
    return Policy(enforce, audit, warn), tuple(errors)


def policy_of(namespace: Object, defaults: tuple[tuple[str, str], ...] = ()) -> tuple[Policy, tuple[FieldError, ...]]:
    """What a namespace's labels ask for, and what is wrong with them. `defaults` are names and values of labels for
    what they leave out."""
    own = tuple(
        sorted((key[len(PREFIX) :], value) for key, value in labels(namespace).items() if key.startswith(PREFIX))
    )
    return _parsed(own, defaults)
