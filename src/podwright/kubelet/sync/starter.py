"""Starting one container: image, environment, configuration, create, start, postStart."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from pathlib import Path

from podwright.api import objects, pods
from podwright.api.objects import Object
from podwright.api.resources import CONFIGMAPS, SECRETS
from podwright.client.events import NORMAL, WARNING
from podwright.kubelet import labels
from podwright.kubelet.containers import failures
from podwright.kubelet.containers.container_config import ContainerInputs, container_config
from podwright.kubelet.containers.env import EnvSources, environment
from podwright.kubelet.containers.failures import ContainerFailure
from podwright.kubelet.devices.manager import DevicesUnavailable, Needs
from podwright.kubelet.events import container_field_path
from podwright.kubelet.hooks import HookFailed
from podwright.kubelet.images import BACK_OFF, ERR_NEVER, ERR_PULL
from podwright.kubelet.sync import sandboxes
from podwright.kubelet.sync.backoff import go_duration
from podwright.kubelet.sync.uncancelled import uncancelled
from podwright.kubelet.worker_context import WorkerContext
from podwright.runtime.protocol import (
    Container,
    ContainerConfig,
    ContainerState,
    Image,
    RuntimeFailure,
    Sandbox,
    SandboxConfig,
)

log = logging.getLogger(__name__)


class RetryLater(Exception):
    """The container was not started; `failure` is why, `seconds` when to try again."""

    def __init__(self, failure: ContainerFailure, seconds: float) -> None:
        super().__init__(str(failure))
        self.failure = failure
        self.seconds = seconds


def restart_key(pod: Object, ctr: Object) -> str:
    """The key of the container's restart delay: a new image begins with a fresh one."""
    return f"{objects.uid(pod)}/{ctr['name']}/{labels.container_hash(ctr)}"


