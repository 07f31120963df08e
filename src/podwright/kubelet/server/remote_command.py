"""exec and attach: a client's streams joined with a process in a container."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from aiohttp import web

from podwright.api.objects import Object
from podwright.kubelet.server.remote_streams import NoProtocol, RemoteStreams, open_streams
from podwright.runtime.protocol import ExecSession, RuntimeFailure

log = logging.getLogger(__name__)

SUCCESS: Object = {"metadata": {}, "status": "Success"}
_DRAIN_TIMEOUT = 2.0

Start = Callable[[], Awaitable[ExecSession]]


async def serve(
    request: web.Request, start: Start, *, stdin: bool, stdout: bool, stderr: bool, tty: bool, coded: bool = True
) -> web.StreamResponse:
    """Runs the session that `start` gives until its process ends or the client goes away. The client is told the exit
    code if `coded`: not of an attachment, which ends well however the container does."""
    try:
        streams = await open_streams(request, stdin=stdin, stdout=stdout, stderr=stderr and not tty, tty=tty)
    except NoProtocol as refused:
        return web.Response(status=403, text=str(refused))
    except ConnectionError as lost:
        return web.Response(status=400, text=str(lost))
    try:
        session = await start()
    except RuntimeFailure as failed:
        await streams.finish(failure(f"error executing command in container: {failed}"))
        return streams.response
    try:
        result = await _join(streams, session, stdin=stdin, stderr=stderr and not tty, tty=tty)
        await streams.finish(result if coded or result.get("reason") != "NonZeroExitCode" else SUCCESS)
    finally:
        await session.aclose()
    return streams.response


async def _join(streams: RemoteStreams, session: ExecSession, *, stdin: bool, stderr: bool, tty: bool) -> Object:
    outputs = [asyncio.ensure_future(_output(session.read_stdout, streams.write_stdout))]
    if stderr:
        outputs.append(asyncio.ensure_future(_output(session.read_stderr, streams.write_stderr)))
    others = [asyncio.ensure_future(_input(streams, session))] if stdin else []
    if tty:
        others.append(asyncio.ensure_future(_sizes(streams, session)))
    ended = asyncio.ensure_future(session.wait())
    gone = asyncio.ensure_future(streams.gone())
    try:
        await asyncio.wait((ended, gone), return_when=asyncio.FIRST_COMPLETED)
        if not ended.done():
            return failure("the client went away")
        # What the process wrote before its end may still be on its way; a child that holds the pipe open may not
        # keep the client for ever.
        await asyncio.wait(outputs, timeout=_DRAIN_TIMEOUT)
        return exit_status(ended.result())
    except RuntimeFailure as failed:
        return failure(str(failed))
    finally:
        for task in (*outputs, *others, ended, gone):
            task.cancel()
        await asyncio.gather(*outputs, *others, ended, gone, return_exceptions=True)


async def _output(read: Callable[[], Awaitable[bytes]], write: Callable[[bytes], Awaitable[None]]) -> None:
    try:
        while data := await read():
            await write(data)
    except ConnectionError:
        return


async def _input(streams: RemoteStreams, session: ExecSession) -> None:
    try:
        while data := await streams.read_stdin():
            await session.write_stdin(data)
        await session.close_stdin()
    except (ConnectionError, RuntimeFailure):
        return  # The process closed its input, or ended: its exit code says the rest.


async def _sizes(streams: RemoteStreams, session: ExecSession) -> None:
    while size := await streams.read_resize():
        try:
            await session.resize(*size)
        except (RuntimeFailure, OSError) as failed:
            log.debug("resize: %s", failed)


def exit_status(code: int) -> Object:
    """The Status by which clients learn the exit code."""
    if code == 0:
        return SUCCESS
    return {
        "metadata": {},
        "status": "Failure",
        "message": f"command terminated with non-zero exit code: exit status {code}",
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
    }


def failure(message: str) -> Object:
    return {"metadata": {}, "status": "Failure", "message": message, "reason": "InternalError", "code": 500}
