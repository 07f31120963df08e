"""Sandbox and volumes of a Pod, made at the same time; and taking down a sandbox that is to be replaced."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from podwright.api import objects, pods
from podwright.api.objects import Object
from podwright.client.events import NORMAL
from podwright.kubelet.containers.downward import DownwardFacts
from podwright.kubelet.containers.failures import ContainerFailure
from podwright.kubelet.restart_policy import may_restart_all
from podwright.kubelet.sync import sandboxes
from podwright.kubelet.sync.actions import PodActions
from podwright.kubelet.sync.sandboxes import SandboxFailure
from podwright.kubelet.sync.uncancelled import first_of, uncancelled
from podwright.kubelet.volumes.mounted import MountedVolume, VolumeFailure
from podwright.kubelet.worker_context import WorkerContext
from podwright.runtime.protocol import Container, RuntimeFailure, Sandbox


def downward_facts(context: WorkerContext, pod: Object) -> DownwardFacts:
    sandbox = context.cache.pod(objects.uid(pod)).sandbox
    return context.downward(list(sandbox.ips) if sandbox else (), pods.host_network(pod))


async def prepare(context: WorkerContext, pod: Object, actions: PodActions) -> Sandbox:
    """The sandbox, once the volumes are there too.

    Raises:
        NotAdmitted, ClaimFailure, SandboxFailure, VolumeFailure, RuntimeFailure
    """
    await context.manager.prepare(pod)
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(_mount(context, pod))
            making = group.create_task(_sandbox(context, pod, actions))
    except* (SandboxFailure, VolumeFailure, RuntimeFailure) as failures:
        raise first_of(failures) from failures
    return making.result()


async def _sandbox(context: WorkerContext, pod: Object, actions: PodActions) -> Sandbox:
    if not actions.create_sandbox:
        known = context.cache.pod(objects.uid(pod)).sandbox
        if known is None:
            raise SandboxFailure("the sandbox is gone")
        await sandboxes.complete(context, pod, known)
        return known
    sandbox = await sandboxes.run(context, pod, actions.attempt)
    ips = sandboxes.ips_of(context, pod, sandbox)
    if ips:
        context.probes.pod_ip_known(objects.uid(pod), ips[0])
    return sandbox


async def _mount(context: WorkerContext, pod: Object) -> Mapping[str, MountedVolume]:
    async def pull(pod: Object, reference: str, policy: str) -> str:
        try:
            return (await context.images.ensure(pod, reference, policy)).id
        except ContainerFailure as failed:
            raise VolumeFailure(f"{failed.reason}: {failed}") from failed

    if context.volumes.is_mounted(pod):
        return context.volumes.mounted(objects.uid(pod))
    return await context.volumes.mount(pod, downward_facts(context, pod), pull)


async def take_down(context: WorkerContext, pod: Object, actions: PodActions) -> None:
    """The sandbox died, or all containers start over: ends what is left of it.

    Raises:
        RuntimeFailure
    """
    uid = objects.uid(pod)
    found = context.cache.pod(uid)
    if actions.create_sandbox:
        context.recorder.event(
            pod, NORMAL, "SandboxChanged", "Pod sandbox changed, it will be killed and re-created."
        )
    ips = sandboxes.ips_of(context, pod, found.sandbox)
    try:
        await context.killer.kill_pod(pod, found.running(), ips, run_hooks=not actions.restart_all)
    except* RuntimeFailure as failures:
        raise first_of(failures) from failures
    for container in found.alive():
        await context.cache.refresh_container(uid, container.id)
    if actions.restart_all:
        # Those whose end asked for it go last: whoever is killed meanwhile finds by them what was under way.
        for container in sorted(context.cache.pod(uid).containers, key=lambda c: _asks_for_all(pod, c)):
            if not pods.is_ephemeral(pod, container.name):
                await uncancelled(context.runtime.remove_container(container.id))
                context.cache.drop_container(uid, container.id)
        return
    for sandbox in found.sandboxes:
        await sandboxes.stop(context, uid, sandbox)


def _asks_for_all(pod: Object, container: Container) -> bool:
    return may_restart_all(pods.container(pod, container.name) or {})
