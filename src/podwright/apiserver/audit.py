"""The audit log: what was asked, by whom, and how it ended, one JSON line an event (Kubernetes documentation,
"Auditing").

How much is written is the policy's: the first rule that matches a request sets its level.
"""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from podwright.api.objects import Object, format_micro_time
from podwright.api.status import ApiError
from podwright.apiserver import config_files
from podwright.apiserver.exchange import One, Request, Stream
from podwright.apiserver.registry.watches import Watch
from podwright.apiserver.requests import PATCHES
from podwright.apiserver.reviews import user_object

NONE, METADATA, REQUEST, REQUEST_RESPONSE = range(4)
LEVELS = {"None": NONE, "Metadata": METADATA, "Request": REQUEST, "RequestResponse": REQUEST_RESPONSE}
_LEVEL_NAMES = {number: name for name, number in LEVELS.items()}
_SHAPE = {
    "metadata": None, "omitStages": [str], "omitManagedFields": bool,
    "rules": [
        {
            "level": str, "users": [str], "userGroups": [str], "verbs": [str], "namespaces": [str],
            "nonResourceURLs": [str], "omitStages": [str], "omitManagedFields": bool,
            "resources": [{"group": str, "resources": [str], "resourceNames": [str]}],
        }
    ],
}  # fmt: skip
RECEIVED, STARTED, COMPLETE, PANIC = "RequestReceived", "ResponseStarted", "ResponseComplete", "Panic"


@dataclass(frozen=True, slots=True)
class Auditing:
    """What the policy decides for one request."""

    level: int
    omitted_stages: frozenset[str] = frozenset()
    omit_managed_fields: bool = False


_SILENT = Auditing(NONE)


class Policy:
    def __init__(self, document: Object) -> None:
        """Raises ValueError if it is no policy of audit.k8s.io/v1."""
        if document.get("kind") != "Policy" or document.get("apiVersion") != "audit.k8s.io/v1":
            raise ValueError("not a Policy of audit.k8s.io/v1")
        self._rules: list[tuple[Object, Auditing]] = []
        for rule in document.get("rules") or ():
            if rule.get("level") not in LEVELS:
                raise ValueError(f"unknown audit level {rule.get('level')!r}")
            omitted = frozenset([*(document.get("omitStages") or ()), *(rule.get("omitStages") or ())])
            managed = rule.get("omitManagedFields", document.get("omitManagedFields", False))
            self._rules.append((rule, Auditing(LEVELS[rule["level"]], omitted, bool(managed))))

    @classmethod
    def from_file(cls, path: Path) -> Policy:
        """Raises OSError, ValueError."""
        return cls(config_files.read(path, "Policy", ("audit.k8s.io/v1",), _SHAPE))

    def of(self, request: Request) -> Auditing:
        return next((auditing for rule, auditing in self._rules if _matches(rule, request)), _SILENT)


def _matches(rule: Object, request: Request) -> bool:
    info, user = request.info, request.user
    if rule.get("users") and user.name not in rule["users"]:
        return False
    if rule.get("userGroups") and not set(rule["userGroups"]) & set(user.groups):
        return False
    if rule.get("verbs") and info.verb not in rule["verbs"]:
        return False
    if not rule.get("resources") and not rule.get("namespaces") and not rule.get("nonResourceURLs"):
        return True
    if info.is_resource:
        if rule.get("nonResourceURLs"):
            return False
        if rule.get("namespaces") and info.namespace not in rule["namespaces"]:
            return False
        resources = rule.get("resources")
        return not resources or any(_names(entry, request) for entry in resources)
    return any(_url(pattern, info.path) for pattern in rule.get("nonResourceURLs") or ())


def _url(pattern: str, path: str) -> bool:
    return pattern in ("*", path) or (pattern.endswith("*") and path.startswith(pattern[:-1]))


def _names(entry: Object, request: Request) -> bool:
    info = request.info
    if (entry.get("group") or "") != info.group:
        return False
    wanted = entry.get("resources")
    if not wanted:
        return True
    if entry.get("resourceNames") and info.name not in entry["resourceNames"]:
        return False
    full = f"{info.resource}/{info.subresource}" if info.subresource else info.resource
    any_of = {full, "*"}
    if info.subresource:
        any_of |= {f"*/{info.subresource}", f"{info.resource}/*"}
    return bool(any_of & set(wanted))


