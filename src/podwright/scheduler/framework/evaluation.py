"""Judging all nodes for one Pod: which filter refuses which node, and the score of those left.

What depends on nothing but a node's row and the Pod's class is kept per class and brought up to date only for the rows
that changed since: a Pod like the one before costs a few operations on one row and one search for the highest score."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray

from podwright.scheduler import metrics
from podwright.scheduler.framework.extenders import Extender
from podwright.scheduler.framework.profile import Profile
from podwright.scheduler.framework.protocols import Filter, FreeAmounts, Normalize, PreFilter, Score
from podwright.scheduler.framework.verdicts import SKIP, PluginFailed, Refusal
from podwright.scheduler.state.nodes import ALL, Ints, Mask, NodeTable, Rows
from podwright.scheduler.state.pods import PodClass, PodInfo

_KEPT = 128
_NO_NODE = 255
_FEWEST_SCORED = 100
_SAMPLED = 10
"""One of so many attempts has its plugins timed one by one, as upstream does."""

P = ParamSpec("P")
T = TypeVar("T")


class Refused(Exception):
    """A PreFilter refused the Pod on every node."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


@dataclass(slots=True)
class Room:
    """What a Pod asks of nodes, if it is nothing but room: how much must be free of each resource, says `plugin`,
    and which of the rows that were asked about no filter refuses for anything else."""

    plugin: FreeAmounts | None
    needs: Mapping[str, int]
    open: Mask

    def shortages(self, free: Callable[[str], int]) -> list[str]:
        """Messages for what there is too little of."""
        if self.plugin is None:
            return []
        return [self.plugin.shortage(resource) for resource, need in self.needs.items() if free(resource) < need]


class _Part:
    """Row-local filters and scores, and by row which filter refused, and the sum of the weighted scores."""

    __slots__ = ("base", "code", "filters", "position", "scores")

    def __init__(self, filters: list[tuple[int, Filter]], scores: list[tuple[Score, int]]) -> None:
        self.filters = filters
        self.scores = scores
        self.position = 0
        self.code: NDArray[np.uint8] = np.zeros(0, np.uint8)
        self.base: Ints = np.zeros(0, np.int64)

    def clear(self, size: int) -> None:
        self.code, self.base = np.zeros(size, np.uint8), np.zeros(size, np.int64)


class _Local:
    """The answers of row-local plugins for one class of Pods. `own` are those that depend on nodes alone; `whole` has
    the filters and scores that look at Pods too, and the answers of all. `asked` are the PreFilters that may have
    something to say of a Pod of the class."""

    __slots__ = ("asked", "epoch", "feasible", "own", "raw", "uneven", "whole")

    def __init__(
        self, filters: list[tuple[int, Filter]], scores: list[tuple[Score, int]], asked: Mapping[str, PreFilter]
    ) -> None:
        self.asked = asked
        self.own = _Part([f for f in filters if _ignores_pods(f[1])], [s for s in scores if _ignores_pods(s[0])])
        self.whole = _Part(
            [f for f in filters if not _ignores_pods(f[1])], [s for s in scores if not _ignores_pods(s[0])]
        )
        self.epoch = -1
        self.raw: dict[str, Ints] = {}
        """What is to be normalized over the feasible nodes, by plugin."""
        self.uneven: set[str] = set()
        """The plugins of which not all scores in `raw` are 0."""
        self.feasible: Ints | None = None
        """The rows that no filter refuses, once they have been looked for."""

    @property
    def scores(self) -> list[tuple[Score, int]]:
        return [*self.own.scores, *self.whole.scores]


def _ignores_pods(plugin: Filter | Score) -> bool:
    return bool(getattr(plugin, "ignores_pods", False))


class Judgement:
    """`code` says for each row which filter refused it: 0 none, i the i-th of ``evaluation.filters`` (from 1), 255
    that there is no node."""

    __slots__ = ("code", "feasible", "local", "taken")

    def __init__(self, code: NDArray[np.uint8], local: _Local | None = None, feasible: Ints | None = None) -> None:
        self.code = code
        self.local = local or _Local([], [], {})
        self.feasible: Ints = np.flatnonzero(code == 0) if feasible is None else feasible
        self.taken: dict[int, tuple[str, list[str]]] = {}
        """Rows refused only for Pods nominated to them: the plugin, and what it says."""


