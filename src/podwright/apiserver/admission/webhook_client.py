"""Calls of admission webhooks: AdmissionReview, v1 or v1beta1, over HTTPS to a URL or a Service."""

from __future__ import annotations

import base64
import ssl
import uuid
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import orjson
from yarl import URL

from podwright.api.objects import Object, labels
from podwright.api.resources import ENDPOINTSLICES, SERVICES
from podwright.api.status import ApiError, failure
from podwright.apiserver.admission.expressions import request_object
from podwright.apiserver.admission.webhook_users import WebhookUsers
from podwright.apiserver.call_failures import answered, told
from podwright.apiserver.kubeconfigs import headers_of, show_certificate
from podwright.apiserver.requests import AdmissionRequest, Objects

DEFAULT_TIMEOUT = 10
MAX_ANSWER = 3 * 1024 * 1024
_VERSIONS = ("v1", "v1beta1")
SERVICE_NAME = "kubernetes.io/service-name"


class CallFailed(Exception):
    """The webhook could not be asked, or its answer is none. Whether that refuses the request is failurePolicy's."""


@dataclass(frozen=True, slots=True)
class Target:
    """`url` is what messages name, `connect` where the connection goes, `server_name` whose certificate is wanted."""

    url: str
    connect: str
    server_name: str


def target_of(objects: Objects, config: Object, timeout: int) -> Target:
    """Where a webhook's clientConfig points. Raises CallFailed if its Service cannot be reached."""
    if config.get("url"):
        url = str(config["url"])
        separator = "&" if "?" in url else "?"
        url = f"{url}{separator}timeout={timeout}s"
        return Target(url, url, urlsplit(url).hostname or "")
    reference = config.get("service") or {}
    ns, name = str(reference.get("namespace") or ""), str(reference.get("name") or "")
    port, path = int(reference.get("port") or 443), str(reference.get("path") or "").lstrip("/")
    rest = f"/{path}?timeout={timeout}s"
    server_name = f"{name}.{ns}.svc"
    url = f"https://{server_name}:{port}{rest}"
    try:
        host, number = service_endpoint(objects, ns, name, port)
    except CallFailed as error:
        raise CallFailed(f'failed to call webhook: Post "{url}": {error}') from None
    host = f"[{host}]" if ":" in host else host
    return Target(url, f"https://{host}:{number}{rest}", server_name)


def service_endpoint(objects: Objects, ns: str, name: str, port: int) -> tuple[str, int]:
    """Host and port of a ready endpoint of a Service's port. Raises CallFailed."""
    service = objects.get(SERVICES, ns, name)
    if service is None:
        raise CallFailed(f'service "{name}" not found')
    spec = service.get("spec") or {}
    chosen = next((p for p in spec.get("ports") or () if p.get("port") == port), None)
    if chosen is None:
        raise CallFailed(f'no service port {port} found for service "{name}"')
    if spec.get("type") == "ExternalName":
        return str(spec.get("externalName") or ""), port
    for endpoint_slice in objects.list(ENDPOINTSLICES, ns):
        if labels(endpoint_slice).get(SERVICE_NAME) != name:
            continue
        ports = endpoint_slice.get("ports") or ()
        found = next((p for p in ports if (p.get("name") or "") == (chosen.get("name") or "")), None)
        for endpoint in endpoint_slice.get("endpoints") or () if found else ():
            if (endpoint.get("conditions") or {}).get("ready") is not False and endpoint.get("addresses"):
                return str(endpoint["addresses"][0]), int((found or {})["port"])
    raise CallFailed(f'no endpoints available for service "{name}"')


def rejected(name: str, result: Object | None) -> ApiError:
    """The webhook's no, in upstream's words."""
    result = dict(result or {})
    code = int(result.get("code") or 0)
    text = result.get("message") or result.get("reason")
    denied = f'admission webhook "{name}" denied the request'
    message = f"{denied}: {text}" if text else f"{denied} without explanation"
    error = failure(code if code >= 400 else 400, str(result.get("reason") or ""), message)
    if result.get("details"):
        error.status["details"] = result["details"]
    return error