class LogFile:
    """Appends lines. One write call a line: lines of several processes do not mix."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def __call__(self, event: Object) -> None:
        os.write(self._file, orjson.dumps(event, option=orjson.OPT_APPEND_NEWLINE))

    def close(self) -> None:
        os.close(self._file)


class Auditor:
    """Stands around the serving of requests; `write` takes finished events."""

    def __init__(
        self, policy: Policy, write: Callable[[Object], None], *, clock: Callable[[], float] = time.time
    ) -> None:
        self._policy = policy
        self._write = write
        self._clock = clock

    async def __call__(self, request: Request, serve: Callable[[], Awaitable[Any]]) -> Any:
        """Serves the request and writes its events. What `serve` raises is raised."""
        auditing = self._policy.of(request)
        if auditing.level == NONE:
            return await serve()
        asker, received = request.user, self._clock()
        event = self._event(request, auditing, received)
        self._emit(event, RECEIVED, auditing)
        try:
            reply = await serve()
        except ApiError as error:
            self._describe(event, request, asker)
            event["responseStatus"] = _status(error.status)
            await self._bodies(event, request, auditing, None)
            self._emit(event, COMPLETE, auditing)
            raise
        except Exception:
            event["responseStatus"] = {"metadata": {}, "status": "Failure", "code": 500, "reason": "InternalError"}
            self._emit(event, PANIC, auditing)
            raise
        self._describe(event, request, asker)
        event["responseStatus"] = {"metadata": {}, "code": getattr(reply, "status", 200)}
        await self._bodies(event, request, auditing, reply)
        if isinstance(reply, Stream):
            self._emit(event, STARTED, auditing)
            return Stream(self._streamed(reply, event, auditing))
        if isinstance(reply, Watch):
            self._emit(event, STARTED, auditing)
            reply.ended = lambda: self._emit(event, COMPLETE, auditing)
        else:
            self._emit(event, COMPLETE, auditing)
        return reply

    def _streamed(self, reply: Stream, event: Object, auditing: Auditing) -> Callable[[Any], Awaitable[Any]]:
        async def run(raw: Any) -> Any:
            try:
                return await reply.run(raw)
            finally:
                self._emit(event, COMPLETE, auditing)

        return run

    def _event(self, request: Request, auditing: Auditing, received: float) -> Object:
        info = request.info
        uri = info.path + (f"?{request.raw_query}" if request.raw_query else "")
        event: Object = {
            "kind": "Event",
            "apiVersion": "audit.k8s.io/v1",
            "level": _LEVEL_NAMES[auditing.level],
            "auditID": request.audit_id,
            "stage": "",
            "requestURI": uri,
            "verb": info.verb,
            "user": user_object(request.user),
            "sourceIPs": list(_sources(request)),
            "userAgent": request.user_agent,
            "requestReceivedTimestamp": format_micro_time(received),
        }
        if info.is_resource:
            reference = {
                "resource": info.resource, "namespace": info.namespace, "name": info.name, "apiGroup": info.group,
                "apiVersion": info.version, "subresource": info.subresource,
            }
            event["objectRef"] = {k: v for k, v in reference.items() if v}
        return event

    def _describe(self, event: Object, request: Request, asker: Any) -> None:
        """What is known only after serving: impersonation, annotations of admission."""
        if request.impersonator is not None and request.user is not asker:
            event["impersonatedUser"] = user_object(request.user)
        if request.audit:
            bodies = LEVELS[event["level"]] >= REQUEST
            event["annotations"] = {k: v for k, v in request.audit.items() if bodies or not k.startswith(PATCHES)}

    async def _bodies(self, event: Object, request: Request, auditing: Auditing, reply: Any) -> None:
        if auditing.level >= REQUEST and request.info.verb in ("create", "update", "patch", "delete"):
            body = request.body_object
            if body is None:
                try:
                    body = orjson.loads(await request.read_body() or b"null")
                except (ApiError, orjson.JSONDecodeError):
                    body = None  # not JSON (YAML, protobuf): the event says what it can
            if body is not None:
                event["requestObject"] = _shown(body, auditing)
        if auditing.level >= REQUEST_RESPONSE and isinstance(reply, One):
            found = reply.object if reply.object is not None else getattr(reply.cached, "object", None)
            if found is not None:
                event["responseObject"] = _shown(found, auditing)

    def _emit(self, event: Object, stage: str, auditing: Auditing) -> None:
        if stage not in auditing.omitted_stages:
            self._write({**event, "stage": stage, "stageTimestamp": format_micro_time(self._clock())})


def _sources(request: Request) -> Iterable[str]:
    forwarded = request.headers.get("X-Forwarded-For")
    if forwarded:
        yield from (part.strip() for part in forwarded.split(",")[:10] if part.strip())
    remote = getattr(request.raw, "remote", None)
    if remote:
        yield str(remote)


def _status(status: Object) -> Object:
    return {k: v for k, v in status.items() if k in ("metadata", "status", "message", "reason", "details", "code")}


def _shown(body: Any, auditing: Auditing) -> Any:
    if auditing.omit_managed_fields and isinstance(body, dict) and "managedFields" in (body.get("metadata") or {}):
        return {**body, "metadata": {k: v for k, v in body["metadata"].items() if k != "managedFields"}}
    return body
