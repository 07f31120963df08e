"""Makes a container's bundle: root filesystem, user, directories, config.json. Everything here blocks."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from podwright.runtime import linux
from podwright.runtime.oci import capabilities, devices, records, rootfs, seccomp, seccomp_program, spec, users
from podwright.runtime.oci.cgroups.interface import block_devices, read
from podwright.runtime.oci.conmon import CannotLaunch
from podwright.runtime.oci.host import Host
from podwright.runtime.oci.records import ContainerRecord, SandboxRecord
from podwright.runtime.oci.user_namespaces import MappedMounts
from podwright.runtime.protocol import (
    ContainerConfig,
    DiskLimits,
    Mount,
    NamespaceMode,
    Resources,
    RuntimeFailure,
    SandboxConfig,
)


def prepare(
    host: Host, record: ContainerRecord, sandbox: SandboxRecord, sandbox_config: SandboxConfig, target_pid: int
) -> None:
    """Everything up to, but without, a process. On failure nothing is left. `target_pid` is the process whose PID
    namespace the container joins, 0 if it gets one of its own or the host's.

    Raises:
        RuntimeFailure: with reason CreateContainerError.
    """
    host.paths.container(record.id).mkdir()
    host.paths.bundle(record.id).mkdir()
    try:
        _prepare(host, record, sandbox, sandbox_config, target_pid)
    except BaseException as error:
        discard(host, record.id)
        if isinstance(error, OSError | capabilities.UnknownCapability | ValueError):
            raise RuntimeFailure(f"failed to create container: {error}", "CreateContainerError") from error
        raise


def _prepare(
    host: Host, record: ContainerRecord, sandbox: SandboxRecord, sandbox_config: SandboxConfig, target_pid: int
) -> None:
    config, paths = record.config, host.paths
    bundle, root = paths.bundle(record.id), paths.rootfs(record.id)
    image = host.images.content.image(record.image_id)
    if image is None:
        raise RuntimeFailure(f'image "{config.image}" is not present', "CreateContainerError")
    image_config: Mapping[str, Any] = image.config.get("config") or {}
    spec.arguments(config, image_config)  # says so before anything is made
    _mount_root(host, record, sandbox)
    identity = users.identify(
        config.security, str(image_config.get("User") or ""), users.read_in_root(root, "etc/passwd"),
        users.read_in_root(root, "etc/group"),
    )
    record.user = (identity.uid, identity.gid, identity.groups)
    paths.persist(record.id).mkdir()
    record.log_path.parent.mkdir(parents=True, exist_ok=True)
    document = spec.build(
        config, image_config, identity, surroundings(host, record, sandbox, sandbox_config, target_pid)
    )
    if (profile := document["linux"].get("seccomp")) and (program := seccomp_program.encoded(profile)):
        document["annotations"][seccomp_program.ANNOTATION] = program
    if config.cdi_devices:
        from podwright.runtime.oci import cdi  # Few nodes have any.

        cdi.apply(document, config.cdi_devices)
    (bundle / "config.json").write_bytes(orjson.dumps(document))
    records.save(paths.container_record(record.id), record)


def make_working_directory(host: Host, record: ContainerRecord) -> None:
    """As runc does it: when the container is started. Raises CannotLaunch in its words."""
    image = host.images.content.image(record.image_id)
    own = record.config.working_dir
    path = own or (image.config.get("config") or {}).get("WorkingDir") if image else own
    try:
        rootfs.make_directory(host.paths.rootfs(record.id), path or "/")
    except OSError as error:
        raise CannotLaunch(
            "unable to start container process: error during container init: "
            f"mkdir {error.filename or path}: {(error.strerror or '').lower()}"
        ) from None


def _mount_root(host: Host, record: ContainerRecord, sandbox: SandboxRecord) -> None:
    content, paths = host.images.content, host.paths
    lower = content.lower_directories(record.image_id)
    own, root = paths.container(record.id), paths.rootfs(record.id)
    if not sandbox.config.namespaces.user_namespace:
        rootfs.mount(content.layers, lower, own, root)
        return
    mapped = MappedMounts(paths.namespace(sandbox.id, "user"), paths.bundle(record.id))
    try:
        rootfs.mount_mapped(content.layers, lower, own, root, mapped)
    finally:
        mapped.close()


def _volumes(host: Host, record: ContainerRecord, sandbox: SandboxRecord) -> Mapping[str, str]:
    """In a user namespace: host path → where it is mounted with its owners mapped."""
    if not sandbox.config.namespaces.user_namespace:
        return {}
    found: dict[str, str] = {}
    mapped = MappedMounts(host.paths.namespace(sandbox.id, "user"), host.paths.bundle(record.id))
    try:
        for mount in record.config.mounts:
            if mount.host_path and mount.host_path not in found:
                found[mount.host_path] = str(mapped.add(Path(mount.host_path), f"volume-{len(found)}"))
    except OSError as error:
        raise RuntimeFailure(
            f"failed to set up the user namespace's view of a volume: {error}", "CreateContainerError"
        ) from error
    finally:
        mapped.close()
    return found


def surroundings(
    host: Host, record: ContainerRecord, sandbox: SandboxRecord, sandbox_config: SandboxConfig, target_pid: int
) -> spec.Surroundings:
    config = record.config
    nodes, permissions = _devices(config)
    limited = config.resources.disk != DiskLimits()
    run = host.paths.sandbox_run(sandbox.id)
    ipc_of_host = sandbox.config.namespaces.ipc == NamespaceMode.NODE
    files = {"/etc/hostname": str(run / "hostname")}
    if sandbox_config.dns is not None:
        files["/etc/resolv.conf"] = str(run / "resolv.conf")
    granted = capabilities.effective(
        add=config.security.capabilities_add, drop=config.security.capabilities_drop,
        privileged=config.security.privileged,
    )
    return spec.Surroundings(
        rootfs=str(host.paths.rootfs(record.id)),
        cgroup_path=record.cgroup,
        namespaces=_namespaces(host, record, sandbox, target_pid),
        shm="/dev/shm" if ipc_of_host else str(run / "shm"),
        hostname=sandbox_config.hostname or os.uname().nodename,
        files=files,
        cgroup_version=host.cgroups.version,
        swap_accounting=_swap_accounting(host.cgroups.version),
        hugetlb=_hugetlb(host.cgroups.version),
        min_oom_score_adj=_min_oom_score_adj(),
        image_mounts=_image_mounts(host, record),
        volumes=_volumes(host, record, sandbox),
        devices=nodes,
        device_permissions=permissions,
        block_devices=devices_behind(host, record) if limited else (),
        capabilities=granted,
        seccomp=None if config.security.privileged else seccomp.load(config.security, granted),
        id_mappings=tuple(sandbox.config.namespaces.user_namespace),
    )


def devices_behind(host: Host, record: ContainerRecord) -> list[str]:
    """The disks under the container's root filesystem and volumes, or that it has as such."""
    config = record.config
    given = [*(m.host_path for m in config.mounts), *(d.host_path for d in config.devices)]
    return block_devices([host.paths.container(record.id), *(Path(path) for path in given if path)])


