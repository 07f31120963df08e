"""Why a Pod is, or is not, on a node: the scheduler's own plugins, asked about one Pod and every node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from podwright.api import objects, pods
from podwright.api.objects import Object
from podwright.api.resources import Resource
from podwright.client.client import Client
from podwright.client.clock import SystemClock
from podwright.client.transport import Call, ServerUnreachable
from podwright.scheduler.config import SchedulerConfig
from podwright.scheduler.framework.evaluation import Evaluation, Judgement, Refused
from podwright.scheduler.framework.handle import Handle
from podwright.scheduler.framework.profile import Profile
from podwright.scheduler.framework.verdicts import SKIP, PluginFailed, Reason, Refusal
from podwright.scheduler.state.cluster import ClusterState
from podwright.scheduler.state.pods import PodInfo


@dataclass(frozen=True, slots=True)
class Placement:
    """A node's answer: every reason against it (none: the Pod fits), and its score from 0 to 1. `plugins` has each
    scoring plugin's own score, from 0 to 100, for nodes that fit."""

    node: str
    refusals: Sequence[str]
    score: float
    chosen: bool
    plugins: Mapping[str, int] = field(default_factory=dict)


class _NoServer:
    """Explaining only evaluates: nothing may reach an API server."""

    async def call(self, call: Call) -> Object:
        raise ServerUnreachable("an explanation makes no calls")

    def watch(self, call: Call) -> object:
        raise ServerUnreachable("an explanation makes no calls")

    async def aclose(self) -> None:
        """Nothing to let go of."""


def explain(
    pod: Object, nodes: Sequence[Object], all_pods: Sequence[Object], *,
    others: Mapping[Resource, Sequence[Object]] | None = None, config: SchedulerConfig | None = None,
) -> list[Placement]:
    """Each node as the scheduler would see it now if the Pod were not placed yet; the best first. `others` are the
    volumes, claims and storage classes that plugins look up.

    Raises:
        ValueError: the configuration is wrong, or no profile is for the Pod's schedulerName and there is no other.
    """
    state = ClusterState()
    for node in nodes:
        state.nodes.put(node)
    for other in all_pods:
        if pods.node_name(other) and not pods.is_terminal(other) and objects.uid(other) != objects.uid(pod):
            state.put_pod(other)
    wanted = (pod.get("spec") or {}).get("schedulerName") or "default-scheduler"
    profiles = (config or SchedulerConfig()).profiles
    profile = next((p for p in profiles if p.scheduler_name == wanted), profiles[0])
    evaluation = Evaluation(Profile(profile, _handle(state, others or {})), state.nodes)
    chosen = pods.node_name(pod)
    unplaced = {**pod, "spec": {**(pod.get("spec") or {}), "nodeName": ""}}
    asked = PodInfo(unplaced, state.classes.of(unplaced))
    judgement, everywhere = _judge(evaluation, asked, state)
    refusals = _refusals(evaluation, asked, state, everywhere)
    scores = evaluation.scores_by_plugin(asked, judgement) if len(judgement.feasible) else {}
    whole = sum(weight for _, weight in scores.values()) * 100
    by_row = {int(row): i for i, row in enumerate(judgement.feasible)}
    answers = []
    for entry in state.nodes.entries():
        at = by_row.get(entry.row)
        own = {} if at is None else {name: int(values[at]) for name, (values, _) in scores.items()}
        total = sum(own[name] * scores[name][1] for name in own) / whole if whole and own else 0.0
        said = refusals.get(entry.row, [])
        answers.append(Placement(entry.name, said, round(total, 4), entry.name == chosen, own))
    return sorted(answers, key=lambda a: (bool(a.refusals), -a.score, a.node))


def _handle(state: ClusterState, others: Mapping[Resource, Sequence[Object]]) -> Handle:
    found = {row: {objects.key(o): o for o in listed} for row, listed in others.items()}
    return Handle(
        Client(_NoServer()), state, SystemClock(),  # type: ignore[arg-type]
        objects_of=lambda row: list(found.get(row, {}).values()),
        object_of=lambda row, key: found.get(row, {}).get(key),
        version_of=lambda row: "",
    )  # fmt: skip


def _judge(evaluation: Evaluation, pod: PodInfo, state: ClusterState) -> tuple[Judgement, str]:
    """With what refuses the Pod on every node, if something does."""
    try:
        return evaluation.judge(pod), ""
    except Refused as refused:
        said = refused.refusal.message
    except PluginFailed as failed:
        # Of such a Pod the scheduler says just this, whatever the other plugins think.
        said = str(failed)
    return Judgement(np.full(state.nodes.size, 255, np.uint8)), said


def _refusals(evaluation: Evaluation, pod: PodInfo, state: ClusterState, everywhere: str) -> dict[int, list[str]]:
    """Unlike scheduling, which stops at a node's first refusal, all of them."""
    rows = np.flatnonzero(state.nodes.alive.of())
    found: dict[int, list[str]] = {int(row): [everywhere] if everywhere else [] for row in rows}
    for plugin in evaluation.filters:
        before = evaluation.profile.pre_filter.get(plugin.name)
        answer = before.pre_filter(pod) if before is not None else None
        if answer is SKIP or isinstance(answer, Refusal):
            continue
        try:
            reasons = plugin.reasons(pod, rows)
        except Exception as failed:
            # A device's selector that cannot be evaluated, a plugin of somebody's: the others have their say still.
            reasons = [Reason(str(PluginFailed(plugin.name, "Filter", str(failed))), np.ones(len(rows), np.bool_))]
        for reason in reasons:
            for row in rows[np.asarray(reason.mask)]:
                if reason.message not in found[int(row)]:
                    found[int(row)].append(reason.message)
    return found
