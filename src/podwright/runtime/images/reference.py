"""Image references as docker spells them out: ``busybox`` means ``docker.io/library/busybox:latest``.

The grammar is that of the distribution project's reference package.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_COMPONENT = re.compile(r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*")
_DOMAIN = re.compile(
    r"(?:(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
    r"(?:\.(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9]))*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?"
)
_TAG = re.compile(r"\w[\w.-]{0,127}", re.ASCII)
_DIGEST = re.compile(r"[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}")
_HEX64 = re.compile(r"[a-f0-9]{64}")


class InvalidReference(ValueError):
    """The text is no image reference."""


@dataclass(frozen=True, slots=True)
class Reference:
    """`domain` and `path` always, `tag` "" only if a digest is given."""

    domain: str
    path: str
    tag: str = ""
    digest: str = ""

    @property
    def name(self) -> str:
        return f"{self.domain}/{self.path}"

    def __str__(self) -> str:
        """The key under which an image is kept: a digest wins over a tag."""
        return f"{self.name}@{self.digest}" if self.digest else f"{self.name}:{self.tag}"


def parse(text: str) -> Reference:
    """The full form of `text`. Raises InvalidReference with docker's words."""
    rest, at, digest = text.partition("@")
    if at and not _DIGEST.fullmatch(digest):
        raise InvalidReference(f'couldn\'t parse image name "{text}": invalid reference format')
    head, colon, last = rest.rpartition(":")
    tag = ""
    if colon and "/" not in last:
        rest, tag = head, last
        if not _TAG.fullmatch(tag):
            raise InvalidReference(f'couldn\'t parse image name "{text}": invalid reference format')
    if not at and not tag and _HEX64.fullmatch(rest):
        raise InvalidReference(
            f"invalid repository name ({rest}), cannot specify 64-byte hexadecimal strings"
        )
    domain, path = _split_domain(rest)
    if any(c.isupper() for c in path):
        raise InvalidReference(
            f'couldn\'t parse image name "{text}": invalid reference format: repository name must be lowercase'
        )
    if not _DOMAIN.fullmatch(domain) or not all(_COMPONENT.fullmatch(part) for part in path.split("/")):
        raise InvalidReference(f'couldn\'t parse image name "{text}": invalid reference format')
    if len(path) > 255:
        raise InvalidReference(
            f'couldn\'t parse image name "{text}": repository name must not be more than 255 characters'
        )
    return Reference(domain, path, tag or ("" if digest else "latest"), digest)


def _split_domain(name: str) -> tuple[str, str]:
    first, slash, rest = name.partition("/")
    if not slash or not ("." in first or ":" in first or first == "localhost" or first.lower() != first):
        domain, path = "docker.io", name
    else:
        domain, path = first, rest
    if domain == "index.docker.io":
        domain = "docker.io"
    if domain == "docker.io" and "/" not in path:
        path = f"library/{path}"
    return domain, path