class WebhookClient:
    """Connections are kept between calls; :meth:`close` ends them."""

    def __init__(self, objects: Objects, users: WebhookUsers | None = None) -> None:
        """`users`: who the API server is to a webhook."""
        self._objects = objects
        self._users = users
        self._session: aiohttp.ClientSession | None = None
        self._tls: dict[tuple[str, int], ssl.SSLContext] = {}

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def call(self, webhook: Object, request: AdmissionRequest, *, mutating: bool) -> Object:
        """The ``response`` of the webhook's AdmissionReview of a request in the version that it names, with ``patch``
        decoded; warnings and audit annotations are taken over into the request. Raises CallFailed."""
        version = next((v for v in webhook.get("admissionReviewVersions") or () if v in _VERSIONS), None)
        if version is None:
            raise CallFailed(
                "could not create admission objects: webhook does not accept known AdmissionReview versions"
                f" ({', '.join(_VERSIONS)})"
            )
        timeout = int(webhook.get("timeoutSeconds") or DEFAULT_TIMEOUT)
        identifier = str(uuid.uuid4())
        body = {
            "kind": "AdmissionReview",
            "apiVersion": f"admission.k8s.io/{version}",
            "request": {
                "uid": identifier,
                **request_object(request),
                "object": request.object if request.operation != "DELETE" else None,
                "oldObject": request.old_object,
            },
        }
        answer = await self.post(webhook.get("clientConfig") or {}, orjson.dumps(body), timeout)
        response = _verified(answer, identifier, version, mutating)
        name = str(webhook.get("name") or "")
        for key, value in (response.get("auditAnnotations") or {}).items():
            request.audit[f"{name}/{key}"] = str(value)
        request.warnings.extend(str(warning) for warning in response.get("warnings") or ())
        return response

    async def post(self, config: Object, body: bytes, timeout: int) -> Any:
        """The JSON that a ``clientConfig`` answers to `body` within `timeout` seconds. Raises CallFailed."""
        target = target_of(self._objects, config, timeout)
        if self._session is None:
            self._session = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar())
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        user: Object = {}
        if self._users is not None:
            user = self._users.find(target.server_name, urlsplit(target.url).port or 443)
            headers |= headers_of(user, self._users.base)
        try:
            async with self._session.post(
                URL(target.connect, encoded=True), data=body, headers=headers,
                ssl=self._context(str(config.get("caBundle") or ""), user), server_hostname=target.server_name,
                timeout=aiohttp.ClientTimeout(total=timeout), allow_redirects=False,
            ) as response:
                content = await response.content.read(MAX_ANSWER + 1)
                while len(content) <= MAX_ANSWER and (more := await response.content.read(MAX_ANSWER)):
                    content += more
                if len(content) > MAX_ANSWER:
                    raise CallFailed("failed to call webhook: the answer is too large")
                if not 200 <= response.status <= 206:
                    said = answered(response.status, content, response.headers.get("Content-Type") or "")
                    raise CallFailed(f"failed to call webhook: {said}")
                return orjson.loads(content)
        except (TimeoutError, aiohttp.ClientError) as error:
            raise CallFailed(f'failed to call webhook: Post "{target.url}": {told(error)}') from None
        except ValueError as error:
            why = f"couldn't get version/kind; json parse error: {error}"
            raise CallFailed(f"failed to call webhook: {why}") from None

    def _context(self, bundle: str, user: Object) -> ssl.SSLContext:
        key = bundle, id(user) if user else 0  # users live as long as their file is read: for good
        known = self._tls.get(key)
        if known is None:
            try:
                authority = base64.b64decode(bundle).decode().strip() or None
                known = ssl.create_default_context(cadata=authority)
                if self._users is not None:
                    show_certificate(known, user, self._users.base)
            except (ValueError, ssl.SSLError):
                why = "unable to load root certificates: unable to parse bytes as PEM block"
                raise CallFailed(f"could not get REST client: {why}") from None
            if len(self._tls) > 256:
                self._tls.clear()
            self._tls[key] = known
        return known


def gvk(answer: Object) -> str:
    """An object's version and kind as messages show them; what is missing is empty."""
    version = str(answer.get("apiVersion") or "/")
    return f"{version}, Kind={answer.get('kind') or ''}"


def _verified(answer: Any, identifier: str, version: str, mutating: bool) -> Object:
    """The response of an AdmissionReview. v1beta1 is held to less, as its first webhooks left much out."""
    invalid = "received invalid webhook response: "
    if not isinstance(answer, dict):
        raise CallFailed("failed to call webhook: couldn't get version/kind; json parse error: the answer is no object")
    wanted = {"apiVersion": f"admission.k8s.io/{version}", "kind": "AdmissionReview"}
    meant = {field: answer.get(field) or value for field, value in wanted.items()}
    if meant != wanted:
        other = str(meant["apiVersion"]).removeprefix("admission.k8s.io/")
        if meant["kind"] == "AdmissionReview" and other in _VERSIONS:
            why = f"converting ({other}.AdmissionReview) to ({version}.AdmissionReview): unknown conversion"
        else:
            why = f'no kind "{meant["kind"]}" is registered for version "{meant["apiVersion"]}"'
        raise CallFailed(f"failed to call webhook: {why}")
    response = answer.get("response")
    if not isinstance(response, dict):
        raise CallFailed(f"{invalid}webhook response was absent")
    if version == "v1":
        if response.get("uid") != identifier:
            raise CallFailed(f'{invalid}expected response.uid="{identifier}", got "{response.get("uid") or ""}"')
        if answer.get("apiVersion") != wanted["apiVersion"] or answer.get("kind") != wanted["kind"]:
            raise CallFailed(f"{invalid}expected webhook response of {gvk(wanted)}, got {gvk(answer)}")
        if problem := _patch_problem(response, mutating):
            raise CallFailed(invalid + problem)
    patch = response.get("patch") if mutating and response.get("allowed") else None
    return {**response, "patch": _operations(patch, response, version) if patch else None}


def _patch_problem(response: Object, mutating: bool) -> str:
    patch, kind = response.get("patch"), response.get("patchType")
    if not mutating:
        field = "patch" if patch else "patchType" if kind is not None else ""
        return f"validating webhook may not return response.{field}" if field else ""
    if patch and kind is None:
        return "webhook returned response.patch but not response.patchType"
    if kind is not None and not patch:
        return "webhook returned response.patchType but not response.patch"
    return 'webhook returned invalid response.patchType of ""' if kind == "" else ""


def _operations(patch: Any, response: Object, version: str) -> Any:
    try:
        text = base64.b64decode(str(patch), validate=True)
    except ValueError:
        raise CallFailed("failed to call webhook: illegal base64 data") from None
    try:
        operations = orjson.loads(text)
    except ValueError as error:
        raise CallFailed(f"received undecodable patch in webhook response: {error}") from None
    kind = response.get("patchType")
    if operations and version == "v1" and kind != "JSONPatch":
        raise CallFailed(f'unsupported patch type "{kind}"')
    return operations
