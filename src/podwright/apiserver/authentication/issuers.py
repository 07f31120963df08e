"""The issuers of tokens that an AuthenticationConfiguration names, as its file says now."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

from podwright.apiserver.authentication import anonymous, configuration
from podwright.apiserver.authentication.oidc import OpenIDConnect
from podwright.apiserver.config import ApiServerConfig
from podwright.apiserver.requests import UserInfo


class Issuers:
    def __init__(self, config: ApiServerConfig, *, clock: Callable[[], float] = time.time) -> None:
        """Raises OSError; ValueError for a file that is refused."""
        self._path = config.authentication_config
        self._own = config.service_account_issuer
        self._clock = clock
        found = configuration.read(self._path, self._own)
        self._anonymous = found.get("anonymous")
        self.nobody = anonymous.configured(found)
        """The user of a request without credentials, by its path."""
        self._current = [OpenIDConnect(entry, clock=clock) for entry in found.get("jwt") or ()]

    async def authenticate_token(self, token: str, audiences: Sequence[str]) -> UserInfo | None:
        for issuer in self._current:
            if (user := await issuer.authenticate_token(token, audiences)) is not None:
                return user
        return None

    async def reload(self) -> None:
        """Believes the issuers that the file now has, and no others, once the keys of all of them could be read. Raises
        OSError, ValueError; ApiError while an issuer cannot be reached."""
        found = configuration.read(self._path, self._own)
        if found.get("anonymous") != self._anonymous:
            raise ValueError(f"{self._path}: anonymous: Forbidden: changed from initial configuration file")
        fresh = [OpenIDConnect(entry, clock=self._clock) for entry in found.get("jwt") or ()]
        await asyncio.gather(*(issuer.read_keys() for issuer in fresh))
        self._current = fresh
