"""Which plugins there are: the default ones, and those that installed packages offer."""

from __future__ import annotations

import importlib
from importlib.metadata import entry_points
from typing import cast

from podwright.scheduler.framework.protocols import PluginFactory

ENTRY_POINTS = "podwright.scheduler.plugins"
_PACKAGE = "podwright.scheduler.plugins"

_DEFAULT = {
    "SchedulingGates": "scheduling_gates",
    "PrioritySort": "priority_sort",
    "NodeUnschedulable": "node_unschedulable",
    "NodeName": "node_name",
    "TaintToleration": "taint_toleration",
    "NodeAffinity": "node_affinity",
    "NodePorts": "node_ports",
    "NodeResourcesFit": "node_resources_fit",
    "VolumeRestrictions": "volume_restrictions",
    "NodeVolumeLimits": "node_volume_limits",
    "VolumeBinding": "volume_binding",
    "VolumeZone": "volume_zone",
    "PodTopologySpread": "pod_topology_spread",
    "InterPodAffinity": "inter_pod_affinity",
    "DynamicResources": "dynamic_resources",
    "DefaultPreemption": "default_preemption",
    "NodeResourcesBalancedAllocation": "balanced_allocation",
    "ImageLocality": "image_locality",
    "DefaultBinder": "default_binder",
}


class UnknownPlugin(ValueError):
    """No plugin has this name."""


def is_built_in(name: str) -> bool:
    return name in _DEFAULT


def find(name: str) -> PluginFactory:
    """A default plugin, one of the entry point group ``podwright.scheduler.plugins``, or "module:Class".

    Raises:
        UnknownPlugin: there is none.
    """
    module = _DEFAULT.get(name)
    if module is not None:
        return cast(PluginFactory, getattr(importlib.import_module(f"{_PACKAGE}.{module}"), name))
    for entry in entry_points(group=ENTRY_POINTS, name=name):
        return cast(PluginFactory, entry.load())
    path, _, attribute = name.partition(":")
    if attribute:
        try:
            return cast(PluginFactory, getattr(importlib.import_module(path), attribute))
        except (ImportError, AttributeError) as missing:
            raise UnknownPlugin(f"plugin {name}: {missing}") from missing
    raise UnknownPlugin(f"{name} does not exist")