def rewrite_resources(host: Host, record: ContainerRecord, resources: Resources) -> None:
    """New limits for a container that has not been started."""
    path = host.paths.bundle(record.id) / "config.json"
    document = orjson.loads(path.read_bytes())
    around = spec.Surroundings(
        rootfs="", cgroup_path="", namespaces={}, shm="", hostname="", files={},
        cgroup_version=host.cgroups.version, swap_accounting=_swap_accounting(host.cgroups.version),
        hugetlb=_hugetlb(host.cgroups.version), block_devices=devices_behind(host, record),
    )  # fmt: skip
    fresh = spec.resources(resources, around, privileged=False)
    document["linux"]["resources"] = {**fresh, "devices": document["linux"]["resources"]["devices"]}
    path.write_bytes(orjson.dumps(document))


def _namespaces(host: Host, record: ContainerRecord, sandbox: SandboxRecord, target_pid: int) -> dict[str, str]:
    modes = sandbox.config.namespaces
    found = {"mount": ""}
    if modes.network == NamespaceMode.POD:
        found["network"] = str(host.paths.namespace(sandbox.id, "net"))
        found["uts"] = str(host.paths.namespace(sandbox.id, "uts"))
    if modes.ipc == NamespaceMode.POD:
        found["ipc"] = str(host.paths.namespace(sandbox.id, "ipc"))
    wanted = record.config.security.namespaces.pid
    if target_pid:
        found["pid"] = f"/proc/{target_pid}/ns/pid"
    elif wanted != NamespaceMode.NODE:
        found["pid"] = ""
    if host.cgroups.version == 2:
        found["cgroup"] = ""
    if modes.user_namespace:
        found["user"] = str(host.paths.namespace(sandbox.id, "user"))
    return found


