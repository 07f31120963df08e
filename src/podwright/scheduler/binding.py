"""From a decision to a bound Pod: Reserve, Permit, PreBind, Bind, PostBind."""

from __future__ import annotations

import asyncio

from podwright.scheduler.framework.permits import Permits
from podwright.scheduler.framework.profile import Profile
from podwright.scheduler.framework.protocols import Reserve
from podwright.scheduler.framework.verdicts import PluginFailed, Refusal, Wait
from podwright.scheduler.metrics import at_point
from podwright.scheduler.state.pods import PodInfo


class Stopped(Exception):
    """A plugin refused a Pod on its way to being bound."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


def _stop(refusal: Refusal | None, plugin: object) -> None:
    if refusal is not None:
        name = refusal.plugin or str(getattr(plugin, "name", ""))
        raise Stopped(Refusal(refusal.message, name))


async def bind(profile: Profile, permits: Permits, pod: PodInfo, node: str, *, plugin_timeout: float) -> None:
    """Binds. If that fails, what plugins reserved is given back before this raises.

    Raises:
        Stopped: a plugin refused.
        ApiError, ServerUnreachable: the API server did not take the binding.
        PluginFailed: no plugin bound the Pod.
    """
    reserved: list[Reserve] = []
    name = profile.scheduler_name
    try:
        with at_point("Reserve", name):
            for plugin in profile.reserve:
                reserved.append(plugin)
                _stop(plugin.reserve(pod, node), plugin)
        if profile.permit:
            with at_point("Permit", name):
                for gate in profile.permit:
                    answer = gate.permit(pod, node)
                    if isinstance(answer, Wait):
                        answer = await permits.wait(pod.uid, str(getattr(gate, "name", "")), answer.seconds)
                    _stop(answer, gate)
        with at_point("PreBind", name):
            for before in profile.pre_bind:
                if before.needs_pre_bind(pod, node):
                    _stop(await before.pre_bind(pod, node), before)
        with at_point("Bind", name):
            for binder in profile.bind:
                if getattr(binder, "name", "") in profile.foreign:
                    async with asyncio.timeout(plugin_timeout):
                        bound = await binder.bind(pod, node)
                else:
                    bound = await binder.bind(pod, node)
                if bound:
                    return
            raise PluginFailed("", "Bind", "no plugin bound the pod")
    except BaseException:
        for plugin in reversed(reserved):
            plugin.unreserve(pod, node)
        raise
