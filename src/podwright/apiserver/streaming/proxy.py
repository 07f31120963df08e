"""The proxy subresources of Pods, Services and Nodes: HTTP and upgraded connections to what runs in the cluster."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from dataclasses import dataclass

import aiohttp
from aiohttp import web
from yarl import URL

from podwright.api.objects import Object, labels
from podwright.api.resources import ENDPOINTSLICES, PODS, SERVICES
from podwright.api.status import bad_request, not_found, unavailable
from podwright.apiserver.requests import Objects
from podwright.apiserver.streaming.kubelets import Address, Kubelets
from podwright.apiserver.streaming.relay import forwarded_headers, relay, wants_upgrade

CONNECT_TIMEOUT = 10.0
SERVICE_NAME_LABEL = "kubernetes.io/service-name"
_ANSWER_HOP_BY_HOP = frozenset(
    {"connection", "keep-alive", "transfer-encoding", "upgrade", "content-length", "trailer"}
)


@dataclass(frozen=True, slots=True)
class Backend:
    address: Address
    tls: ssl.SSLContext | None
    server_name: str | None = None
    """Whose certificate is wanted, if not the address's."""


def split_name(text: str) -> tuple[str, str, str]:
    """(scheme, name, port) of ``[scheme:]name[:port]``. Raises ApiError (400) on anything else."""
    parts = text.split(":")
    if len(parts) == 1:
        return "", parts[0], ""
    if len(parts) == 2:
        return "", parts[0], parts[1]
    if len(parts) == 3 and parts[0] in ("", "http", "https"):
        return parts[0], parts[1], parts[2]
    raise bad_request(f"invalid request {text!r}")


def pod_backend(objects: Objects, kubelets: Kubelets, ns: str, text: str) -> Backend:
    scheme, pod_name, port = split_name(text)
    pod = objects.get(PODS, ns, pod_name)
    if pod is None:
        raise not_found("", "pods", pod_name)
    host = (pod.get("status") or {}).get("podIP")
    if not host:
        raise bad_request("address not allowed")
    number = _number(port) or _pod_port(pod, port)
    return Backend(Address(host, number or (443 if scheme == "https" else 80)), _tls(kubelets, scheme))


def _pod_port(pod: Object, wanted: str) -> int:
    for container in pod["spec"].get("containers") or ():
        for port in container.get("ports") or ():
            if not wanted or port.get("name") == wanted:
                return int(port["containerPort"])
    return 0


def service_backend(objects: Objects, kubelets: Kubelets, ns: str, text: str) -> Backend:
    """One ready endpoint of the Service's port. Raises ApiError (503) if there is none."""
    scheme, service_name, wanted = split_name(text)
    service = objects.get(SERVICES, ns, service_name)
    if service is None:
        raise not_found("", "services", service_name)
    ports: list[Object] = (service.get("spec") or {}).get("ports") or []
    if not wanted:
        port_name = (ports[0].get("name") or "") if len(ports) == 1 else ""
        if len(ports) != 1:
            raise unavailable(f'no endpoints available for service "{text}"')
    else:
        number = _number(wanted)
        chosen = next((p for p in ports if p.get("name") == wanted or (number and p.get("port") == number)), None)
        if chosen is None:
            raise unavailable(f'no service port "{wanted}" found for service "{service_name}"')
        port_name = chosen.get("name") or ""
    for endpoint_slice in objects.list(ENDPOINTSLICES, ns):
        if labels(endpoint_slice).get(SERVICE_NAME_LABEL) != service_name:
            continue
        port = next((p for p in endpoint_slice.get("ports") or () if (p.get("name") or "") == port_name), None)
        if port is None or not port.get("port"):
            continue
        for endpoint in endpoint_slice.get("endpoints") or ():
            if (endpoint.get("conditions") or {}).get("ready") is not False and endpoint.get("addresses"):
                return Backend(Address(endpoint["addresses"][0], int(port["port"])), _tls(kubelets, scheme))
    raise unavailable(f'no endpoints available for service "{service_name}"')


def node_backend(kubelets: Kubelets, text: str) -> Backend:
    """The node's kubelet, or another port of the node."""
    scheme, node_name, port = split_name(text)
    kubelet = kubelets.address(node_name)
    number = _number(port)
    if not port or number == kubelet.port:
        return Backend(kubelet, kubelets.tls)
    if not number:
        raise bad_request(f"invalid port {port!r}")
    return Backend(Address(kubelet.host, number), _tls(kubelets, scheme))


def _number(port: str) -> int:
    return int(port) if port.isascii() and port.isdigit() and 0 < int(port) < 65536 else 0


def _tls(kubelets: Kubelets, scheme: str) -> ssl.SSLContext | None:
    if scheme != "https":
        return None
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


async def forward(
    request: web.BaseRequest, session: aiohttp.ClientSession, backend: Backend, path: str, prefix: str,
    identity: Sequence[tuple[str, str]] = (),
) -> web.StreamResponse:
    """Sends the request to the backend under `path` and hands its answer on; `prefix` is the proxy's own path, which
    redirects of the backend are put behind; `identity` are headers that say who asks, for a backend that believes
    them: nobody else's X-Remote- headers reach it. Raises ApiError (503) if it cannot be reached."""
    if not path and not request.rel_url.raw_path.endswith("/") and request.method in ("GET", "HEAD"):
        location = prefix + "/" + (f"?{request.query_string}" if request.query_string else "")
        return web.Response(status=301, headers={"Location": location})
    target = "/" + path.lstrip("/") + (f"?{request.rel_url.raw_query_string}" if request.query_string else "")
    address = backend.address
    if wants_upgrade(request):
        return await relay(
            request, address.host, address.port, target, tls=backend.tls, identity=identity,
            server_name=backend.server_name,
        )
    url = f"{'https' if backend.tls is not None else 'http'}://{address.netloc}{target}"
    headers = forwarded_headers(request, identity)
    if request.remote:
        headers.append(("X-Forwarded-For", request.remote))
    body = request.content if request.can_read_body else None
    if body is not None and request.content_length is not None:
        # A length that was said stays said: simple servers do not read chunks.
        headers.append(("Content-Length", str(request.content_length)))
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT)
    try:
        async with session.request(
            request.method,
            URL(url, encoded=True),
            headers=headers,
            data=body,
            ssl=backend.tls if backend.tls is not None else True,
            server_hostname=backend.server_name,
            timeout=timeout,
            allow_redirects=False,
            auto_decompress=False,
        ) as answer:
            response = web.StreamResponse(status=answer.status, reason=answer.reason)
            for key, value in answer.headers.items():
                if key.lower() not in _ANSWER_HOP_BY_HOP:
                    response.headers.add(key, _location(value, prefix) if key.lower() == "location" else value)
            if answer.headers.get("Content-Length") and request.method != "HEAD":
                response.content_length = int(answer.headers["Content-Length"])
            await response.prepare(request)
            async for chunk in answer.content.iter_any():
                await response.write(chunk)
            await response.write_eof()
            return response
    except aiohttp.ClientConnectorError as error:
        raise unavailable(
            f"error trying to reach service: dial tcp {address.netloc}: {error.strerror or error}"
        ) from None
    except (aiohttp.ClientError, TimeoutError) as error:
        if getattr(request._payload_writer, "output_size", 0):
            if request.transport is not None:
                request.transport.close()
            raise
        raise unavailable(f"error trying to reach service: {error}") from None


def _location(value: str, prefix: str) -> str:
    return prefix + value if value.startswith("/") and not value.startswith("//") else value