def _devices(config: ContainerConfig) -> tuple[list[dict[str, Any]], list[str]]:
    nodes: list[dict[str, Any]] = []
    permissions: list[str] = []
    if config.security.privileged:
        nodes = devices.all_host_devices()
        permissions = ["rwm"] * len(nodes)
    for device in config.devices:
        for entry in devices.expand(device):
            nodes.append(entry)
            permissions.append(device.permissions)
    return nodes, permissions


def _image_mounts(host: Host, record: ContainerRecord) -> dict[str, str]:
    found: dict[str, str] = {}
    for mount in record.config.mounts:
        if not mount.image:
            continue
        if mount.image in found:
            _image_part(found, mount)
            continue
        status = host.images.status(mount.image)
        if status is None:
            raise RuntimeFailure(f'image "{mount.image}" is not present', "CreateContainerError")
        target = host.paths.bundle(record.id) / f"image-{len(found)}"
        content = host.images.content
        rootfs.mount_readonly(content.layers, content.lower_directories(status.id), target)
        found[mount.image] = str(target)
        _image_part(found, mount)
    return found


def _image_part(found: dict[str, str], mount: Mount) -> None:
    """Where the part of the image is that a mount asks for: links in an image must not lead out of it."""
    if not mount.image_sub_path:
        return
    root = os.open(found[mount.image], os.O_PATH | os.O_DIRECTORY)
    try:
        part = linux.openat2(root, mount.image_sub_path.strip("/"), os.O_PATH)
    except OSError as error:
        raise RuntimeFailure(
            f'failed to mount "{mount.image_sub_path}" of an image volume: {error.strerror}', "CreateContainerError"
        ) from error
    finally:
        os.close(root)
    try:
        # An image is read-only: what the path is now it stays.
        found[f"{mount.image}/{mount.image_sub_path}"] = os.readlink(f"/proc/self/fd/{part}")
    finally:
        os.close(part)


def _swap_accounting(version: int) -> bool:
    return version == 2 or os.path.exists("/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes")


def _hugetlb(version: int) -> bool:
    """Whether huge pages can be limited at all."""
    if version == 1:
        return os.path.exists("/sys/fs/cgroup/hugetlb/tasks")
    return "hugetlb" in read(Path("/sys/fs/cgroup/cgroup.controllers")).split()


def _min_oom_score_adj() -> int:
    """Without CAP_SYS_RESOURCE a process cannot make itself less likely to be killed than it is."""
    if capabilities.has_sys_resource():
        return -1000
    return int(Path("/proc/self/oom_score_adj").read_text())


def unmount(host: Host, container_id: str) -> None:
    """Unmounts the root filesystem and the images mounted beside it."""
    bundle = host.paths.bundle(container_id)
    rootfs.unmount(bundle / "rootfs")
    for pattern in ("image-*", "volume-*", "layer-*"):
        for path in bundle.glob(pattern):
            rootfs.unmount(path)


def discard(host: Host, container_id: str) -> None:
    """Deletes all that is on disk of a container without a process. Idempotent."""
    unmount(host, container_id)
    paths = host.paths
    with contextlib.suppress(FileNotFoundError):
        paths.container_record(container_id).unlink()
    shutil.rmtree(paths.container(container_id), ignore_errors=True)
    shutil.rmtree(paths.bundle(container_id), ignore_errors=True)
    forget_process(host, container_id)


def forget_process(host: Host, container_id: str) -> None:
    """Deletes the volatile traces of a container's process, which is dead. Idempotent."""
    paths = host.paths
    attach = paths.attach / paths.short(container_id)
    if attach.is_symlink():
        attach.unlink()
    else:
        shutil.rmtree(attach, ignore_errors=True)
    shutil.rmtree(paths.oci / container_id, ignore_errors=True)
    for path in (paths.exits / container_id, paths.pidfile(container_id), paths.conmon_pidfile(container_id)):
        path.unlink(missing_ok=True)


def alive(pid: int, start: int) -> bool:
    return pid > 0 and linux.process_start(pid) == start != 0
