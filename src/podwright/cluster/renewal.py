"""Certificates are made anew in time while processes run, and whoever shows one follows its files: who makes them, and
how (by the cluster's authority, by a CertificateSigningRequest), need not know who that is."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path

from podwright.apiserver.reloading import changes
from podwright.client.clock import Clock
from podwright.cluster.pki import KeyPair

log = logging.getLogger(__name__)

_ASK_AGAIN, _LOOK_AGAIN = 60.0, 3600.0


async def keep(
    what: str, due: Callable[[], float], renew: Callable[[], Awaitable[None]], clock: Clock,
    *failures: type[Exception],
) -> None:  # fmt: skip
    """Renews when it is due (seconds since the epoch), until cancelled; a minute later again if it `failures`."""
    while True:
        # By steps: the clock may be set meanwhile, and the machine sleep.
        await clock.sleep(min(max(due() - clock.now(), _ASK_AGAIN), _LOOK_AGAIN))
        if due() > clock.now():
            continue
        try:
            await renew()
        except failures as failed:
            log.warning("the certificates of %s are not renewed yet: %s", what, failed)
        else:
            log.info("the certificates of %s are renewed", what)


async def shown(pair: KeyPair, show: Callable[[tuple[Path, Path]], None]) -> None:
    """Has the pair's new files shown whenever they change, until cancelled."""
    seen: tuple[bytes, ...] = ()
    async for _ in changes((pair.certificate, pair.key)):
        try:
            found = (pair.certificate.read_bytes(), pair.key.read_bytes())
            if found != seen:
                # A key whose certificate is still to come would spoil the context that serves.
                ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(pair.certificate, pair.key)
                if seen:
                    show((pair.certificate, pair.key))
                seen = found
        except OSError as failed:
            log.info("%s is not shown yet: %s", pair.certificate, failed)
