"""The API server: builds its parts from a configuration, starts and stops them."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

from podwright.api.resources import (
    CLUSTERROLEBINDINGS,
    CLUSTERROLES,
    CONFIGMAPS,
    CUSTOMRESOURCEDEFINITIONS,
    EVENTS,
    NAMESPACES,
    ROLEBINDINGS,
    ROLES,
    SERVICES,
    Resource,
    served,
)
from podwright.apiserver import admission, authentication, authorization, bootstrap, collector, encryption
from podwright.apiserver.admission import priority
from podwright.apiserver.admission.webhook_client import WebhookClient
from podwright.apiserver.aggregation.availability import Availability, Published
from podwright.apiserver.aggregation.backends import Backends, Remote
from podwright.apiserver.aggregation.proxying import Aggregator
from podwright.apiserver.aggregation.registrations import Registrations
from podwright.apiserver.audit import Auditor, LogFile, Policy
from podwright.apiserver.authentication import Trust
from podwright.apiserver.authentication.issuers import Issuers
from podwright.apiserver.authentication.legacy_tokens import LegacyTokens
from podwright.apiserver.cache.entries import Event
from podwright.apiserver.cache.feed import Feed
from podwright.apiserver.component_statuses import ComponentStatuses
from podwright.apiserver.config import ApiServerConfig
from podwright.apiserver.crd import expressions
from podwright.apiserver.crd.establishing import DefinitionStrategy
from podwright.apiserver.crd.serving import CustomResources
from podwright.apiserver.discovery.pages import Discovery
from podwright.apiserver.encoding import Encoder
from podwright.apiserver.encryption import EncryptedStore
from podwright.apiserver.exchange import Request
from podwright.apiserver.flowcontrol import FLOW_SCHEMAS, PRIORITY_LEVELS, Classifier, default_objects
from podwright.apiserver.handlers import Handlers
from podwright.apiserver.health import Health
from podwright.apiserver.http.connections import Server
from podwright.apiserver.http.frontend import Frontend
from podwright.apiserver.http.listener import Listener
from podwright.apiserver.http.tls import server_context
from podwright.apiserver.inflight import Seats
from podwright.apiserver.local import LocalEndpoint
from podwright.apiserver.metrics import Metrics
from podwright.apiserver.objects import CacheObjects, SystemWriter
from podwright.apiserver.openapi.pages import OpenAPI
from podwright.apiserver.pages import install_pages
from podwright.apiserver.peers import Peers
from podwright.apiserver.pipeline import Pipeline
from podwright.apiserver.printers import Printers
from podwright.apiserver.registry.cluster_ips import Keeper
from podwright.apiserver.registry.kinds import strategies
from podwright.apiserver.registry.namespaces import finalize
from podwright.apiserver.registry.registry import Registry
from podwright.apiserver.registry.services import ServiceStrategy
from podwright.apiserver.reloading import Reloader
from podwright.apiserver.requests import Authenticator, Authorizer
from podwright.apiserver.resource_metrics.readings import Readings
from podwright.apiserver.resource_metrics.serving import install_resource_metrics
from podwright.apiserver.reviewing import install_reviews
from podwright.apiserver.standing import Standing
from podwright.apiserver.streaming import Streaming
from podwright.apiserver.upkeep import Upkeep
from podwright.store.protocol import Store
from podwright.store.urls import open_store

_log = logging.getLogger(__name__)
_RBAC = (ROLES, ROLEBINDINGS, CLUSTERROLES, CLUSTERROLEBINDINGS)


class ApiServer:
    """One API server over one store.

    ``await start()`` returns once it serves; ``await stop()`` ends watches, finishes requests and closes the store.
    ``local`` is the in-process endpoint (client.transport.Handler). `authorizer` and `authenticator` replace the
    configured ones (tests); `now` gives seconds since the epoch.
    """

    def __init__(
        self, config: ApiServerConfig, *, store: Store | None = None, now: Callable[[], float] = time.time,
        authorizer: Authorizer | None = None, authenticator: Authenticator | None = None,
    ) -> None:
        self.config = config
        self.now = now
        self.table = served(legacy=config.legacy_versions)
        self.store: Store = store if store is not None else open_store(config.store_url)
        self.metrics = Metrics()
        self.reloader = Reloader(self.metrics.registry)
        if config.encryption_config is not None:
            self.store = self._encrypted(config.encryption_config)
        paths = [self.table.storage_row(row).storage_path for row in self.table if "list" in row.verbs]
        self.feed = Feed(self.store, now, dict.fromkeys(paths))
        self.registry = Registry(
            store=self.store, feed=self.feed, table=self.table, now=now,
            strategies={
                **strategies(config.service_cidr, config.node_ports),
                (CUSTOMRESOURCEDEFINITIONS.group, CUSTOMRESOURCEDEFINITIONS.plural): DefinitionStrategy(),
            },
            exclusive=config.store_exclusive,
        )
        self.objects = CacheObjects(self.registry)
        self.writer = SystemWriter(self.registry)
        self.authorizers = authorization.Configured(config, self.objects, self.metrics.registry)
        configured_authorizer = self.authorizers.union
        self.legacy_tokens = LegacyTokens(self.objects, self.writer, now)
        self.issuers = Issuers(config)
        self.authentication = authentication.build(
            config, self.objects, used=self.legacy_tokens.used, issuers=self.issuers
        )
        self.admission = admission.build(
            config, self.objects, self.writer, configured_authorizer, self.table, self.registry.converted
        )
        self.registry.admission = self.admission
        self.printers = Printers(now)
        self.encoder = Encoder(self.registry, self.printers)
        self.streaming = Streaming(config, self.objects, self.registry.admission)
        self.handlers = Handlers(self.registry, min_watch_seconds=config.min_watch_seconds)
        self.flows = Classifier(
            self.objects, Seats(config.max_requests_inflight + config.max_mutating_requests_inflight),
            config.request_timeout / 4, now,
        )
        self.pipeline = Pipeline(
            authenticator or self.authentication, authorizer or configured_authorizer, self.flows,
            self.handlers, self.issuers.nobody,
        )
        self.discovery = Discovery(self.registry, self.encoder, f"{config.advertise_address}:{config.port}")
        self.webhooks = WebhookClient(self.objects)
        self.custom = CustomResources(
            self.registry, self.printers, changed=self._rows_changed, webhooks=self.webhooks,
            expressions=expressions.compile_schema,
        )
        self.openapi = OpenAPI(self.registry, self.custom.openapi)
        self.backends = backends = Backends(self.objects, config)
        self.aggregator = Aggregator(self.objects, backends, self.streaming.http)
        self.availability = Availability(
            self.objects, self.writer, self.aggregator, backends, self.streaming.http, now, self._learned
        )
        self.registrations = Registrations(self.registry, self.writer)
        self.cluster_ips = Keeper(self.registry, self.objects, self.writer, config.service_cidr)
        self.peers = Peers(self.registry, self.writer, config.advertise_address, lambda: self.port)
        self.standing = Standing(self.registry)
        self._stopping = asyncio.Event()
        self.health = Health(
            lambda: not self.feed.lost, lambda: self._ready, self.registrations.complete, self._stopping.is_set
        )
        self.local = LocalEndpoint(self.pipeline, self.encoder, self._stopping)
        self.port = config.port
        self._ready = False
        self._collector: tuple[int, int, int] | None = None
        self._listener: Listener | None = None
        self._http: Server | None = None
        self._background: asyncio.Task[None] | None = None
        self.handlers.subresources["namespaces", "finalize"] = finalize
        install_reviews(self.handlers, config, self.objects, self.authentication, configured_authorizer, now)
        self.handlers.streaming = self._stream
        if config.encryption_config is not None and config.encryption_config_automatic_reload:
            self.health.reloads_encryption()
        self._install_pages()
        self._follow_files()

    def _encrypted(self, path: Path) -> Store:
        store = EncryptedStore(self.store, encryption.rules_of(path), self.table)

        async def reload() -> None:
            store.reload(encryption.rules_of(path))

        if self.config.encryption_config_automatic_reload:
            self.reloader.follow("encryption at rest", [path], reload, kind="encryption")
        return store

    def _follow_files(self) -> None:
        config, follow = self.config, self.reloader.follow

        async def authorizers() -> None:
            await self.authorizers.reload()
            self.pipeline.forget_decisions()

        async def kubelets() -> None:
            self.streaming.kubelets.renew()

        async def proxied() -> None:
            self.backends.renew()

        follow("issuers of tokens", [config.authentication_config], self.issuers.reload, kind="authentication")
        follow("authorizers", [config.authorization_config], authorizers, kind="authorization")
        follow("serving certificate", [config.certificate, config.key], self._serve)
        follow("client authorities", [config.client_ca, config.requestheader_client_ca], self._trust)
        follow("kubelet client certificate", [config.kubelet_client_certificate, config.kubelet_client_key], kubelets)
        follow("front proxy certificate", [config.proxy_client_certificate, config.proxy_client_key], proxied)

    async def _serve(self) -> None:
        config = self.config
        tls = server_context(config.certificate, config.key, config.client_ca, config.requestheader_client_ca)
        assert self._listener is not None
        await self._listener.serve(tls)

    async def _trust(self) -> None:
        trust = Trust.of(self.config)
        await self._serve()
        self.authentication.trust = trust
        await bootstrap.client_authentication(self.writer, self.objects, self.config)

    async def _stream(self, raw: Any, request: Request, row: Resource) -> Any:
        info = request.info
        quoted = raw._message.path.partition("?")[0]
        _, _, path = quoted.partition(f"/{info.subresource}/")
        return await self.streaming.handle(
            raw, user=request.user, namespace=info.namespace, name=info.name, resource=info.resource,
            subresource=info.subresource, path=path if info.subresource == "proxy" else "",
        )

    def _install_pages(self) -> None:
        self.discovery.install(self.handlers)
        self.discovery.remote = lambda: self.aggregator.remotes
        self.aggregator.listeners.append(self.discovery.changed)
        self.handlers.aggregated = self.aggregator
        self.aggregator.unpublished = self.openapi.gives
        self.openapi.install(self.handlers)
        self.health.install(self.handlers)
        readings = Readings(self.streaming.kubelets, self.objects, self.streaming.http, self.now)
        install_resource_metrics(self.handlers, readings, self.objects)
        self.component_statuses = ComponentStatuses(self.streaming.http)
        self.handlers.virtual["", "componentstatuses"] = self.component_statuses
        install_pages(self.handlers, self.metrics, self.registry, self.pipeline, self.flows, self.encoder)

    async def start(self) -> None:
        """Opens the store, reads it, makes what every cluster has, and listens.

        Raises:
            OSError: the port is taken, or a file is missing.
            StoreUnavailable: the store cannot be opened.
        """
        await self.store.open()
        try:
            await self.feed.load()
            self._follow_cache()
            self.health.passed(
                "start-apiserver-admission-initializer", "generic-apiserver-start-informers",
                "storage-object-count-tracker-hook", "start-apiextensions-informers", "crd-informer-synced",
                "start-kube-aggregator-informers",
            )
            started: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._background = asyncio.create_task(self._run(started), name="apiserver")
            done, _ = await asyncio.wait((self._background, started), return_when=asyncio.FIRST_COMPLETED)
            if self._background in done:
                self._background.result()
            started.result()
            self._collector = collector.tune()
        except BaseException:
            await self.stop()
            raise

    def _follow_cache(self) -> None:
        services = self.registry.strategy(SERVICES)
        cache = self.registry.cache(SERVICES)
        if isinstance(services, ServiceStrategy):
            services.watch(cache.objects.values(), cache.listeners)
            self.cluster_ips.follow(services.ranges)
            self.cluster_ips.repairs.append(services.marks.repair)
        self.custom.follow()
        self._keep_standing()
        for row in _RBAC:
            self.registry.cache(row).listeners.append(self._rbac_changed)

    def _keep_standing(self) -> None:
        writer, objects, config = self.writer, self.objects, self.config
        keep = self.standing.keep
        keep(partial(bootstrap.namespaces, writer, objects), NAMESPACES, bootstrap.NAMESPACE_NAMES)
        service = partial(bootstrap.kubernetes_service, writer, objects, config)
        keep(lambda: service(self.port), SERVICES, ["default/kubernetes"])
        clients = partial(bootstrap.client_authentication, writer, objects, config)
        keep(clients, CONFIGMAPS, [bootstrap.AUTHENTICATION], changes=True)
        flow_control = partial(bootstrap.flow_control, writer, objects)
        for row in (FLOW_SCHEMAS, PRIORITY_LEVELS):
            names = [obj["metadata"]["name"] for kind, obj in default_objects() if kind is row]
            keep(flow_control, row, names, changes=True)

    def _rows_changed(self, group: str, version: str) -> None:
        self.discovery.changed()
        self.openapi.changed(group, version)

    def _learned(self, remote: Remote, said: Published | None) -> None:
        """What another API server has, as it said itself."""
        key, path = (remote.group, remote.version), remote.path.lstrip("/")
        if said is None:
            self.discovery.learned.pop(key, None)
            self.openapi.remote.pop(path, None)
        elif self.openapi.remote.get(path) == said:
            return
        else:
            self.discovery.learned[key] = said.resources
            self.openapi.remote[path] = said
        self._rows_changed(*key)

    def _rbac_changed(self, event: Event) -> None:
        self.pipeline.forget_decisions()

    async def _run(self, started: asyncio.Future[None]) -> None:
        """Everything that runs beside the requests, until cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self.feed.run(), name="feed")
                await self._bootstrap()
                await self._listen()
                self._ready = True
                upkeep = Upkeep(self.registry, self.registry.cache(EVENTS), self.config)
                tasks.create_task(upkeep.run(), name="upkeep")
                tasks.create_task(self.reloader.run(), name="files")
                tasks.create_task(self.peers.run(), name="peers")
                tasks.create_task(self.standing.run(), name="standing")
                tasks.create_task(self.cluster_ips.run(), name="cluster-ips")
                tasks.create_task(self.legacy_tokens.run(), name="legacy-tokens")
                tasks.create_task(self.custom.run(), name="custom-resources")
                tasks.create_task(self.registrations.run(), name="api-service-registration")
                tasks.create_task(self.availability.run(), name="api-service-availability")
                self.health.passed(
                    "start-apiextensions-controllers", "start-service-ip-repair-controllers",
                    "apiservice-registration-controller", "kube-apiserver-autoregistration",
                    "apiservice-status-local-available-controller", "apiservice-status-remote-available-controller",
                    "apiservice-discovery-controller", "apiservice-openapi-controller",
                    "apiservice-openapiv3-controller",
                )
                started.set_result(None)
        except BaseException as exc:
            if not started.done():
                if isinstance(exc, BaseExceptionGroup) and len(exc.exceptions) == 1:
                    exc = exc.exceptions[0]
                started.set_exception(exc)
                started.exception()
            raise
        finally:
            self._ready = False

    async def _bootstrap(self) -> None:
        writer, objects = self.writer, self.objects

        async def hook(step: Awaitable[None], *names: str) -> None:
            await step
            self.health.passed(*names)

        await hook(bootstrap.namespaces(writer, objects), "start-system-namespaces-controller")
        flow_control = [f"priority-and-fairness-{part}" for part in ("config-producer", "config-consumer", "filter")]
        async with asyncio.TaskGroup() as tasks:
            for made in (
                hook(bootstrap.policy(writer, objects), "rbac/bootstrap-roles"),
                hook(bootstrap.flow_control(writer, objects), *flow_control),
                hook(priority.ensure_classes(writer, objects), "scheduling/bootstrap-system-priority-classes"),
                hook(self.cluster_ips.ensure_default(), "start-kubernetes-service-cidr-controller"),
                hook(self.legacy_tokens.ensure_tracking(), "start-legacy-token-tracking-controller"),
            ):
                tasks.create_task(made)
        await hook(
            bootstrap.client_authentication(writer, objects, self.config),
            "start-cluster-authentication-info-controller",
        )

    async def _listen(self) -> None:
        config = self.config
        frontend = Frontend(
            self.pipeline, self.encoder, self.metrics, now=self.now, max_body=config.max_body,
            timeout=config.request_timeout, flow=self.flows.of,
            stopping=self._stopping, row_of=self.handlers.row, audited=self._auditor(),
        )
        self._http = Server(frontend, max_body=config.max_body + 1)
        self._listener = Listener(self._http, config.host, config.port)
        await self._serve()
        self.port = self._listener.port
        await bootstrap.kubernetes_service(self.writer, self.objects, config, self.port)
        await self.peers.reconcile()
        self.health.passed("bootstrap-controller")

    def _auditor(self) -> Auditor | None:
        config = self.config
        if config.audit_policy is None or config.audit_log is None:
            return None
        return Auditor(Policy.from_file(config.audit_policy), LogFile(config.audit_log), clock=self.now)

    async def wait(self) -> None:
        """Until the server is stopped. Raises what made it fail (a store that broke for good)."""
        if self._background is not None:
            await asyncio.wait((self._background,))
            if self._background is not None and not self._background.cancelled():
                self._background.result()

    async def stop(self) -> None:
        """Ends what runs. Calling it twice does no harm."""
        if self._collector is not None:
            collector.restore(self._collector)
            self._collector = None
        self._ready = False
        self._stopping.set()
        self.local.stop()
        for cache in self.feed.caches.values():
            cache.close_watches()
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.close()
        http, self._http = self._http, None
        if http is not None:
            http.pre_shutdown()
            await http.shutdown(self.config.shutdown_seconds)
        background, self._background = self._background, None
        if background is not None:
            await self.peers.leave()
            background.cancel()
            await asyncio.wait((background,))
        await self.streaming.close()
        await self.admission.close()
        await self.authorizers.close()
        await self.webhooks.close()
        await self.store.close()
