"""emptyDir: a directory on the node's disk, a tmpfs or huge pages."""

from __future__ import annotations

from pathlib import Path

from podwright.api import quantity
from podwright.api.objects import Object
from podwright.kubelet.containers.resources import pod_requests_limits
from podwright.kubelet.volumes.mount_points import is_mount_point, mount
from podwright.kubelet.volumes.mounted import VolumeContext, VolumeFailure
from podwright.kubelet.volumes.ownership import give_to_group

_MODE = 0o777


def setup(context: VolumeContext, source: Object) -> Path:
    """Makes it, unless it is there already: what containers wrote stays until the Pod goes.

    Raises:
        VolumeFailure
        OSError
    """
    path = context.directory
    medium = source.get("medium") or ""
    mode = _MODE if source.get("mode") is None else int(source["mode"])
    ready = path.is_dir() and (not medium or is_mount_point(path))
    if ready:
        return path
    path.mkdir(parents=True, exist_ok=True)
    if medium == "Memory":
        mount("tmpfs", path, "tmpfs", 0, _tmpfs_options(context, source))
    elif medium.startswith("HugePages"):
        mount("nodev", path, "hugetlbfs", 0, _hugepage_options(context.pod, medium))
    elif medium:
        raise VolumeFailure(f"unknown storage medium {medium!r}")
    path.chmod(mode)
    if context.fs_group is not None:
        give_to_group(path, context.fs_group)
    return path


def _tmpfs_options(context: VolumeContext, source: Object) -> str:
    """The least of the volume's sizeLimit, the Pod's memory limit and what the node has for Pods."""
    sizes = []
    if source.get("sizeLimit"):
        sizes.append(quantity.value(source["sizeLimit"]))
    _, limits = pod_requests_limits(context.pod)
    if "memory" in limits:
        sizes.append(quantity.value(limits["memory"]))
    if "memory" in context.facts.allocatable:
        sizes.append(quantity.value(context.facts.allocatable["memory"]))
    sizes = [s for s in sizes if s > 0]
    return f"size={min(sizes)}" if sizes else ""


def _hugepage_options(pod: Object, medium: str) -> str:
    """The pages must be the Pod's: of a size that it requests."""
    wanted = medium.removeprefix("HugePages").removeprefix("-")
    _, limits = pod_requests_limits(pod)
    sizes = {quantity.value(name.removeprefix("hugepages-")) for name in limits if name.startswith("hugepages-")}
    if wanted:
        sizes &= {quantity.value(wanted)}
    if not sizes:
        raise VolumeFailure(
            f"medium {medium}: hugePages storage requested, but there is no resource request for huge pages"
        )
    if len(sizes) > 1:
        raise VolumeFailure(f"medium: {medium} can't be used if container requests multiple huge page sizes")
    return f"pagesize={sizes.pop()}"
