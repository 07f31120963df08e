"""What a scheduler can be told (KubeSchedulerConfiguration v1, without its file form)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from podwright.client.leader_election import Timing

DEFAULT_SCHEDULER = "default-scheduler"

DEFAULT_PLUGINS: tuple[tuple[str, int], ...] = (
    ("SchedulingGates", 0), ("PrioritySort", 0), ("NodeUnschedulable", 0), ("NodeName", 0), ("TaintToleration", 3),
    ("NodeAffinity", 2), ("NodePorts", 0), ("NodeResourcesFit", 1), ("VolumeRestrictions", 0), ("NodeVolumeLimits", 0),
    ("VolumeBinding", 0), ("VolumeZone", 0), ("PodTopologySpread", 2), ("InterPodAffinity", 2),
    ("DynamicResources", 0), ("DefaultPreemption", 0), ("NodeResourcesBalancedAllocation", 1), ("ImageLocality", 1),
    ("DefaultBinder", 0),
)  # fmt: skip
"""Upstream's default plugins in upstream's order, with the weights of their scores."""


@dataclass(frozen=True, slots=True)
class PluginChoice:
    """A plugin that a profile enables. Without `points` it serves every extension point that it has; `weight` 0 means
    1 for a plugin that scores."""

    name: str
    weight: int = 0
    points: frozenset[str] | None = None
    optional: bool = False
    """Whether points that the plugin does not have are passed over."""


@dataclass(frozen=True, slots=True)
class ProfileConfig:
    """The plugins for Pods of one schedulerName, in order, and their arguments by plugin name."""

    scheduler_name: str = DEFAULT_SCHEDULER
    plugins: tuple[PluginChoice, ...] = tuple(PluginChoice(name, weight) for name, weight in DEFAULT_PLUGINS)
    args: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ExtenderConfig:
    """An HTTP extender. `timeout` in seconds."""

    url_prefix: str
    filter_verb: str = ""
    prioritize_verb: str = ""
    preempt_verb: str = ""
    bind_verb: str = ""
    weight: int = 1
    timeout: float = 5.0
    node_cache_capable: bool = False
    ignorable: bool = False
    managed_resources: tuple[tuple[str, bool], ...] = ()
    """Resource name, and whether NodeResourcesFit leaves it to the extender."""
    enable_https: bool = False
    tls: Mapping[str, Any] = field(default_factory=dict)
    """As the file form's tlsConfig."""


@dataclass(frozen=True, slots=True)
class LeaderElectionConfig:
    """`leader_elect` None: whoever runs the scheduler decides; it alone does not elect then."""

    leader_elect: bool | None = None
    name: str = "kube-scheduler"
    namespace: str = "kube-system"
    timing: Timing = field(default_factory=Timing)


@dataclass(frozen=True, slots=True)
class SchedulerConfig:
    """Times in seconds. `parallel_binds` bounds the bindings under way; `plugin_timeout` is how long a plugin that is
    not built in may take; `warm_up` is how long after its start the scheduler loads what deciding needs, unless a Pod
    comes first."""

    profiles: tuple[ProfileConfig, ...] = (ProfileConfig(),)
    extenders: tuple[ExtenderConfig, ...] = ()
    leader_election: LeaderElectionConfig = LeaderElectionConfig()
    pod_initial_backoff: float = 1.0
    pod_max_backoff: float = 10.0
    max_unschedulable: float = 300.0
    parallel_binds: int = 64
    percentage_of_nodes_to_score: int = 100
    plugin_timeout: float = 5.0
    warm_up: float = 1.0
    assume_expiry: float = 30.0
    seed: int | None = None
