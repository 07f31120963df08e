"""Static bearer tokens from a CSV file: ``token,user,uid[,"group1,group2"]`` (Kubernetes documentation,
"Authenticating", "Static token file")."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

from podwright.apiserver.requests import UserInfo


class StaticTokens:
    def __init__(self, rows: Iterable[Sequence[str]]) -> None:
        """Raises ValueError on a row with fewer than three columns or an empty token."""
        self._users: dict[bytes, UserInfo] = {}
        for number, row in enumerate(rows, 1):
            if not row:
                continue
            if len(row) < 3 or not row[0]:
                raise ValueError(f"token file, line {number}: wants token, user name and uid")
            groups = tuple(g.strip() for g in row[3].split(",") if g.strip()) if len(row) > 3 else ()
            self._users[_digest(row[0])] = UserInfo(row[1], row[2], groups)

    @classmethod
    def from_file(cls, path: Path) -> StaticTokens:
        with path.open(newline="") as file:
            return cls(csv.reader(file, skipinitialspace=True))

    async def authenticate_token(self, token: str, audiences: Sequence[str]) -> UserInfo | None:
        return self._users.get(_digest(token))


def _digest(token: str) -> bytes:
    """Looked up by digest, so that the time of a look-up tells nothing about tokens."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
