"""postStart and preStop handlers (documentation page "Container Lifecycle Hooks")."""

from __future__ import annotations

import ssl
from collections.abc import Sequence

import aiohttp

from podwright.api.objects import Object
from podwright.client.clock import Clock
from podwright.runtime.protocol import ContainerRuntime, RuntimeFailure

_HTTP_TIMEOUT = 30.0


class HookFailed(Exception):
    """The handler did not succeed."""


class HookRunner:
    def __init__(self, runtime: ContainerRuntime, clock: Clock) -> None:
        self._runtime = runtime
        self._clock = clock

    async def run(self, handler: Object, ctr: Object, container_id: str, ips: Sequence[str]) -> None:
        """Runs one handler to its end; cancel it to stop waiting.

        Raises:
            HookFailed
        """
        if "exec" in handler:
            await self._exec(handler["exec"].get("command") or (), container_id)
        elif "httpGet" in handler:
            await self._http(handler["httpGet"], ctr, ips)
        elif "sleep" in handler:
            await self._clock.sleep(float(handler["sleep"]["seconds"]))
        else:
            # The API reference: "TCPSocket is NOT supported as a LifecycleHandler … will fail at runtime".
            raise HookFailed(f"invalid handler: {handler}")

    async def _exec(self, command: Sequence[str], container_id: str) -> None:
        try:
            result = await self._runtime.exec_sync(container_id, list(command), 0.0)
        except (RuntimeFailure, TimeoutError) as failed:
            raise HookFailed(f"Exec lifecycle hook ({_listed(command)}) failed - error: {failed}") from failed
        if result.exit_code != 0:
            output = (result.stdout + result.stderr)[:1024].decode(errors="replace")
            raise HookFailed(
                f"Exec lifecycle hook ({_listed(command)}) failed - error: command '{' '.join(command)}' exited with "
                f'{result.exit_code}: {output}, message: "{output}"'
            )

    async def _http(self, get: Object, ctr: Object, ips: Sequence[str]) -> None:
        host = get.get("host") or (ips[0] if ips else "")
        if not host:
            raise HookFailed("failed to find networking container: no Pod IP")
        port = resolve_port(get.get("port"), ctr)
        scheme = str(get.get("scheme") or "HTTP").lower()
        path = str(get.get("path") or "/")
        url = f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}{path if path.startswith('/') else '/' + path}"
        headers = {h["name"]: h["value"] for h in get.get("httpHeaders") or ()}
        tls = ssl.create_default_context()
        tls.check_hostname = False
        tls.verify_mode = ssl.CERT_NONE
        try:
            async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_HTTP_TIMEOUT)) as session:
                async with session.get(url, headers=headers, ssl=tls, allow_redirects=False) as answer:
                    await answer.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as failed:
            raise HookFailed(f"HTTP lifecycle hook ({path}) failed - error: Get {url!r}: {failed}") from failed


def _listed(command: Sequence[str]) -> str:
    return f"[{' '.join(command)}]"


def resolve_port(port: object, ctr: Object) -> int:
    """A number, or the name of one of the container's ports.

    Raises:
        HookFailed: no port of that name.
    """
    if isinstance(port, int):
        return port
    text = str(port)
    if text.isdecimal():
        return int(text)
    for known in ctr.get("ports") or ():
        if known.get("name") == text:
            return int(known["containerPort"])
    raise HookFailed(f"couldn't find port: {text!r}")
