"""A profile: the plugins for Pods of one schedulerName, made and sorted by extension point."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from podwright.scheduler.config import DEFAULT_PLUGINS, ProfileConfig
from podwright.scheduler.framework import protocols as p
from podwright.scheduler.framework import registry
from podwright.scheduler.framework.handle import Handle
from podwright.scheduler.framework.node_plugins import NodeFilterAdapter, NodeScoreAdapter


class Profile:
    """Raises:
    ValueError: a plugin does not exist, does not take its arguments, or the set of plugins cannot work.
    """

    def __init__(self, config: ProfileConfig, handle: Handle) -> None:
        self.scheduler_name = config.scheduler_name
        self.pre_enqueue: list[p.PreEnqueue] = []
        self.pre_filter: dict[str, p.PreFilter] = {}
        self.filters: list[p.Filter] = []
        self.post_filter: list[p.PostFilter] = []
        self.pre_score: dict[str, p.PreScore] = {}
        self.scores: list[tuple[p.Score, int]] = []
        self.reserve: list[p.Reserve] = []
        self.permit: list[p.Permit] = []
        self.pre_bind: list[p.PreBind] = []
        self.bind: list[p.Bind] = []
        self.post_bind: list[p.PostBind] = []
        self.queue_sort: list[p.QueueSort] = []
        self.plugins: dict[str, p.Plugin] = {}
        self.foreign: set[str] = set()
        """Plugins that are not built in: they may hang."""
        weights = dict(DEFAULT_PLUGINS)
        args = _with_ignored(config.args, handle)
        for choice in config.plugins:
            plugin = self.plugins.get(choice.name)
            if plugin is None:
                plugin = registry.find(choice.name)(handle, args.get(choice.name) or {})
                self.plugins[choice.name] = plugin
                if not registry.is_built_in(choice.name):
                    self.foreign.add(plugin.name)
            points = choice.points if choice.points is not None else frozenset(p.POINTS)
            for point in points:
                if choice.points is not None and not choice.optional and not isinstance(plugin, p.POINTS[point]):
                    raise ValueError(f'plugin "{choice.name}" does not extend {point} plugin')
            self._enable(plugin, points, choice.weight or weights.get(choice.name) or 1, handle)
        for extender in handle.extenders:
            self.foreign.add(extender.name)
            if extender.config.filter_verb:
                self.filters.append(extender)
            if extender.config.prioritize_verb:
                self.scores.append((extender, extender.config.weight))
                self.pre_score[extender.name] = extender
            if extender.config.bind_verb:
                self.bind.insert(0, extender)
        if len(self.queue_sort) != 1:
            count = len(self.queue_sort)
            raise ValueError(f"profile {self.scheduler_name}: one queueSort plugin is needed, not {count}")
        if not self.bind:
            raise ValueError(f"profile {self.scheduler_name}: at least one bind plugin is needed")

    def _enable(self, plugin: p.Plugin, points: frozenset[str], weight: int, handle: Handle) -> None:
        listed: dict[str, list[Any]] = {
            "preEnqueue": self.pre_enqueue, "queueSort": self.queue_sort, "filter": self.filters,
            "postFilter": self.post_filter, "reserve": self.reserve, "permit": self.permit,
            "preBind": self.pre_bind, "bind": self.bind, "postBind": self.post_bind,
        }  # fmt: skip
        for point, enabled in listed.items():
            if point in points and isinstance(plugin, p.POINTS[point][0]):
                enabled.append(plugin)
        if "preFilter" in points and isinstance(plugin, p.PreFilter):
            self.pre_filter[plugin.name] = plugin
        if "preScore" in points and isinstance(plugin, p.PreScore):
            self.pre_score[plugin.name] = plugin
        if "filter" in points and isinstance(plugin, p.NodeFilter):
            self.filters.append(NodeFilterAdapter(plugin, handle))
        if "score" in points:
            if isinstance(plugin, p.Score):
                self.scores.append((plugin, weight))
            elif isinstance(plugin, p.NodeScore):
                self.scores.append((NodeScoreAdapter(plugin, handle), weight))


def _with_ignored(args: Mapping[str, Mapping[str, Any]], handle: Handle) -> Mapping[str, Mapping[str, Any]]:
    """NodeResourcesFit leaves the resources to the extenders which these say are theirs alone."""
    ignored = [name for e in handle.extenders for name, alone in e.config.managed_resources if alone]
    if not ignored:
        return args
    fit = args.get("NodeResourcesFit") or {}
    return {**args, "NodeResourcesFit": {**fit, "ignoredResources": [*(fit.get("ignoredResources") or ()), *ignored]}}
