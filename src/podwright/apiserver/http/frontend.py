"""Between HTTP and the pipeline: reads a request, answers in the form that was asked for."""

from __future__ import annotations

import asyncio
import gzip
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from podwright.api import status
from podwright.api.cel.errors import EvaluationError
from podwright.api.cel.values import parse_duration
from podwright.api.status import ApiError
from podwright.apiserver.encoding import Encoder
from podwright.apiserver.exchange import Bytes, Many, One, Request, Stream
from podwright.apiserver.flowcontrol import Flow
from podwright.apiserver.http.connections import Connection
from podwright.apiserver.http.responses import Finished, finished_request, head, warning_header
from podwright.apiserver.http.watch_stream import serve_watch
from podwright.apiserver.metrics import Metrics
from podwright.apiserver.negotiation import PLAIN, Form, negotiate
from podwright.apiserver.pipeline import MUTATING, Pipeline, lasts
from podwright.apiserver.registry.watches import Watch
from podwright.apiserver.requests import Credentials, UserInfo
from podwright.apiserver.routing import Query, resolve, split_target

_log = logging.getLogger(__name__)

_GZIP_FROM = 128 * 1024
_BODY_SECONDS = 60.0

class Frontend:
    """aiohttp's handler."""

    def __init__(
        self, pipeline: Pipeline, encoder: Encoder, metrics: Metrics, *, now: Callable[[], float], max_body: int,
        timeout: float, flow: Callable[[Request], Flow], stopping: asyncio.Event, row_of: Callable[[Request], Any],
        audited: Callable[[Request, Callable[[], Awaitable[Any]]], Awaitable[Any]] | None = None,
    ) -> None:
        self._pipeline = pipeline
        self._encoder = encoder
        self._metrics = metrics
        self._now = now
        self._max_body = max_body
        self._timeout = timeout
        self._flow = flow
        self._stopping = stopping
        self._row_of = row_of
        self._audited = audited

    async def __call__(self, raw: web.BaseRequest) -> Any:
        target = raw._message.path
        path, query_text = split_target(target)
        query = Query.parse(query_text)
        headers = raw._message.headers
        method = raw.method
        request = Request(
            method, resolve(method, path, query), query, headers, raw=raw,
            content_type=headers.get("Content-Type") or "", user_agent=headers.get("User-Agent") or "",
            raw_query=query_text,
        )
        request.new_audit_id()
        form = PLAIN
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            allotted = self._allotted(request)
            request.read_body = self._reader(raw)
            request.user = await self._authenticate(raw, request)
            if (headers.get("Expect") or "").lower() == "100-continue" and raw.transport is not None:
                raw.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            accept = headers.get("Accept") or ""
            if accept != "application/json" or request.user_agent or query:
                form = self._form(request, accept)
            reply = await (self._serve(request) if allotted is None else self._within(allotted, request))
            if isinstance(reply, Watch):
                return await self._watch(raw, request, reply, form)
            if isinstance(reply, Stream):
                return await self._stream(raw, request, reply)
            if isinstance(reply, One):
                answer = self._encoder.one(reply, form, query.get("includeObject") if form.shape else "")
            elif isinstance(reply, Many):
                answer = self._encoder.many(reply, form, query.get("includeObject") if form.shape else "")
            else:
                answer = reply
        except ApiError as exc:
            answer = self._encoder.status_error(exc, form)
            if exc.retry_after:
                answer.headers["Retry-After"] = str(exc.retry_after)
        except ConnectionError:
            if raw.transport is not None and not raw.transport.is_closing():
                raise
            return finished_request(raw)  # it left: nobody is there to be told, and it is no error of ours
        except asyncio.CancelledError:
            raise
        except Exception:
            _log.exception("%s %s", method, path)
            answer = self._encoder.status_error(status.internal("the server failed to answer this request"), form)
        self._metrics.observe(request, answer.status, loop.time() - began, len(answer.body))
        return await self._finish(raw, request, answer)

    def _allotted(self, request: Request) -> float | None:
        """Seconds that may pass until the answer; None for reads, which wait for nobody, unless they are given a
        limit. Raises ApiError (400)."""
        asked = request.query.get("timeout")
        if (not asked and request.info.verb not in MUTATING) or lasts(request.info):
            return None
        if asked:
            try:
                seconds = parse_duration(asked).ns / 1e9
            except EvaluationError as error:
                raise status.bad_request(f"invalid timeout specified in the request URL - {error}") from None
            if 0 < seconds < self._timeout:
                return seconds
        return self._timeout

    async def _within(self, seconds: float, request: Request) -> Any:
        scope = asyncio.timeout(seconds)
        try:
            async with scope:
                return await self._serve(request)
        except TimeoutError:
            if not scope.expired():
                raise
            why = "request did not complete within requested timeout - context deadline exceeded"
            raise status.failure(504, "Timeout", f"Timeout: {why}", {}) from None

    async def _serve(self, request: Request) -> Any:
        if self._audited is not None:
            return await self._audited(request, lambda: self._pipeline.serve(request))
        return await self._pipeline.serve(request)

    async def _authenticate(self, raw: web.BaseRequest, request: Request) -> UserInfo:
        connection: Any = raw.protocol
        assert isinstance(connection, Connection)
        headers: dict[str, str] = {}
        fields = tuple(request.headers.items())
        for name, value in fields:
            headers.setdefault(name.lower(), value)
        credentials = Credentials(headers, connection.certificate, connection.peer, connection.authority, fields)
        return await self._pipeline.authenticate(credentials, request.info.path)

    def _form(self, request: Request, accept: str) -> Form:
        if not request.info.is_resource:
            return Form(pretty=request.query.flag("pretty"))
        row = self._row_of(request) if "protobuf" in accept else None
        return negotiate(accept, request.user_agent, request.query.get("pretty"), row)

    def _reader(self, raw: web.BaseRequest) -> Callable[[], Awaitable[bytes]]:
        async def read() -> bytes:
            length = raw.content_length
            if length is not None and length > self._max_body:
                raise status.too_large(self._max_body)
            try:
                async with asyncio.timeout(_BODY_SECONDS):
                    return await raw.read()
            except web.HTTPRequestEntityTooLarge:
                raise status.too_large(self._max_body) from None
            except TimeoutError:
                raise status.failure(408, "Timeout", "the request body did not arrive in time") from None
            except (ValueError, web.RequestPayloadError) as exc:
                raise status.bad_request(f"the request body cannot be read: {exc}") from exc

        return read

    def _headers(self, request: Request) -> list[tuple[str, str]]:
        flow = self._flow(request)
        headers = [
            ("Audit-Id", request.audit_id), ("Cache-Control", "no-cache, private"),
            ("X-Kubernetes-Pf-Flowschema-Uid", flow.schema_uid), ("X-Kubernetes-Pf-Prioritylevel-Uid", flow.level_uid),
        ]
        if request.warnings:
            headers += [("Warning", warning_header(text)) for text in dict.fromkeys(request.warnings)]
        return headers

    async def _finish(self, raw: web.BaseRequest, request: Request, answer: Bytes) -> Finished:
        headers = self._headers(request)
        body = answer.body
        if len(body) >= _GZIP_FROM and "gzip" in (request.headers.get("Accept-Encoding") or "").lower():
            body = await asyncio.to_thread(gzip.compress, body, 1)
            headers += [("Content-Encoding", "gzip"), ("Vary", "Accept-Encoding")]
        if answer.content_type:
            headers.append(("Content-Type", answer.content_type))
        headers = [*(h for h in headers if h[0] not in answer.headers), *answer.headers.items()]
        return Finished(answer.status, head(answer.status, headers, self._now()), body, bool(raw.keep_alive))

    async def _stream(self, raw: web.BaseRequest, request: Request, reply: Stream) -> Any:
        self._metrics.watch_began(request)
        try:
            return await reply.run(raw)
        finally:
            self._metrics.watch_ended(request)

    async def _watch(self, raw: web.BaseRequest, request: Request, watch: Watch, form: Form) -> Any:
        self._metrics.watch_began(request)
        try:
            if raw.method == "HEAD":  # Events would be read as the next response of the connection.
                return await self._finish(raw, request, Bytes(b"", self._encoder.watch_type(form)))
            return await serve_watch(
                raw, watch, self._encoder, form, request.query.get("includeObject"), self._headers(request),
                self._now(), self._stopping,
            )
        except ApiError as exc:
            if exc.code == 410:
                body = self._encoder.error_frame(exc, form)
                answer = Bytes(body.split(b"\r\n", 1)[1][:-2], self._encoder.watch_type(form))
            else:
                answer = self._encoder.status_error(exc, form)
            return await self._finish(raw, request, answer)
        finally:
            self._metrics.watch_ended(request)
            watch.ended()