class Evaluation:
    """All of a profile's filters and scores over the table of nodes."""

    def __init__(self, profile: Profile, nodes: NodeTable, percentage: int = 100) -> None:
        """`percentage` of the nodes, but at least 100, is how many that fit are scored: see
        percentageOfNodesToScore."""
        self.profile = profile
        self.filters = profile.filters
        self._percentage = percentage
        self._seconds = {
            point: metrics.at(point, "Success", profile.scheduler_name)
            for point in ("PreFilter", "Filter", "Score")
        }
        self._next = 0
        self._attempts = 0
        self._sampled = False
        self._nodes = nodes
        self._kept: OrderedDict[PodClass, _Local] = OrderedDict()
        self._normalized = {s.name: (s, weight) for s, weight in profile.scores if isinstance(s, Normalize)}
        self._global = [(i + 1, f) for i, f in enumerate(profile.filters) if not f.row_local]

    def judge(self, pod: PodInfo) -> Judgement:
        """Raises:
        Refused: a PreFilter refused the Pod altogether.
        PluginFailed: a plugin raised.
        """
        began = perf_counter()
        self._attempts += 1
        self._sampled = self._attempts % _SAMPLED == 1
        known = self._kept.get(pod.cls)
        skipped = self._pre_filter(pod, self.profile.pre_filter if known is None else known.asked)
        filtering = perf_counter()
        self._seconds["PreFilter"].observe(filtering - began)
        local = self._local(pod, known, skipped)
        code, rows = local.whole.code, local.feasible
        if rows is None:
            rows = local.feasible = np.flatnonzero(code == 0)
        for index, plugin in self._global:
            if plugin.name in skipped:
                continue
            if not len(rows):
                break
            # A slice costs numpy less than a list of all rows.
            fits = self._filter(plugin, pod, ALL if len(rows) == len(code) else rows)
            if not fits.all():
                if code is local.whole.code:
                    code = code.copy()
                code[rows[~fits]] = index
                rows = rows[fits]
        judgement = Judgement(code, local, rows)
        self._seconds["Filter"].observe(perf_counter() - filtering)
        if self._percentage < 100 and not pod.nominated_node:
            self._sample(judgement)
        return judgement

    def _sample(self, judgement: Judgement) -> None:
        """Keeps so many of the nodes that fit, beginning where the last Pod's ended."""
        wanted = max(_FEWEST_SCORED, self._nodes.count * self._percentage // 100)
        rows = judgement.feasible
        if len(rows) > wanted:
            start = int(np.searchsorted(rows, self._next))
            kept = np.roll(rows, -start)[:wanted]
            self._next = int(kept[-1]) + 1
            judgement.feasible = np.sort(kept)

    def reset(self) -> None:
        """Forgets all kept answers."""
        self._kept = OrderedDict()

    def fits(self, pod: PodInfo, row: int) -> bool:
        """Whether every filter lets the Pod onto one node. A refusal by a PreFilter is one.

        Raises:
            PluginFailed: a plugin raised.
        """
        return self.refusal_on(pod, row) is None

    def refusal_on(self, pod: PodInfo, row: int) -> tuple[str, list[str]] | None:
        """The first plugin that refuses the Pod on one node, and its messages."""
        try:
            skipped = self._pre_filter(pod, self.profile.pre_filter)
        except Refused as refused:
            return refused.refusal.plugin, [refused.refusal.message]
        rows = np.array([row], np.intp)
        for plugin in self.filters:
            # Extenders are not asked what if: preemption asks them in its own way.
            if isinstance(plugin, Extender) or plugin.name in skipped:
                continue
            if not self._filter(plugin, pod, rows)[0]:
                return plugin.name, [r.message for r in plugin.reasons(pod, rows) if r.mask[0]]
        return None

    def room(self, pod: PodInfo, rows: Ints) -> Room | None:
        """None if a filter looks at more of the other Pods than what they leave free.

        Raises:
            PluginFailed: a plugin raised.
            Refused: a PreFilter refused the Pod altogether.
        """
        skipped = self._pre_filter(pod, self.profile.pre_filter)
        found = Room(None, {}, np.ones(len(rows), np.bool_))
        for plugin in self.filters:
            if plugin.name in skipped or isinstance(plugin, Extender):
                continue
            if isinstance(plugin, FreeAmounts):
                found.plugin, found.needs = plugin, plugin.free_amounts(pod)
            elif _ignores_pods(plugin):
                found.open &= self._filter(plugin, pod, rows)
            else:
                return None
        return found

    def _pre_filter(self, pod: PodInfo, plugins: Mapping[str, PreFilter]) -> set[str]:
        skipped = set()
        for name, plugin in plugins.items():
            answer = self._call(name, "PreFilter", plugin.pre_filter, pod)
            if answer is SKIP:
                skipped.add(name)
            elif isinstance(answer, Refusal):
                raise Refused(Refusal(answer.message, name))
        return skipped

    def _filter(self, plugin: Filter, pod: PodInfo, rows: Rows) -> Mask:
        return self._call(plugin.name, "Filter", plugin.filter, pod, rows)

    def _call(self, plugin: str, point: str, method: Callable[P, T], *given: P.args, **named: P.kwargs) -> T:
        try:
            if not self._sampled:
                return method(*given, **named)
            with metrics.plugin_seconds.labels(plugin, point, "Success").time():
                return method(*given, **named)
        except Exception as failed:
            raise PluginFailed(plugin, point, str(failed)) from failed

    def _local(self, pod: PodInfo, known: _Local | None, skipped: set[str]) -> _Local:
        nodes = self._nodes
        if known is None:
            empty = np.zeros(0, np.int64)
            pre_score = self.profile.pre_score
            local = {f.name for f in self.filters if f.row_local}
            known = _Local(
                [(i + 1, f) for i, f in enumerate(self.filters) if f.row_local and f.name not in skipped],
                [
                    (s, w) for s, w in self.profile.scores
                    if s.row_local and not (s.name in pre_score and pre_score[s.name].pre_score(pod, empty) is SKIP)
                ],
                {name: p for name, p in self.profile.pre_filter.items() if name not in skipped & local},
            )  # fmt: skip
            self._kept[pod.cls] = known
            if len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        own, whole = known.own, known.whole
        changed = nodes.log.since(whole.position) if known.epoch == nodes.epoch else None
        changed_themselves = nodes.own_log.since(own.position)
        whole.position, own.position = nodes.log.end, nodes.own_log.end
        if changed is None or changed_themselves is None or len(changed) * 2 > nodes.size:
            known.epoch = nodes.epoch
            own.clear(nodes.size)
            whole.clear(nodes.size)
            known.raw = {s.name: np.zeros(nodes.size, np.int64) for s, _ in known.scores if s.name in self._normalized}
            known.uneven.clear()
            known.feasible = None
            self._refresh(known, own, pod, ALL)
            self._refresh(known, whole, pod, ALL)
        elif changed:
            if changed_themselves:
                self._refresh(known, own, pod, _rows(changed_themselves))
            self._refresh(known, whole, pod, _rows(changed))
        return known

    def _refresh(self, local: _Local, part: _Part, pod: PodInfo, rows: Rows) -> None:
        if part is local.own:
            code = np.where(self._nodes.alive.of(rows), 0, _NO_NODE).astype(np.uint8)
            base = np.zeros(len(code), np.int64)
        else:
            code, base = local.own.code[rows].copy(), local.own.base[rows].copy()
        for index, plugin in part.filters:
            refused = ~self._filter(plugin, pod, rows)
            # The first filter that refuses a node is the one that counts.
            code[refused & ((code == 0) | ((code > index) & (code != _NO_NODE)))] = index
        for score, weight in part.scores:
            values = self._call(score.name, "Score", score.score, pod, rows)
            if score.name in local.raw:
                local.raw[score.name][rows] = values
                if values.any():
                    local.uneven.add(score.name)
            else:
                base += values * weight
        if part is local.whole and ((part.code[rows] == 0) != (code == 0)).any():
            local.feasible = None
        part.code[rows], part.base[rows] = code, base

    def totals(self, pod: PodInfo, judgement: Judgement) -> Ints:
        """The weighted score of each feasible row, but for what all have in common.

        Raises:
            PluginFailed: a plugin raised.
        """
        began = perf_counter()
        rows, local = judgement.feasible, judgement.local
        total: Ints = local.whole.base if len(rows) == len(local.whole.base) else local.whole.base[rows]
        for name in local.uneven:
            plugin, weight = self._normalized[name]
            total = total + plugin.normalize(pod, local.raw[name][rows]) * weight
        for score, weight in self.profile.scores:
            if not score.row_local and (scores := self._global_scores(score, pod, rows)) is not None:
                total = total + scores * weight
        self._seconds["Score"].observe(perf_counter() - began)
        return total

    def _global_scores(self, plugin: Score, pod: PodInfo, rows: Ints) -> Ints | None:
        before = self.profile.pre_score.get(plugin.name)
        if before is not None and before.pre_score(pod, rows) is SKIP:
            return None
        scores = self._call(plugin.name, "Score", plugin.score, pod, rows)
        normalized = self._normalized.get(plugin.name)
        return normalized[0].normalize(pod, scores) if normalized is not None else scores

    def scores_by_plugin(self, pod: PodInfo, judgement: Judgement) -> dict[str, tuple[Ints, int]]:
        """The normalized scores of the feasible rows and the weight, of each plugin that scores this Pod."""
        rows = judgement.feasible
        found: dict[str, tuple[Ints, int]] = {}
        local = {s.name for s, _ in judgement.local.scores}
        for plugin, weight in self.profile.scores:
            if plugin.row_local and plugin.name not in local:
                continue
            scores = self._global_scores(plugin, pod, rows)
            if scores is not None:
                found[plugin.name] = scores, weight
        return found


def _rows(changed: list[int]) -> Rows:
    """Of one row, the most frequent case, a slice: numpy is quicker with it."""
    first = changed[0]
    if changed.count(first) == len(changed):
        return slice(first, first + 1)
    return np.array(list(set(changed)), np.intp)
