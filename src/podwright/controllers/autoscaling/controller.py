"""Looks at the metrics of each HorizontalPodAutoscaler every 15 seconds and sets the size of its target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from podwright.api import objects, quantity
from podwright.api.objects import Object
from podwright.api.resources import HORIZONTALPODAUTOSCALERS, PODS, Resource
from podwright.api.selectors import labels as label_selectors
from podwright.api.status import ApiError
from podwright.client.events import NORMAL, WARNING
from podwright.client.transport import ServerUnreachable
from podwright.controllers import pods, refs
from podwright.controllers.autoscaling import behavior, proposal
from podwright.controllers.autoscaling.metrics import MetricsClient, NoMetrics
from podwright.controllers.frame import Context, Controller
from podwright.controllers.served import ServedResources


@dataclass(slots=True)
class _Outcome:
    replicas: int = 0
    metric: str = ""
    statuses: list[Object] = field(default_factory=list)
    faults: list[tuple[str, str]] = field(default_factory=list)


class HorizontalPodAutoscalerController(Controller):
    """Without an autoscaler nothing is asked. `minReplicas` 0 with a target at 0 switches it off."""

    name = "horizontal-pod-autoscaler-controller"
    account = "horizontal-pod-autoscaler"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._metrics = MetricsClient(self.client)
        self._histories: dict[str, behavior.History] = {}
        self._selectors: dict[str, str] = {}
        self.served = ServedResources(context.informers)
        self._informers.append(self.served.informer)
        self.pods = self.informer(PODS, namespace=refs.by_namespace)
        self.autoscalers = self.informer(HORIZONTALPODAUTOSCALERS, self._changed)

    def _changed(self, old: Object | None, new: Object | None) -> None:
        if new is None:
            assert old is not None
            self._histories.pop(objects.key(old), None)
            self._selectors.pop(objects.key(old), None)
        elif old is None or old.get("spec") != new.get("spec"):
            self.enqueue(old, new)

    async def reconcile(self, key: str) -> None:
        autoscaler = self.autoscalers.get(key)
        if autoscaler is None:
            return
        self.queue.add_after(key, self.config.hpa_sync_period)
        status: Object = dict(autoscaler.get("status") or {})
        status["observedGeneration"] = autoscaler["metadata"].get("generation", 0)
        try:
            await self._scale(key, autoscaler, status)
        finally:
            if status != (autoscaler.get("status") or {}):
                await self.client.update_status(HORIZONTALPODAUTOSCALERS, {**autoscaler, "status": status})

    # -- the round --------------------------------------------------------------------------------------------------

    async def _scale(self, key: str, autoscaler: Object, status: Object) -> None:
        spec, reference = autoscaler["spec"], autoscaler["spec"]["scaleTargetRef"]
        row = self.served.by_kind(reference.get("apiVersion", "v1"), reference["kind"])
        try:
            if row is None:
                raise LookupError(f"no matches for kind {reference['kind']!r} in {reference.get('apiVersion')!r}")
            scale = await self.client.get(
                row, reference["name"], namespace=objects.namespace(autoscaler), subresource="scale"
            )
        except (ApiError, LookupError) as error:
            self.events.event(autoscaler, WARNING, "FailedGetScale", str(error))
            self._condition(status, "AbleToScale", "False", "FailedGetScale",
                            f"the HPA controller was unable to get the target's current scale: {error}")  # fmt: skip
            return
        self._condition(status, "AbleToScale", "True", "SucceededGetScale",
                        "the HPA controller was able to get the target's current scale")  # fmt: skip
        current = int((scale.get("spec") or {}).get("replicas") or 0)
        least, most = int(spec.get("minReplicas", 1)), int(spec["maxReplicas"])
        if key not in self._histories:
            self._histories[key] = behavior.History()
            self._histories[key].propose(self.clock.monotonic(), current)
        status["currentReplicas"] = current
        if current == 0 and least != 0:
            status["desiredReplicas"] = 0
            self._condition(status, "ScalingActive", "False", "ScalingDisabled",
                            "scaling is disabled since the replica count of the target is zero")  # fmt: skip
            return
        if current > most:
            desired, why = most, "Current number of replicas above Spec.MaxReplicas"
        elif current < least:
            desired, why = least, "Current number of replicas below Spec.MinReplicas"
        else:
            outcome = await self._measure(autoscaler, scale, current, status)
            if outcome is None:
                status["desiredReplicas"] = current
                return
            desired, why = self._limit(key, spec, current, outcome.replicas, status), self._reason(outcome, current)
        status["desiredReplicas"] = desired
        if desired != current:
            await self._resize(key, autoscaler, row, scale, desired, why, status)

    async def _resize(
        self, key: str, autoscaler: Object, row: Resource, scale: Object, desired: int, why: str, status: Object
    ) -> None:
        current = int((scale.get("spec") or {}).get("replicas") or 0)
        changed = {**scale, "spec": {**(scale.get("spec") or {}), "replicas": desired}}
        try:
            await self.client.update(row, changed, subresource="scale")
        except ApiError as refused:
            self.events.event(
                autoscaler, WARNING, "FailedRescale", f"New size: {desired}; reason: {why}; error: {refused}"
            )
            self._condition(status, "AbleToScale", "False", "FailedUpdateScale",
                            f"the HPA controller was unable to update the target scale: {refused}")  # fmt: skip
            raise
        self._condition(status, "AbleToScale", "True", "SucceededRescale",
                        f"the HPA controller was able to update the target scale to {desired}")  # fmt: skip
        self.events.event(autoscaler, NORMAL, "SuccessfulRescale", f"New size: {desired}; reason: {why}")
        self._histories[key].changed(self.clock.monotonic(), desired - current)
        status["lastScaleTime"] = objects.format_time(self.clock.now())

    def _limit(self, key: str, spec: Object, current: int, desired: int, status: Object) -> int:
        now, history = self.clock.monotonic(), self._histories[key]
        up = behavior.rules(spec, "scaleUp", self.config.hpa_downscale_stabilization)
        down = behavior.rules(spec, "scaleDown", self.config.hpa_downscale_stabilization)
        stable, held = behavior.stabilize(history, now, current, desired, up, down)
        if held:
            reason = "ScaleUpStabilized" if held == "up" else "ScaleDownStabilized"
            side = "lowest" if held == "up" else "highest"
            self._condition(
                status, "AbleToScale", "True", reason,
                f"recent recommendations were {'higher' if held == 'down' else 'lower'} than current one, applying "
                f"the {side} recent recommendation",
            )  # fmt: skip
        else:
            self._condition(status, "AbleToScale", "True", "ReadyForNewScale",
                            "recommended size matches current size")  # fmt: skip
        size, reason, message = behavior.rate_limit(history, now, current, stable, spec, up, down)
        self._condition(
            status, "ScalingLimited", "False" if reason == "DesiredWithinRange" else "True", reason, message
        )
        return size

    @staticmethod
    def _reason(outcome: _Outcome, current: int) -> str:
        if outcome.replicas > current:
            return f"{outcome.metric} above target"
        return "All metrics below target"

    # -- metrics ----------------------------------------------------------------------------------------------------

    async def _measure(self, autoscaler: Object, scale: Object, current: int, status: Object) -> _Outcome | None:
        """The largest proposal wins. With a metric that failed nothing is taken away."""
        selector = (scale.get("status") or {}).get("selector") or ""
        if not selector:
            message = "the HPA target's scale is missing a selector"
            self.events.event(autoscaler, WARNING, "SelectorRequired", "selector is required")
            self._condition(status, "ScalingActive", "False", "InvalidSelector", message)
            return None
        matches = label_selectors.parse(selector)
        found = [
            p for p in self.pods.by_index("namespace", objects.namespace(autoscaler))
            if matches.matches(objects.labels(p))
        ]  # fmt: skip
        rivals = self._rivals(autoscaler, selector, found)
        if rivals:
            message = f"pods by selector {selector} are controlled by multiple HPAs: {rivals}"
            self.events.event(autoscaler, WARNING, "AmbiguousSelector", message)
            self._condition(status, "ScalingActive", "False", "AmbiguousSelector", message)
            return None
        outcome = _Outcome(-1)
        wanted = autoscaler["spec"].get("metrics") or ()
        for metric in wanted:
            try:
                await self._one(autoscaler, metric, scale, current, selector, found, outcome)
            except (ApiError, ServerUnreachable, NoMetrics, LookupError) as error:
                outcome.faults.append((_failure_reason(metric), f"{_describe(metric)}: {error}"))
        if outcome.statuses:
            status["currentMetrics"] = outcome.statuses
        if outcome.faults and (outcome.replicas < 0 or outcome.replicas <= current):
            reason, message = outcome.faults[0]
            self.events.event(autoscaler, WARNING, reason, message)
            text = f"the HPA was unable to compute the replica count: {message}"
            self._condition(status, "ScalingActive", "False", reason, text)
            return None
        self._condition(
            status, "ScalingActive", "True", "ValidMetricFound",
            f"the HPA was able to successfully calculate a replica count from {outcome.metric}",
        )  # fmt: skip
        return outcome

    def _rivals(self, autoscaler: Object, selector: str, found: Sequence[Object]) -> list[str]:
        """All autoscalers that size these Pods, if there is more than this one."""
        own, namespace = objects.key(autoscaler), objects.namespace(autoscaler)
        self._selectors[own] = selector
        rivals = [
            key for key, other in self._selectors.items()
            if key != own and key.startswith(f"{namespace}/")
            and any(label_selectors.parse(other).matches(objects.labels(p)) for p in found)
        ]  # fmt: skip
        return sorted([own, *rivals]) if rivals else []

    async def _one(
        self, autoscaler: Object, metric: Object, scale: Object, current: int, selector: str,
        found: Sequence[Object], outcome: _Outcome,
    ) -> None:  # fmt: skip
        kind = metric["type"]
        body = metric[kind[0].lower() + kind[1:]]
        target, namespace, now = body["target"], objects.namespace(autoscaler), self.clock.now()
        tolerance = self._tolerance(autoscaler)
        shown: Object = {}
        if kind in ("Resource", "ContainerResource"):
            container = body.get("container", "")
            values = await self._metrics.resource(body["name"], namespace, selector, container)
            shown["name"] = body["name"]
            if container:
                shown["container"] = container
            if target["type"] == "Utilization":
                size, utilization, average = proposal.by_utilization(
                    current, int(target["averageUtilization"]), values, found, body["name"], container, tolerance,
                    self.config, now,
                )  # fmt: skip
                shown["current"] = {"averageUtilization": utilization, "averageValue": quantity.from_milli(average)}
                text = f"{body['name']} resource utilization (percentage of request)"
            else:
                size, average = proposal.by_average(
                    current, quantity.milli(target["averageValue"]), values, found, body["name"], tolerance,
                    self.config, now,
                )  # fmt: skip
                shown["current"] = {"averageValue": quantity.from_milli(average)}
                text = f"{body['name']} resource"
        elif kind == "Pods":
            values = await self._metrics.pods(body["metric"], namespace, selector)
            size, average = proposal.by_average(
                current, quantity.milli(target["averageValue"]), values, found, "", tolerance, self.config, now
            )
            shown = {"metric": body["metric"], "current": {"averageValue": quantity.from_milli(average)}}
            text = f"pods metric {body['metric']['name']}"
        else:
            size, shown, text = await self._whole(kind, body, namespace, scale, current, found, tolerance)
        outcome.statuses.append({"type": kind, kind[0].lower() + kind[1:]: shown})
        if size > outcome.replicas:
            outcome.replicas, outcome.metric = size, text

    async def _whole(
        self, kind: str, body: Object, namespace: str, scale: Object, current: int, found: Sequence[Object],
        tolerance: proposal.Tolerance,
    ) -> tuple[int, Object, str]:  # fmt: skip
        """Object and External metrics: one number about the whole."""
        target = body["target"]
        name = body["metric"]["name"]
        shown: Object = {"metric": body["metric"]}
        if kind == "Object":
            described = body["describedObject"]
            row = self.served.by_kind(described.get("apiVersion", "v1"), described["kind"])
            if row is None:
                raise LookupError(f"no matches for kind {described['kind']!r}")
            plural = row.qualified
            value = await self._metrics.object(body["metric"], namespace, described, plural)
            shown["describedObject"] = described
            text = f"{described['kind']} metric {name}"
        else:
            value = sum(await self._metrics.external(body["metric"], namespace))
            text = f"external metric {name}"
        if target["type"] == "Value":
            ready = sum(pods.is_ready(p) and pods.phase(p) == "Running" for p in found)
            size = proposal.by_value(current, ready, value, quantity.milli(target["value"]), tolerance)
            shown["current"] = {"value": quantity.from_milli(value)}
        else:
            replicas = int((scale.get("status") or {}).get("replicas") or 0)
            size = proposal.by_total(current, replicas, value, quantity.milli(target["averageValue"]), tolerance)
            shown["current"] = {"averageValue": quantity.from_milli(value // max(1, replicas))}
        return size, shown, text

    def _tolerance(self, autoscaler: Object) -> proposal.Tolerance:
        rules = autoscaler["spec"].get("behavior") or {}

        def of(direction: str) -> float:
            given = (rules.get(direction) or {}).get("tolerance")
            return self.config.hpa_tolerance if given is None else quantity.milli(given) / 1000

        return proposal.Tolerance(of("scaleDown"), of("scaleUp"))

    def _condition(self, status: Object, kind: str, value: str, reason: str, message: str) -> None:
        conditions = list(status.get("conditions") or ())
        made: Object = {
            "type": kind, "status": value, "reason": reason, "message": message,
            "lastTransitionTime": objects.format_time(self.clock.now()),
        }  # fmt: skip
        for index, known in enumerate(conditions):
            if known["type"] == kind:
                if known.get("status") == value:
                    made["lastTransitionTime"] = known.get("lastTransitionTime", made["lastTransitionTime"])
                conditions[index] = made
                break
        else:
            conditions.append(made)
        status["conditions"] = conditions


def _failure_reason(metric: Object) -> str:
    return {
        "Resource": "FailedGetResourceMetric", "ContainerResource": "FailedGetContainerResourceMetric",
        "Pods": "FailedGetPodsMetric", "Object": "FailedGetObjectMetric", "External": "FailedGetExternalMetric",
    }.get(metric["type"], "InvalidMetricSourceType")


def _describe(metric: Object) -> str:
    kind = metric["type"]
    body = metric.get(kind[0].lower() + kind[1:]) or {}
    name = body.get("name") or (body.get("metric") or {}).get("name") or ""
    return f"failed to get {name} {kind} metric value"
