"""Ending a Pod: its containers, its sandboxes, and at last everything that the node keeps of it."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable

from podwright.api import objects
from podwright.api.objects import Object
from podwright.kubelet.containers.sandbox_config import log_directory_name
from podwright.kubelet.sync import sandboxes
from podwright.kubelet.sync.uncancelled import uncancelled
from podwright.kubelet.worker_context import WorkerContext
from podwright.runtime.protocol import ContainerState


async def end_containers(
    context: WorkerContext, pod: Callable[[], Object], grace: Callable[[], float | None], shorter: asyncio.Event
) -> None:
    """Ends every container and stops the sandboxes. `shorter` is set when the grace period has become shorter
    meanwhile (the Pod was deleted, or deleted again): the rest of it is then waited for.

    Raises:
        RuntimeFailure: (in an ExceptionGroup) something cannot be ended.
    """
    uid = objects.uid(pod())
    ips = sandboxes.ips_of(context, pod(), context.cache.pod(uid).sandbox)
    hooks = True
    while found := context.cache.pod(uid).running():
        shorter.clear()
        killing = asyncio.ensure_future(
            context.killer.kill_pod(pod(), found, ips, grace=grace(), run_hooks=hooks)
        )
        changed = asyncio.ensure_future(shorter.wait())
        try:
            await asyncio.wait((killing, changed), return_when=asyncio.FIRST_COMPLETED)
            if killing.done():
                killing.result()
        finally:
            changed.cancel()
            if not killing.done():
                killing.cancel()
                await asyncio.wait((killing,))
        # A grace period that was cut short runs no hook a second time.
        hooks = False
        for container in found:
            await context.cache.refresh_container(uid, container.id)
    for sandbox in context.cache.pod(uid).sandboxes:
        await sandboxes.stop(context, uid, sandbox)
    for container in context.cache.pod(uid).alive():
        if container.state is ContainerState.CREATED:  # it never ran, and never will
            await uncancelled(context.runtime.remove_container(container.id))
        await context.cache.refresh_container(uid, container.id)


async def remove_everything(context: WorkerContext, pod: Object) -> None:
    """Removes sandboxes, containers and logs of an ended Pod.

    Raises:
        RuntimeFailure
    """
    uid = objects.uid(pod)
    for sandbox in context.cache.pod(uid).sandboxes:
        await sandboxes.remove(context, uid, sandbox)
    for container in context.cache.pod(uid).containers:
        await uncancelled(context.runtime.remove_container(container.id))
        context.cache.drop_container(uid, container.id)
    logs = context.config.logs_dir / log_directory_name(pod)
    await asyncio.to_thread(shutil.rmtree, logs, True)
    context.user_namespaces.release(uid)
    context.restarts.forget(f"{uid}/")
    context.images.forget(uid)
