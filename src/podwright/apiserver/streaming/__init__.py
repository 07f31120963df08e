"""Streaming: logs, exec, attach, port-forward and the proxy subresources.

The API server is a relay between the client and the kubelet (or Pod, or Service): it finds the place, asks admission
(operation CONNECT), and hands bytes on.
"""

from __future__ import annotations

from urllib.parse import parse_qs

import aiohttp
from aiohttp import web

from podwright.api.objects import Object
from podwright.api.resources import NODES, PODS, SERVICES, Resource
from podwright.api.status import method_not_allowed, not_found, path_not_found
from podwright.apiserver.admission.chain import Chain
from podwright.apiserver.config import ApiServerConfig
from podwright.apiserver.requests import AdmissionRequest, Objects, UserInfo
from podwright.apiserver.streaming import logs, pods, proxy
from podwright.apiserver.streaming.kubelets import Kubelets
from podwright.apiserver.streaming.relay import relay

_ROWS: dict[str, Resource] = {"pods": PODS, "services": SERVICES, "nodes": NODES}
_OPTIONS = {"exec": "PodExecOptions", "attach": "PodAttachOptions", "portforward": "PodPortForwardOptions"}
_PROXY_OPTIONS = {"pods": "PodProxyOptions", "services": "ServiceProxyOptions", "nodes": "NodeProxyOptions"}


class Streaming:
    """One for a server. Call :meth:`close` at its end."""

    def __init__(self, config: ApiServerConfig, objects: Objects, admission: Chain) -> None:
        self._objects = objects
        self._admission = admission
        self.kubelets = Kubelets(config, objects)
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def handle(
        self, request: web.BaseRequest, *, user: UserInfo, namespace: str, name: str, resource: str, subresource: str,
        path: str = "",
    ) -> web.StreamResponse:
        """Serves one request. `resource` is "pods", "services" or "nodes"; `path` is what follows ``proxy/`` in the
        URL, still quoted, "" if nothing does. Raises ApiError before anything was sent."""
        if subresource == "proxy":
            return await self._proxy(request, user, namespace, name, resource, path)
        if resource != "pods":
            raise path_not_found()
        query = parse_qs(request.query_string, keep_blank_values=True)
        pod = self._objects.get(PODS, namespace, name)
        if pod is None:
            raise not_found("", "pods", name)
        if subresource == "log":
            if request.method not in ("GET", "HEAD"):
                raise method_not_allowed()
            return await self._logs(request, pod, query)
        if subresource not in _OPTIONS:
            raise path_not_found()
        await self._connect_admission(user, PODS, subresource, namespace, name, _options(subresource, query))
        pods.check_stream(subresource, query, name)
        target = pods.stream_target(pod, subresource, query)
        address = self.kubelets.address(pods.node_of(pod))
        return await relay(request, address.host, address.port, target, tls=self.kubelets.tls)

    async def _logs(self, request: web.BaseRequest, pod: Object, query: pods.Query) -> web.StreamResponse:
        target = pods.log_target(pod, query)
        node = (pod.get("spec") or {}).get("nodeName")
        if not node:
            return web.Response(headers={"Content-Type": "text/plain"})
        address = self.kubelets.address(node)
        insecure = pods.is_true(query, "insecureSkipTLSVerifyBackend")
        tls = self.kubelets.insecure_tls if insecure else self.kubelets.tls
        return await logs.stream(request, self.http(), address, target, tls, pod)

    async def _proxy(
        self, request: web.BaseRequest, user: UserInfo, namespace: str, name: str, resource: str, path: str
    ) -> web.StreamResponse:
        row = _ROWS.get(resource)
        if row is None:
            raise path_not_found()
        plain = proxy.split_name(name)[1]
        options: Object = {"kind": _PROXY_OPTIONS[resource], "apiVersion": "v1", "path": path}
        await self._connect_admission(user, row, "proxy", namespace, plain, options)
        if resource == "pods":
            backend = proxy.pod_backend(self._objects, self.kubelets, namespace, name)
        elif resource == "services":
            backend = proxy.service_backend(self._objects, self.kubelets, namespace, name)
        else:
            backend = proxy.node_backend(self.kubelets, name)
        return await proxy.forward(request, self.http(), backend, path, row.path(namespace, name, "proxy"))

    async def _connect_admission(
        self, user: UserInfo, row: Resource, subresource: str, namespace: str, name: str, options: Object
    ) -> None:
        admission = AdmissionRequest(
            user=user,
            operation="CONNECT",
            resource=row,
            subresource=subresource,
            namespace=namespace,
            name=name,
            object=options,
            old_object=None,
        )
        await self._admission.admit(admission)
        await self._admission.validate(admission)

    def http(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar())
        return self._session


def _options(subresource: str, query: pods.Query) -> Object:
    options: Object = {"kind": _OPTIONS[subresource], "apiVersion": "v1"}
    for field in ("stdin", "stdout", "stderr", "tty"):
        if pods.is_true(query, field):
            options[field] = True
    if query.get("container"):
        options["container"] = query["container"][0]
    if query.get("command"):
        options["command"] = list(query["command"])
    if subresource == "portforward" and query.get("ports"):
        options["ports"] = [int(p) for v in query["ports"] for p in v.split(",") if p.isascii() and p.isdigit()]
    return options
