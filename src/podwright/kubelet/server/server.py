"""The kubelet's HTTPS server. Paths are upstream's."""

from __future__ import annotations

import asyncio
import html
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Protocol

import orjson
from aiohttp import web

from podwright.api import objects
from podwright.api.objects import Object
from podwright.kubelet.runtime_cache import PodRuntime
from podwright.kubelet.server import access, port_forward, remote_command
from podwright.kubelet.server.logs import LogOptions, read_log
from podwright.kubelet.server.upgrade import UPGRADED, Upgraded
from podwright.runtime.protocol import Container, ContainerRuntime, ContainerState, ExecSession, RuntimeFailure

log = logging.getLogger(__name__)

Page = Callable[[web.Request], Awaitable[web.StreamResponse]]
_SHUTDOWN = 1.0
_SYSTEM_LOGS = Path("/var/log")


class NodePods(Protocol):
    """What the server must know of the node's Pods."""

    def pods(self) -> Sequence[Object]:
        """All of them, with their status as the kubelet last made it."""

    def pod(self, namespace: str, name: str) -> Object | None: ...

    def pod_runtime(self, uid: str) -> PodRuntime: ...

    async def container_ended(self, uid: str, container_id: str) -> None:
        """Returns as soon as the container is known not to run."""


class BadRequest(Exception):
    """The message goes to the client as it is, with code 400."""


class KubeletServer:
    """Serves from :meth:`start` to :meth:`stop`. `pages` are more paths (stats, metrics) and who makes them."""

    def __init__(
        self,
        pods: NodePods,
        runtime: ContainerRuntime,
        *,
        host: str,
        port: int,
        certificate: Path,
        key: Path,
        client_ca: Path,
        gate: access.Access,
        pages: Mapping[str, Page] | None = None,
    ) -> None:
        self._pods = pods
        self._runtime = runtime
        self._host, self._port = host, port
        self._tls = access.tls_context(certificate, key, client_ca)
        self._gate = gate
        health = dict.fromkeys(("/healthz", "/healthz/ping", "/healthz/log", "/healthz/syncloop"), self._healthz)
        self._pages = {**health, "/pods": self._list_pods, "/runningpods": self._list_running, **(pages or {})}
        self._runner: web.ServerRunner | None = None

    async def start(self) -> None:
        """Raises OSError if the port is taken."""
        server = web.Server(self._handle, access_log=None, keepalive_timeout=75)
        self._runner = web.ServerRunner(server, shutdown_timeout=_SHUTDOWN)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._host, self._port, ssl_context=self._tls, reuse_address=True)
        await site.start()

    def renew(self, certificate: tuple[Path, Path]) -> None:
        """Who connects from now on is shown this one, of which the key is the second."""
        self._tls.load_cert_chain(*certificate)

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        refused = await self._gate.refusal(request)
        if refused is not None:
            return refused
        try:
            return await self._route(request)  # type: ignore[arg-type]
        except BadRequest as bad:
            return web.Response(status=400, text=str(bad))
        except RuntimeFailure as failed:
            return web.Response(status=500, text=str(failed))
        except (asyncio.CancelledError, web.HTTPException):
            raise
        except ConnectionError:
            return web.Response(status=499)
        except Exception as failed:
            log.exception("%s %s", request.method, request.path)
            if request.get(UPGRADED):
                # The connection speaks no HTTP any more: all that is left to say is that it is over.
                if request.transport is not None:
                    request.transport.close()
                return Upgraded()
            return web.Response(status=500, text=str(failed))

    async def _route(self, request: web.Request) -> web.StreamResponse:
        page = self._pages.get(request.path.rstrip("/") or "/")
        if page is not None:
            return await page(request)
        parts = request.path.strip("/").split("/")
        if parts[0] == "logs" and request.method in ("GET", "HEAD"):
            return await asyncio.to_thread(_system_log, "/".join(parts[1:]))
        if parts[0] == "containerLogs" and len(parts) == 4:
            return await self._logs(request, *parts[1:])
        if parts[0] in ("exec", "attach") and len(parts) in (4, 5):
            return await self._command(request, parts[0], parts[1], parts[2], parts[-1])
        if parts[0] == "portForward" and len(parts) in (3, 4):
            return await self._port_forward(request, parts[1], parts[2])
        return web.Response(status=404, text="404 page not found")

    @staticmethod
    async def _healthz(request: web.Request) -> web.StreamResponse:
        return web.Response(text="ok")

    async def _list_pods(self, request: web.Request) -> web.StreamResponse:
        return _pod_list(self._pods.pods())

    async def _list_running(self, request: web.Request) -> web.StreamResponse:
        """What the runtime has, in the form of Pods."""
        found = []
        for pod in self._pods.pods():
            running = self._pods.pod_runtime(objects.uid(pod)).running()
            if running:
                meta = {k: pod["metadata"][k] for k in ("name", "namespace", "uid")}
                containers = [{"name": c.name, "image": c.image, "resources": {}} for c in running]
                found.append({"metadata": meta, "spec": {"containers": containers}, "status": {}})
        return _pod_list(found)

    def _pod(self, namespace: str, name: str) -> Object:
        pod = self._pods.pod(namespace, name)
        if pod is None:
            raise web.HTTPNotFound(text=f'pod "{name}" not found')
        return pod

    async def _logs(self, request: web.Request, namespace: str, name: str, container: str) -> web.StreamResponse:
        pod = self._pod(namespace, name)
        options, previous = log_options(request.query)
        instance = self._log_instance(pod, container, previous=previous)

        def ended() -> Awaitable[None]:
            return self._pods.container_ended(objects.uid(pod), instance.id)

        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        try:
            async with aclosing(read_log(instance.log_path, options, ended=ended)) as pieces:
                # The header goes out at once: a client that follows a silent log must not wait for its first line.
                await response.prepare(request)
                async for piece in pieces:
                    await response.write(piece)
        except FileNotFoundError:
            if not response.prepared:
                raise BadRequest(f"failed to try resolving symlinks in path {instance.log_path.name!r}") from None
        await response.write_eof()
        return response

    def _log_instance(self, pod: Object, container: str, *, previous: bool) -> Container:
        """The container whose log is meant. Raises BadRequest in upstream's words."""
        instances = [
            c for c in self._pods.pod_runtime(objects.uid(pod)).of_name(container)
            if c.state is not ContainerState.CREATED
        ]  # fmt: skip
        name = objects.name(pod)
        if previous:
            if len(instances) < 2:
                raise BadRequest(f'previous terminated container "{container}" in pod "{name}" not found')
            return instances[1]
        if instances:
            return instances[0]
        why = waiting_reason(pod, container) or "ContainerCreating"
        if why in ("ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull"):
            why = "trying and failing to pull image"
        raise BadRequest(f'container "{container}" in pod "{name}" is waiting to start: {why}')

    def _running(self, namespace: str, name: str, container: str) -> Container:
        pod = self._pod(namespace, name)
        latest = self._pods.pod_runtime(objects.uid(pod)).latest(container)
        if latest is None or latest.state is not ContainerState.RUNNING:
            raise web.HTTPNotFound(text=f'container not found ("{container}")')
        return latest

    async def _command(
        self, request: web.Request, kind: str, namespace: str, name: str, container: str
    ) -> web.StreamResponse:
        target = self._running(namespace, name, container)
        query = request.query
        wants = {flag: query.get(flag, "") in ("1", "true") for flag in ("input", "output", "error", "tty")}
        if not (wants["input"] or wants["output"] or wants["error"]):
            raise BadRequest("you must specify at least 1 of stdin, stdout, stderr")
        command = query.getall("command", [])

        async def start() -> ExecSession:
            if kind == "attach":
                return await self._runtime.attach(target.id)
            return await self._runtime.exec(target.id, command, stdin=wants["input"], tty=wants["tty"])

        return await remote_command.serve(
            request, start, stdin=wants["input"], stdout=wants["output"], stderr=wants["error"], tty=wants["tty"],
            coded=kind == "exec",
        )

    async def _port_forward(self, request: web.Request, namespace: str, name: str) -> web.StreamResponse:
        pod = self._pod(namespace, name)
        sandbox = self._pods.pod_runtime(objects.uid(pod)).sandbox
        if sandbox is None:
            raise web.HTTPNotFound(text=f'pod "{name}" has no sandbox')
        return await port_forward.serve(request, lambda port: self._runtime.port_forward(sandbox.id, port))


