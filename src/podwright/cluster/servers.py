"""A node on another machine learns where the API servers are, so that it outlives the one that it joined through."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from podwright.api.objects import Object
from podwright.api.resources import ENDPOINTSLICES
from podwright.client.client import Client
from podwright.client.https import HttpsTransport
from podwright.client.informers import Informer
from podwright.cluster.files import read_json, write_json

log = logging.getLogger(__name__)

SERVERS_FILE = "servers.json"
"""In the cluster's data directory."""


class Servers:
    """The URLs of the cluster's API servers: the one that was `given`, and those behind the Service kubernetes, kept in
    `file` for the next start."""

    def __init__(self, given: str, file: Path, transports: Sequence[HttpsTransport]) -> None:
        self._given = given.rstrip("/")
        self._file = file
        self._transports = transports
        self._set(known(given, file))

    async def follow(self, client: Client) -> None:
        """Until cancelled."""
        informer = Informer(client, ENDPOINTSLICES, namespace="default", field_selector="metadata.name=kubernetes")
        informer.add_handler(self._changed)
        await informer.run()

    def _changed(self, old: Object | None, new: Object | None) -> None:
        learned = urls(new) if new is not None else []
        if learned:  # Without any, those known last are a better guess than none.
            write_json(self._file, {"servers": learned})
            self._set(learned)

    def _set(self, learned: Sequence[str]) -> None:
        servers = [self._given, *(url for url in learned if url != self._given)]
        for transport in self._transports:
            if list(transport.servers) != servers:
                log.info("API servers: %s", ", ".join(servers))
                transport.servers = servers


def known(given: str, file: Path) -> list[str]:
    """The URL that was `given`, and those that were learned."""
    given = given.rstrip("/")
    learned = (read_json(file) or {}).get("servers") or ()
    return [given, *(url for url in learned if url != given)]


def urls(endpoint_slice: Object) -> list[str]:
    """Where the Service's servers are."""
    ports = [p["port"] for p in endpoint_slice.get("ports") or () if p.get("name") == "https"]
    addresses = [a for e in endpoint_slice.get("endpoints") or () for a in e.get("addresses") or ()]
    return [f"https://{f'[{a}]' if ':' in a else a}:{port}" for port in ports for a in addresses]