class ContainerStarter:
    """Starts one container of a Pod once. `slow` is called when it is going to take long (a pull, a postStart hook)."""

    def __init__(self, context: WorkerContext, pod: Object, ctr: Object, slow: Callable[[], None]) -> None:
        self._context = context
        self._pod = pod
        self._ctr = ctr
        self._slow = slow
        self._where = container_field_path(pod, ctr["name"])
        self._present = False
        self.container_id = ""
        """Of the container that was made, "" before."""

    async def start(self, prepared: asyncio.Future[Sandbox]) -> Container:
        """Starts it in the sandbox that `prepared` gives once that and the volumes are there.

        Raises:
            RetryLater
        """
        last = self._context.cache.pod(objects.uid(self._pod)).latest(self._ctr["name"])
        self._heed_backoff(last)
        retry = self._context.config.retry_initial
        try:
            image = await self._image()
        except ContainerFailure as failed:
            self._event(WARNING, "Failed", f"Error: {failed.reason}")
            # A failed pull shows as such, soon after as backing off, until the delay is over.
            if failed.reason == BACK_OFF:
                retry = self._context.images.retry_after(self._pod, self._ctr.get("image") or "")
            elif failed.reason != ERR_PULL:
                retry = self._retry_delay(failed)
            raise RetryLater(failed, retry) from failed
        sandbox = await asyncio.shield(prepared)
        if self._present:
            # Not before: it is asked for again with each attempt to make sandbox and volumes.
            self._context.images.tell_present(self._pod, self._ctr.get("image") or "", self._where)
        try:
            return await self._run(sandbox, image, last)
        except ContainerFailure as failed:
            self._event(WARNING, "Failed", f"Error: {failed}")
            raise RetryLater(failed, self._retry_delay(failed)) from failed

    def _retry_delay(self, failed: ContainerFailure) -> float:
        if failed.reason in (failures.CONFIG_ERROR, ERR_NEVER):
            # What is missing is followed where that is possible; this is for what is not.
            return min(10.0, self._context.config.sync_period)
        return self._context.config.retry_initial

    def _heed_backoff(self, last: Container | None) -> None:
        if last is None or last.state is not ContainerState.EXITED:
            return
        key = restart_key(self._pod, self._ctr)
        left = self._context.restarts.remaining(key, last.finished_at)
        if left > 0:
            delay = go_duration(self._context.restarts.delay(key))
            name = f"{objects.name(self._pod)}_{objects.namespace(self._pod)}({objects.uid(self._pod)})"
            self._event(WARNING, "BackOff", f"Back-off restarting failed container {self._ctr['name']} in pod {name}")
            message = f"back-off {delay} restarting failed container={self._ctr['name']} pod={name}"
            raise RetryLater(ContainerFailure(failures.CRASH_LOOP, message), left)

    def _event(self, kind: str, reason: str, message: str) -> None:
        self._context.recorder.event(self._pod, kind, reason, message, field_path=self._where)

    async def _image(self) -> Image:
        return await self._context.images.ensure(
            self._pod,
            self._ctr.get("image") or "",
            self._ctr.get("imagePullPolicy") or "IfNotPresent",
            field_path=self._where,
            pulling=self._slow,
            present=self._found,
        )

    def _found(self) -> None:
        self._present = True

    async def _run(self, sandbox: Sandbox, image: Image, last: Container | None) -> Container:
        context, uid = self._context, objects.uid(self._pod)
        ips = sandboxes.ips_of(context, self._pod, sandbox)
        env = await self._environment(ips)
        shared = sandboxes.files(context, self._pod)
        needs = await self._devices()
        cpuset = context.manager.cpus.cpuset(uid, self._ctr["name"])
        try:
            config = container_config(
                ContainerInputs(
                    pod=self._pod,
                    ctr=self._ctr,
                    image=image,
                    restarts=self._restarts(last),
                    env={**env, **needs.env},
                    volumes=context.volumes.mounted(uid),
                    namespaces=sandbox.namespaces,
                    policy=context.node.policy,
                    hosts_file=shared.hosts,
                    resolv_file=shared.resolv,
                    target_id=self._target(sandbox),
                    devices=needs.devices,
                    cdi_devices=(*needs.cdi, *context.manager.claims.cdi(self._pod, self._ctr)),
                    extra_mounts=needs.mounts,
                    extra_annotations=needs.annotations,
                    cpuset=cpuset,
                ),
                context.config,
            )
            sandbox_config = await sandboxes.config_of(context, self._pod, sandbox.metadata.attempt)
        except (OSError, sandboxes.SandboxFailure) as failed:
            raise ContainerFailure(failures.CONFIG_ERROR, str(failed)) from failed
        if last is not None and last.state is ContainerState.EXITED:
            context.restarts.tried(restart_key(self._pod, self._ctr), last.finished_at)
        try:
            self.container_id = await uncancelled(self._create(sandbox, config, sandbox_config))
        except RuntimeFailure as failed:
            raise ContainerFailure(failed.reason or failures.CREATE_ERROR, str(failed)) from failed
        self._event(NORMAL, "Created", "Container created")
        try:
            await uncancelled(context.runtime.start_container(self.container_id))
            await context.manager.started(uid, self._ctr["name"], self.container_id, cpuset)
        except RuntimeFailure as failed:
            await context.cache.refresh_container(uid, self.container_id)
            raise ContainerFailure(failures.RUN_ERROR, str(failed)) from failed
        self._event(NORMAL, "Started", "Container started")
        container = await context.cache.refresh_container(uid, self.container_id)
        if container is None:
            raise ContainerFailure(failures.RUN_ERROR, f"container {self.container_id} is gone")
        await self._post_start(container, ips)
        return context.cache.pod(uid).latest(self._ctr["name"]) or container

    async def _create(self, sandbox: Sandbox, config: ContainerConfig, sandbox_config: SandboxConfig) -> str:
        """Its id. Who ends the Pod while this goes on finds the container in the cache."""
        container_id = await self._context.runtime.create_container(sandbox.id, config, sandbox_config)
        await self._context.cache.refresh_container(objects.uid(self._pod), container_id)
        return container_id

    async def _devices(self) -> Needs:
        """What the container's devices bring along, once they are ready for this start."""
        manager, uid, name = self._context.manager.devices, objects.uid(self._pod), self._ctr["name"]
        try:
            await manager.before_start(uid, name)
        except DevicesUnavailable as failed:
            raise failures.config_error(str(failed)) from failed
        return manager.needs(uid, name)

    def _restarts(self, last: Container | None) -> int:
        if last is not None:
            return labels.restart_count(last) + (0 if last.state is ContainerState.CREATED else 1)
        status = self._context.statuses.get(objects.uid(self._pod)) or self._pod.get("status") or {}
        for kind in ("containerStatuses", "initContainerStatuses"):
            for known in status.get(kind) or ():
                if known["name"] == self._ctr["name"] and known.get("containerID"):
                    return int(known.get("restartCount") or 0) + 1
                if known["name"] == self._ctr["name"]:
                    return int(known.get("restartCount") or 0)
        return 0

    def _target(self, sandbox: Sandbox) -> str:
        name = self._ctr.get("targetContainerName")
        if not name:
            return ""
        target = self._context.cache.pod(objects.uid(self._pod)).latest(name, sandbox.id)
        if target is None or target.state is not ContainerState.RUNNING:
            raise failures.config_error(
                f"unable to find target container {name}: container is not running"
            )
        return target.id

    async def _environment(self, ips: list[str]) -> dict[str, str]:
        context = self._context
        volumes: dict[str, Path] = {n: v.path for n, v in context.volumes.mounted(objects.uid(self._pod)).items()}
        sources = EnvSources(
            find=context.referenced.find,
            facts=context.downward(ips, pods.host_network(self._pod)),
            services=context.services(),
            volumes=volumes,
        )
        try:
            return await environment(self._pod, self._ctr, sources)
        except ContainerFailure:
            self._follow_references()
            raise

    def _follow_references(self) -> None:
        """Something is missing: the Pod is woken when one of the things that it names comes or changes."""
        namespace, uid = objects.namespace(self._pod), objects.uid(self._pod)
        for source in self._ctr.get("envFrom") or ():
            for field, resource in (("configMapRef", CONFIGMAPS), ("secretRef", SECRETS)):
                if field in source:
                    self._context.referenced.follow(uid, resource, namespace, source[field].get("name") or "")
        for entry in self._ctr.get("env") or ():
            for field, resource in (("configMapKeyRef", CONFIGMAPS), ("secretKeyRef", SECRETS)):
                if field in (entry.get("valueFrom") or {}):
                    name = entry["valueFrom"][field].get("name") or ""
                    self._context.referenced.follow(uid, resource, namespace, name)

    async def _post_start(self, container: Container, ips: list[str]) -> None:
        handler = (self._ctr.get("lifecycle") or {}).get("postStart")
        if not handler:
            return
        self._slow()
        try:
            await self._context.hooks.run(handler, self._ctr, container.id, ips)
        except HookFailed as failed:
            log.info("%s: postStart of %s: %s", pods.describe(self._pod), self._ctr["name"], failed)
            self._event(WARNING, "FailedPostStartHook", "PostStartHook failed")
            with contextlib.suppress(RuntimeFailure):
                await self._context.killer.kill(
                    self._pod, container, ips, message="FailedPostStartHook", run_hooks=True
                )
            await self._context.cache.refresh_container(objects.uid(self._pod), container.id)
            raise ContainerFailure(failures.POST_START_ERROR, str(failed)) from failed