def _pod_list(items: Sequence[Object]) -> web.Response:
    body = {"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": list(items)}
    return web.Response(body=orjson.dumps(body), content_type="application/json")


def _system_log(path: str) -> web.StreamResponse:
    """A file below /var/log, or what lies in a directory there."""
    target = (_SYSTEM_LOGS / path).resolve()
    if not target.is_relative_to(_SYSTEM_LOGS.resolve()) or not target.exists():
        return web.Response(status=404, text="404 page not found")
    if not target.is_dir():
        return web.FileResponse(target)
    names = sorted(entry.name + ("/" if entry.is_dir() else "") for entry in target.iterdir())
    lines = [f'<a href="{html.escape(name)}">{html.escape(name)}</a>\n' for name in names]
    return web.Response(text=f"<pre>\n{''.join(lines)}</pre>\n", content_type="text/html")


def log_options(query: Mapping[str, str]) -> tuple[LogOptions, bool]:
    """(options, whether the previous container is meant). Raises BadRequest."""
    try:
        since = 0.0
        if query.get("sinceSeconds"):
            since = time.time() - int(query["sinceSeconds"])
        elif query.get("sinceTime"):
            since = objects.parse_time(query["sinceTime"])
        tail = int(query["tailLines"]) if query.get("tailLines") else None
        limit = int(query.get("limitBytes") or 0)
    except ValueError as bad:
        raise BadRequest(f"unable to decode query: {bad}") from bad
    stream = {"Stdout": "stdout", "Stderr": "stderr"}.get(query.get("stream", ""), "")
    options = LogOptions(
        follow=query.get("follow") == "true",
        timestamps=query.get("timestamps") == "true",
        since=since,
        tail=tail,
        limit=limit,
        stream=stream,
    )
    return options, query.get("previous") == "true"


def waiting_reason(pod: Object, container: str) -> str:
    """Why a container that never ran waits, as the Pod's status says."""
    status = pod.get("status") or {}
    for kind in ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"):
        for entry in status.get(kind) or []:
            if entry.get("name") == container:
                return str(((entry.get("state") or {}).get("waiting") or {}).get("reason") or "")
    return ""
