"""One attempt of a probe, by its handler, and the events that tell of it."""

from __future__ import annotations

from podwright.api.objects import Object
from podwright.client.events import WARNING, EventRecorder
from podwright.kubelet.events import container_field_path
from podwright.kubelet.probes import exec_command, tcp
from podwright.kubelet.probes.container_probe import ContainerProbe
from podwright.kubelet.probes.http import HttpProbe
from podwright.kubelet.probes.outcomes import Outcome, ProbeErrored, Result, resolve_port
from podwright.runtime.protocol import ContainerRuntime

_TRIES = 3
"""Attempts that could not be carried out are made again this often, at once."""


class Prober:
    def __init__(self, runtime: ContainerRuntime, recorder: EventRecorder) -> None:
        self._runtime = runtime
        self._recorder = recorder

    async def attempt(
        self, pod: Object, ctr: Object, probe: ContainerProbe, container_id: str, ip: str
    ) -> Outcome:
        """Raises ProbeErrored."""
        spec, timeout = probe.spec, probe.timeout
        if "exec" in spec:
            return await exec_command.probe(self._runtime, container_id, ctr, spec["exec"], timeout)
        if "httpGet" in spec:
            return await HttpProbe.of(spec["httpGet"], ctr, ip).run(timeout)
        if "tcpSocket" in spec:
            action = spec["tcpSocket"]
            host = action.get("host") or ip
            port = resolve_port(action.get("port"), ctr)
            if not host:
                raise ProbeErrored("the Pod has no IP address yet")
            return await tcp.probe(host, port, timeout)
        if "grpc" in spec:
            if not ip:
                raise ProbeErrored("the Pod has no IP address yet")
            from podwright.kubelet.probes import grpc

            action = spec["grpc"]
            return await grpc.probe(ip, int(action["port"]), str(action.get("service") or ""), timeout)
        raise ProbeErrored(f"missing probe handler for {ctr['name']}")

    async def probe(
        self, pod: Object, ctr: Object, probe: ContainerProbe, container_id: str, ip: str
    ) -> Outcome | None:
        """None if the attempt says nothing about the container. Cancelled when the container has gone meanwhile, so
        that its end makes no event."""
        errored = ProbeErrored("")
        for _ in range(_TRIES):
            try:
                outcome = await self.attempt(pod, ctr, probe, container_id, ip)
                break
            except ProbeErrored as failed:
                errored = failed
        else:
            self._event(
                pod, ctr, "Unhealthy",
                f"{probe.kind.title} probe errored and resulted in unknown state: {errored}",
            )  # fmt: skip
            return None
        if outcome.result is Result.FAILURE:
            self._event(pod, ctr, "Unhealthy", f"{probe.kind.title} probe failed: {outcome.output}")
        elif outcome.result is Result.WARNING:
            self._event(pod, ctr, "ProbeWarning", f"{probe.kind.title} probe warning: {outcome.output}")
        return outcome

    def _event(self, pod: Object, ctr: Object, reason: str, message: str) -> None:
        where = container_field_path(pod, ctr["name"])
        self._recorder.event(pod, WARNING, reason, message, field_path=where)
