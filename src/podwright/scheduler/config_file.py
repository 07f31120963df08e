"""KubeSchedulerConfiguration files (``kubescheduler.config.k8s.io/v1``), read strictly: a field that does not exist is
an error that names its line."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from podwright.client.leader_election import Timing
from podwright.scheduler.config import (
    DEFAULT_PLUGINS,
    DEFAULT_SCHEDULER,
    ExtenderConfig,
    LeaderElectionConfig,
    PluginChoice,
    ProfileConfig,
    SchedulerConfig,
)
from podwright.scheduler.framework.protocols import POINTS

API_VERSION = "kubescheduler.config.k8s.io/v1"
KIND = "KubeSchedulerConfiguration"

_ANY: Any = object()
_SCORING = {
    "type": None, "resources": [{"name": None, "weight": None}],
    "requestedToCapacityRatio": {"shape": [{"utilization": None, "score": None}]},
}  # fmt: skip
_TYPED = {"apiVersion": None, "kind": None}
_ARGS: dict[str, Any] = {
    "DefaultPreemption": {"minCandidateNodesPercentage": None, "minCandidateNodesAbsolute": None},
    "InterPodAffinity": {"hardPodAffinityWeight": None, "ignorePreferredTermsOfExistingPods": None},
    "NodeAffinity": {"addedAffinity": _ANY},
    "NodeResourcesBalancedAllocation": {"resources": [{"name": None, "weight": None}]},
    "NodeResourcesFit": {"ignoredResources": [None], "ignoredResourceGroups": [None], "scoringStrategy": _SCORING},
    "PodTopologySpread": {"defaultConstraints": _ANY, "defaultingType": None},
    "VolumeBinding": {"bindTimeoutSeconds": None, "shape": [{"utilization": None, "score": None}]},
}
_CHOICE = [{"name": None, "weight": None}]
_SET = {"enabled": _CHOICE, "disabled": _CHOICE}
_SHAPE: Any = {
    **_TYPED,
    "parallelism": None, "percentageOfNodesToScore": None, "podInitialBackoffSeconds": None,
    "podMaxBackoffSeconds": None, "delayCacheUntilActive": None, "enableProfiling": None,
    "enableContentionProfiling": None,
    "clientConnection": {
        "kubeconfig": None, "acceptContentTypes": None, "contentType": None, "qps": None, "burst": None,
    },
    "leaderElection": {
        "leaderElect": None, "leaseDuration": None, "renewDeadline": None, "retryPeriod": None, "resourceLock": None,
        "resourceName": None, "resourceNamespace": None,
    },
    "profiles": [{
        "schedulerName": None, "percentageOfNodesToScore": None,
        "plugins": dict.fromkeys((*POINTS, "multiPoint"), _SET),
        "pluginConfig": [{"name": None, "args": _ANY}],
    }],
    "extenders": [{
        "urlPrefix": None, "filterVerb": None, "preemptVerb": None, "prioritizeVerb": None, "bindVerb": None,
        "weight": None, "enableHTTPS": None, "tlsConfig": _ANY, "httpTimeout": None, "nodeCacheCapable": None,
        "ignorable": None, "managedResources": [{"name": None, "ignoredByScheduler": None}],
    }],
}  # fmt: skip

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)")
_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


class InvalidConfiguration(ValueError):
    """A configuration file that cannot be used. The message names the line where it can."""


def load(path: Path) -> SchedulerConfig:
    """Raises:
    InvalidConfiguration: see there.
    OSError: the file cannot be read.
    """
    return parse(path.read_text(), str(path))


def parse(text: str, source: str = "configuration") -> SchedulerConfig:
    """The configuration that a YAML or JSON text says.

    Raises:
        InvalidConfiguration: it is not YAML, a field does not exist or stands twice, or a value is wrong.
    """
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        raw = yaml.safe_load(text)
    except yaml.YAMLError as malformed:
        raise InvalidConfiguration(f"{source}: {malformed}") from malformed
    if node is None or not isinstance(raw, dict):
        raise InvalidConfiguration(f"{source}: line 1: not an object")
    if raw.get("apiVersion") != API_VERSION or raw.get("kind") != KIND:
        said = f"{raw.get('apiVersion')}, Kind={raw.get('kind')}"
        raise InvalidConfiguration(f"{source}: line 1: no kind {said} is known: {API_VERSION}, Kind={KIND} is")
    _check(node, _SHAPE, "", source)
    try:
        return _config(raw, node, source)
    except (TypeError, ValueError, AttributeError) as wrong:
        if isinstance(wrong, InvalidConfiguration):
            raise
        raise InvalidConfiguration(f"{source}: {wrong}") from wrong


def _check(node: yaml.Node, shape: Any, path: str, source: str) -> None:
    line = node.start_mark.line + 1
    if shape is _ANY or (isinstance(node, yaml.ScalarNode) and node.tag.endswith(":null")):
        return
    if isinstance(shape, dict):
        if not isinstance(node, yaml.MappingNode):
            raise InvalidConfiguration(f"{source}: line {line}: {path or 'document'}: an object is needed")
        seen = set()
        for key, value in node.value:
            where = f"{path}.{key.value}" if path else str(key.value)
            if key.value not in shape:
                raise InvalidConfiguration(f'{source}: line {key.start_mark.line + 1}: unknown field "{where}"')
            if key.value in seen:
                raise InvalidConfiguration(f'{source}: line {key.start_mark.line + 1}: field "{where}" already set')
            seen.add(key.value)
            _check(value, shape[key.value], where, source)
    elif isinstance(shape, list):
        if not isinstance(node, yaml.SequenceNode):
            raise InvalidConfiguration(f"{source}: line {line}: {path}: a list is needed")
        for i, item in enumerate(node.value):
            _check(item, shape[0], f"{path}[{i}]", source)
    elif not isinstance(node, yaml.ScalarNode):
        raise InvalidConfiguration(f"{source}: line {line}: {path}: a plain value is needed")


def _child(node: yaml.Node, *path: str | int) -> yaml.Node:
    for step in path:
        if isinstance(node, yaml.MappingNode):
            node = next(value for key, value in node.value if key.value == step)
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int):
            node = node.value[step]
    return node


def _seconds(text: Any, default: float) -> float:
    if text is None:
        return default
    found = _DURATION.findall(str(text))
    if "".join(n + u for n, u in found) != str(text) or not found:
        raise ValueError(f"invalid duration {text!r}")
    return float(sum(float(number) * _UNITS[unit] for number, unit in found))


def _config(raw: dict[str, Any], node: yaml.Node, source: str) -> SchedulerConfig:
    election = raw.get("leaderElection") or {}
    first, longest = float(raw.get("podInitialBackoffSeconds") or 1), float(raw.get("podMaxBackoffSeconds") or 10)
    if first <= 0 or longest < first:
        raise ValueError("podMaxBackoffSeconds: must be greater than or equal to PodInitialBackoffSeconds")
    percentage = raw.get("percentageOfNodesToScore")
    if percentage is not None and not 0 <= int(percentage) <= 100:
        raise ValueError(f"percentageOfNodesToScore: Invalid value: {percentage}: not in valid range [0-100]")
    profiles = []
    for i, each in enumerate(raw.get("profiles") or [{}]):
        for j, args in enumerate(each.get("pluginConfig") or ()):
            shape = _ARGS.get(args.get("name"))
            if shape is not None and args.get("args") is not None:
                at = _child(node, "profiles", i, "pluginConfig", j, "args")
                _check(at, {**_TYPED, **shape}, f"profiles[{i}].pluginConfig[{j}].args", source)
        profiles.append(_profile(each))
    names = [p.scheduler_name for p in profiles]
    if len(set(names)) != len(names):
        raise ValueError(f'profiles: Duplicate value: "{next(n for n in names if names.count(n) > 1)}"')
    extenders = tuple(_extender(e) for e in raw.get("extenders") or ())
    if sum(1 for e in extenders if e.bind_verb) > 1:
        raise ValueError("extenders: Invalid value: found more than one: only one extender can implement bind")
    return SchedulerConfig(
        profiles=tuple(profiles),
        extenders=extenders,
        plugin_timeout=5.0 + sum(e.timeout for e in extenders),
        leader_election=LeaderElectionConfig(
            leader_elect=election.get("leaderElect"),
            name=election.get("resourceName") or "kube-scheduler",
            namespace=election.get("resourceNamespace") or "kube-system",
            timing=Timing(
                _seconds(election.get("leaseDuration"), 15.0),
                _seconds(election.get("renewDeadline"), 10.0),
                _seconds(election.get("retryPeriod"), 2.0),
            ),
        ),
        pod_initial_backoff=first,
        pod_max_backoff=longest,
        percentage_of_nodes_to_score=int(percentage or 100),
    )


def _extender(raw: dict[str, Any]) -> ExtenderConfig:
    if not raw.get("urlPrefix"):
        raise ValueError("extenders: urlPrefix: Required value")
    return ExtenderConfig(
        url_prefix=raw["urlPrefix"], filter_verb=raw.get("filterVerb") or "",
        prioritize_verb=raw.get("prioritizeVerb") or "", preempt_verb=raw.get("preemptVerb") or "",
        bind_verb=raw.get("bindVerb") or "", weight=int(raw.get("weight") or 1),
        timeout=_seconds(raw.get("httpTimeout"), 5.0), node_cache_capable=bool(raw.get("nodeCacheCapable")),
        ignorable=bool(raw.get("ignorable")), enable_https=bool(raw.get("enableHTTPS")),
        tls=raw.get("tlsConfig") or {},
        managed_resources=tuple(
            (m["name"], bool(m.get("ignoredByScheduler"))) for m in raw.get("managedResources") or ()
        ),
    )


def _profile(raw: dict[str, Any]) -> ProfileConfig:
    sets = raw.get("plugins") or {}
    multi = sets.get("multiPoint") or {}
    order = _merged([(n, w) for n, w in DEFAULT_PLUGINS], multi)
    weights = dict(order)
    single: dict[str, set[str]] = {}
    off: dict[str, set[str]] = {}
    for point in POINTS:
        chosen = sets.get(point) or {}
        for plugin in chosen.get("disabled") or ():
            off.setdefault(point, set()).add(plugin["name"])
        for plugin in chosen.get("enabled") or ():
            single.setdefault(plugin["name"], set()).add(point)
            if plugin.get("weight"):
                weights[plugin["name"]] = int(plugin["weight"])
    choices = []
    for name, _ in order:
        points = {p for p in POINTS if not off.get(p, set()) & {"*", name}}
        whole = len(points) == len(POINTS)
        points |= single.get(name, set())
        choices.append(PluginChoice(name, weights[name], None if whole else frozenset(points), optional=True))
    known = {name for name, _ in order}
    choices += [
        PluginChoice(name, weights.get(name, 0), frozenset(points))
        for name, points in single.items()
        if name not in known
    ]
    args = {a["name"]: a.get("args") or {} for a in raw.get("pluginConfig") or ()}
    return ProfileConfig(raw.get("schedulerName") or DEFAULT_SCHEDULER, tuple(choices), args)


def _merged(defaults: list[tuple[str, int]], chosen: dict[str, Any]) -> list[tuple[str, int]]:
    off = {p["name"] for p in chosen.get("disabled") or ()}
    custom = {p["name"]: int(p.get("weight") or 0) for p in chosen.get("enabled") or ()}
    kept = [] if "*" in off else [(n, custom.pop(n, 0) or w) for n, w in defaults if n not in off]
    return kept + list(custom.items())
