"""The kubelet's configuration file: upstream's KubeletConfiguration (kubelet.config.k8s.io/v1beta1), as far as its
fields mean something here, and one field of our own, `capacity`, which goes before what the machine has."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import yaml

from podwright.api import quantity
from podwright.kubelet.config import KubeletConfig
from podwright.kubelet.sync.backoff import go_duration

API_VERSION = "kubelet.config.k8s.io/v1beta1"
NUMA_NODES = Path("/sys/devices/system/node")
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_DURATION = re.compile(r"(\d+(?:\.\d*)?)(h|ms|m|s|us|µs|ns)")


class BadConfiguration(Exception):
    """The file cannot be read, or says what does not exist here."""


def seconds(text: Any) -> float:
    """A duration as Go writes it: "1m30s"."""
    found = _DURATION.findall(str(text))
    if "".join(number + unit for number, unit in found) != str(text) and str(text) != "0":
        raise ValueError(f"{text!r} is no duration")
    return sum(float(number) * _UNITS[unit] for number, unit in found)


def _whole(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f"{value!r} is no integer")
    return value


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{value!r} is neither true nor false")
    return value


def _one_of(*words: str) -> Callable[[Any], str]:
    def check(value: Any) -> str:
        if value not in words:
            raise ValueError(f"{value!r} is none of {', '.join(words)}")
        return str(value)

    return check


def _amounts(value: Any) -> dict[str, str]:
    found = {str(name): str(amount) for name, amount in dict(value).items()}
    for amount in found.values():
        quantity.parse(amount)
    return found


def _texts(value: Any) -> dict[str, str]:
    return {str(k): str(v) for k, v in dict(value).items()}


def _graces(value: Any) -> tuple[tuple[int, float], ...]:
    return tuple((_whole(entry["priority"]), float(entry["shutdownGracePeriodSeconds"])) for entry in value)


def _swap(value: Any) -> str:
    return _one_of("NoSwap", "LimitedSwap")(dict(value).get("swapBehavior", "NoSwap"))


def _topology(value: Any) -> None:
    """Where all memory is equally near, every policy admits every Pod (KEP-693)."""
    _one_of("none", "best-effort", "restricted", "single-numa-node")(value)
    nodes = len(list(NUMA_NODES.glob("node[0-9]*")))
    if value != "none" and nodes > 1:
        raise ValueError(f"{value!r} on a machine with {nodes} NUMA nodes: only none is known there")


_WITHOUT_EFFECT: Mapping[str, Callable[[Any], Any]] = {
    "memoryManagerPolicy": _one_of("None"),
    "topologyManagerPolicy": _topology,
    "topologyManagerScope": _one_of("container", "pod"),
}
_FIELDS: Mapping[str, tuple[str, Callable[[Any], Any]]] = {
    "allowedUnsafeSysctls": ("allowed_unsafe_sysctls", tuple),
    "capacity": ("capacity", _amounts),
    "containerLogMaxFiles": ("container_log_max_files", _whole),
    "containerLogMaxSize": ("container_log_max_size", quantity.value),
    "cpuCFSQuota": ("cpu_cfs_quota", _flag),
    "cpuCFSQuotaPeriod": ("cpu_cfs_quota_period", lambda v: int(seconds(v) * 1e6)),
    "cpuManagerPolicy": ("cpu_manager_policy", _one_of("none", "static")),
    "evictionHard": ("eviction_hard", _texts),
    "evictionMaxPodGracePeriod": ("eviction_max_pod_grace_period", float),
    "evictionPressureTransitionPeriod": ("eviction_pressure_transition_period", seconds),
    "evictionSoft": ("eviction_soft", _texts),
    "evictionSoftGracePeriod": ("eviction_soft_grace_period", lambda v: {k: seconds(d) for k, d in dict(v).items()}),
    "httpCheckFrequency": ("static_pod_url_period", seconds),
    "imageGCHighThresholdPercent": ("image_gc_high_threshold", _whole),
    "imageGCLowThresholdPercent": ("image_gc_low_threshold", _whole),
    "imageMinimumGCAge": ("image_minimum_age", seconds),
    "imagePullCredentialsVerificationPolicy": (
        "image_verification",
        _one_of("NeverVerify", "NeverVerifyPreloadedImages", "NeverVerifyAllowlistedImages", "AlwaysVerify"),
    ),
    "kubeReserved": ("kube_reserved", _amounts),
    "maxParallelImagePulls": ("max_parallel_image_pulls", _whole),
    "maxPods": ("max_pods", _whole),
    "memorySwap": ("swap_behavior", _swap),
    "nodeStatusReportFrequency": ("node_status_report_period", seconds),
    "nodeStatusUpdateFrequency": ("node_status_period", seconds),
    "podPidsLimit": ("pod_pids_limit", _whole),
    "preloadedImagesVerificationAllowlist": ("images_not_verified", tuple),
    "registerWithTaints": ("taints", tuple),
    "reservedSystemCPUs": ("reserved_cpus", str),
    "seccompDefault": ("seccomp_default", _flag),
    "shutdownGracePeriod": ("shutdown_grace_period", seconds),
    "shutdownGracePeriodCriticalPods": ("shutdown_grace_period_critical", seconds),
    "shutdownGracePeriodByPodPriority": ("shutdown_grace_by_priority", _graces),
    "staticPodPath": ("static_pod_path", Path),
    "staticPodURL": ("static_pod_url", str),
    "staticPodURLHeader": ("static_pod_url_headers", lambda v: {k: ",".join(h) for k, h in dict(v).items()}),
    "syncFrequency": ("sync_period", seconds),
    "systemReserved": ("system_reserved", _amounts),
}


_AS_WRITTEN: Mapping[str, Callable[[Any], Any]] = {
    "containerLogMaxSize": str,
    "evictionMaxPodGracePeriod": int,
    "cpuCFSQuotaPeriod": lambda microseconds: go_duration(microseconds / 1e6),
    "evictionSoftGracePeriod": lambda graces: {name: go_duration(grace) for name, grace in graces.items()},
    "memorySwap": lambda behavior: {"swapBehavior": behavior},
    "shutdownGracePeriodByPodPriority": lambda graces: [
        {"priority": priority, "shutdownGracePeriodSeconds": int(grace)} for priority, grace in graces
    ],
    "staticPodURLHeader": lambda headers: {name: value.split(",") for name, value in headers.items()},
}


def read(path: Path) -> dict[str, Any]:
    """Fields of KubeletConfig that the file sets. Raises BadConfiguration."""
    try:
        told = yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as failed:
        raise BadConfiguration(f"{path}: {failed}") from failed
    if not isinstance(told, dict):
        raise BadConfiguration(f"{path}: not an object")
    if (told.pop("apiVersion", API_VERSION), told.pop("kind", "")) != (API_VERSION, "KubeletConfiguration"):
        raise BadConfiguration(f"{path}: expected kind KubeletConfiguration of {API_VERSION}")
    found: dict[str, Any] = {}
    for name, value in told.items():
        if name not in _FIELDS and name not in _WITHOUT_EFFECT:
            raise BadConfiguration(f'{path}: unknown field "{name}"')
        try:
            if name in _WITHOUT_EFFECT:
                _WITHOUT_EFFECT[name](value)
            else:
                field, convert = _FIELDS[name]
                found[field] = convert(value)
        except (ValueError, TypeError, AttributeError, KeyError, quantity.QuantityError) as wrong:
            raise BadConfiguration(f"{path}: {name}: {wrong}") from wrong
    reserved = [found.get(name, {}) for name in ("system_reserved", "kube_reserved")]
    if found.get("cpu_manager_policy") == "static" and not (
        found.get("reserved_cpus") or any(quantity.parse(amounts.get("cpu", "0")) > 0 for amounts in reserved)
    ):
        raise BadConfiguration(
            f"{path}: cpuManagerPolicy: static needs reservedSystemCPUs, or cpu in systemReserved or kubeReserved"
        )
    return found


def document(config: KubeletConfig) -> dict[str, Any]:
    """The configuration in the file's own form: what /configz tells."""
    told: dict[str, Any] = {"kind": "KubeletConfiguration", "apiVersion": API_VERSION}
    for name, (field, convert) in _FIELDS.items():
        value = getattr(config, field)
        if value in (None, "", (), {}):
            continue
        if convert is seconds:
            value = go_duration(value)
        told[name] = _AS_WRITTEN[name](value) if name in _AS_WRITTEN else str(value) if convert is Path else value
    return told


def applied(config: KubeletConfig, path: Path) -> KubeletConfig:
    """The configuration with what the file sets. CPUs that are reserved by number are what is reserved of CPU, as
    upstream counts. Raises BadConfiguration."""
    found = read(path)
    assert found.keys() <= {f.name for f in fields(config)}
    if cpus := found.get("reserved_cpus"):
        from podwright.kubelet.cpu_manager import parse

        try:
            count = len(parse(cpus))
        except ValueError as wrong:
            raise BadConfiguration(f"{path}: reservedSystemCPUs: {wrong}") from wrong
        found["system_reserved"] = {**found.get("system_reserved", config.system_reserved), "cpu": str(count)}
        kube = found.get("kube_reserved", config.kube_reserved)
        found["kube_reserved"] = {name: amount for name, amount in kube.items() if name != "cpu"}
    return replace(config, **found)
