"""systemd-logind over D-Bus: a delay lock that holds the machine's shutdown back until the Pods have ended (systemd's
"Inhibitor Locks"; documentation page "Node Shutdowns")."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from podwright.client.clock import Clock

if TYPE_CHECKING:
    from dbus_fast import Message
    from dbus_fast.aio import MessageBus

log = logging.getLogger(__name__)

SYSTEM_BUS = "unix:path=/run/dbus/system_bus_socket"
OVERRIDES = Path("/run/systemd/logind.conf.d")
"""Where logind reads settings that last until the next boot."""

_LOGIND = ("org.freedesktop.login1", "/org/freedesktop/login1", "org.freedesktop.login1.Manager")
_SYSTEMD = ("org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager")
_DBUS = ("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus")
_CALL_TIMEOUT = 10.0
_RECONNECT_DELAY = 1.0
_SIGHUP = 1


class NoLogind(Exception):
    """There is no logind to talk to, or it does not do what is needed of it."""


async def _call(bus: MessageBus, whom: tuple[str, str, str], member: str, signature: str, *body: Any) -> Message:
    """The answer. Raises NoLogind."""
    from dbus_fast import Message, MessageType
    from dbus_fast.errors import DBusError

    service, path, interface = whom
    try:
        async with asyncio.timeout(_CALL_TIMEOUT):
            answer = await bus.call(
                Message(
                    destination=service, path=path, interface=interface, member=member,
                    signature=signature, body=list(body),
                )
            )  # fmt: skip
    except (TimeoutError, OSError, EOFError, DBusError) as failed:
        raise NoLogind(f"{member}: {failed or 'no answer'}") from failed
    if answer is None or answer.message_type is MessageType.ERROR:
        raise NoLogind(f"{member}: {answer.body[0] if answer is not None and answer.body else 'failed'}")
    return answer


class ShutdownWatch:
    """Run :meth:`run` as a task. `changed(True)` is awaited while the machine waits to go down, for at most `longest`
    seconds; `changed(False)` says that it does not go down after all. `name` tells this node's settings from others'.
    """

    def __init__(
        self,
        changed: Callable[[bool], Awaitable[None]],
        clock: Clock,
        *,
        longest: float,
        name: str,
        address: str = SYSTEM_BUS,
        overrides: Path = OVERRIDES,
    ) -> None:
        self._changed = changed
        self._clock = clock
        self._longest = longest
        self._override = overrides / f"99-{name}.conf"
        self._address = address
        self._lock = -1
        self.watching = asyncio.Event()
        """Set once the lock was taken and shutdowns are listened for."""

    @property
    def holds_lock(self) -> bool:
        """Whether logind would wait for us now."""
        return self._lock >= 0

    async def run(self) -> None:
        """Until cancelled, or at once where there is no system bus. A broken connection is made anew."""
        try:
            while True:
                try:
                    async with self._connected() as bus:
                        await self._watch(bus)
                except NoLogind as missing:
                    if not self._override.exists() and not self.watching.is_set():
                        log.info("shutdowns of the machine are not waited for: %s", missing)
                        return
                    log.warning("logind is lost: %s", missing)
                await self._clock.sleep(_RECONNECT_DELAY)
        finally:
            self._override.unlink(missing_ok=True)

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[MessageBus]:
        socket = self._address.partition(",")[0].removeprefix("unix:path=")
        if socket.startswith("/") and not os.path.exists(socket):  # noqa: ASYNC240  No bus: nothing of it in memory.
            raise NoLogind(f"{socket} does not exist")
        from dbus_fast import BusType
        from dbus_fast.aio import MessageBus
        from dbus_fast.errors import DBusError

        bus = MessageBus(bus_address=self._address, bus_type=BusType.SYSTEM, negotiate_unix_fd=True)
        try:
            async with asyncio.timeout(_CALL_TIMEOUT):
                await bus.connect()
        except (OSError, EOFError, TimeoutError, DBusError) as failed:
            raise NoLogind(f"{self._address}: {failed or 'no answer'}") from failed
        try:
            yield bus
        finally:
            bus.disconnect()
            self._release()

    async def _watch(self, bus: MessageBus) -> None:
        from dbus_fast import MessageType
        from dbus_fast.errors import DBusError

        signals: asyncio.Queue[bool] = asyncio.Queue()

        def hear(message: Message) -> None:
            wanted = message.message_type is MessageType.SIGNAL and message.member == "PrepareForShutdown"
            if wanted and message.interface == _LOGIND[2] and message.body:
                signals.put_nowait(bool(message.body[0]))

        await self._allow(bus)
        bus.add_message_handler(hear)
        rule = f"type='signal',interface='{_LOGIND[2]}',member='PrepareForShutdown',path='{_LOGIND[1]}'"
        await _call(bus, _DBUS, "AddMatch", "s", rule)
        await self._take(bus)
        self.watching.set()
        lost = asyncio.ensure_future(bus.wait_for_disconnect())  # type: ignore[no-untyped-call]
        try:
            while True:
                heard = asyncio.ensure_future(signals.get())
                await asyncio.wait((heard, lost), return_when=asyncio.FIRST_COMPLETED)
                if not heard.done():
                    heard.cancel()
                    raise NoLogind("the connection broke off")
                await self._told(bus, heard.result())
        finally:
            lost.cancel()
            with suppress(asyncio.CancelledError, OSError, EOFError, DBusError):
                await lost

    async def _told(self, bus: MessageBus, going_down: bool) -> None:
        log.info("logind: the machine %s", "is going down" if going_down else "does not go down after all")
        try:
            await self._changed(going_down)
        finally:
            if going_down:
                self._release()
        if not going_down:
            await self._take(bus)

    async def _allow(self, bus: MessageBus) -> None:
        """Has logind wait long enough."""
        if await self._delay(bus) >= self._longest:
            return
        try:
            self._override.parent.mkdir(parents=True, exist_ok=True)
            self._override.write_text(f"[Login]\nInhibitDelayMaxSec={self._longest:.0f}\n")
        except OSError as failed:
            raise NoLogind(f"cannot set logind's InhibitDelayMaxSec: {failed}") from failed
        await _call(bus, _SYSTEMD, "KillUnit", "ssi", "systemd-logind.service", "all", _SIGHUP)
        if (delay := await self._delay(bus)) < self._longest:
            log.warning("logind waits %.0f s for Pods to end, not the %.0f s that are configured", delay, self._longest)

    @staticmethod
    async def _delay(bus: MessageBus) -> float:
        """Seconds that logind waits for locks."""
        properties = (*_LOGIND[:2], "org.freedesktop.DBus.Properties")
        answer = await _call(bus, properties, "Get", "ss", _LOGIND[2], "InhibitDelayMaxUSec")
        return float(answer.body[0].value) / 1e6

    async def _take(self, bus: MessageBus) -> None:
        answer = await _call(
            bus, _LOGIND, "Inhibit", "ssss", "shutdown", "podwright", "Pods need time to end", "delay"
        )
        before, self._lock = self._lock, answer.unix_fds[answer.body[0]]
        if before >= 0:
            os.close(before)

    def _release(self) -> None:
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1
