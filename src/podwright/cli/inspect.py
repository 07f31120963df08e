"""``podwright inspect``: what is behind an object on this machine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import click

from podwright.cli.options import name_option, output_option, tells_failures


def _failures() -> tuple[type[Exception], ...]:
    from podwright.api.status import ApiError
    from podwright.client.transport import ServerUnreachable
    from podwright.cluster.anatomy import NotInspectable
    from podwright.cluster.down import NoSuchCluster

    return (NotInspectable, NoSuchCluster, ApiError, ServerUnreachable, TimeoutError)


@click.group()
def inspect() -> None:
    """See what an object is made of."""


@inspect.command()
@click.argument("pod_name", metavar="NAME")
@click.option("-n", "--namespace", default="default", show_default=True)
@name_option
@output_option
def pod(pod_name: str, namespace: str, name: str, output: str) -> None:
    """The anatomy of a running Pod: processes, cgroups, namespaces, rights, network, mounts. Needs root."""
    from podwright.cluster.anatomy import inspect_pod

    report = tells_failures(*_failures())(inspect_pod)(name, namespace, pod_name)
    click.echo(json.dumps(report, indent=2) if output == "json" else "\n".join(_text(report)))


def _text(report: dict[str, Any]) -> Iterator[str]:
    yield f"pod {report['namespace']}/{report['name']}   {report['phase']}   uid {report['uid']}"
    yield f"  node    {report['node']} ({report['hostIP']})"
    yield f"  IPs     {', '.join(report['podIPs'])}"
    yield from _cgroup(report["cgroup"], "  ")
    yield "  namespaces"
    for row in report["namespaces"]:
        yield f"    {row['kind']:<7} {row['inode']:<11} {', '.join([*row['containers'], *row['sharedWith']])}"
    yield "  routes"
    for route in report["routes"]:
        via = f" via {route['gateway']}" if route["gateway"] else ""
        yield f"    {route['destination']}{via} dev {route['device']}"
    yield "  ports in use"
    for port in report["ports"]:
        yield f"    {port['protocol']:<5} {port['address']} port {port['port']}"
    for container in report["containers"]:
        yield from _container(container)


def _container(row: dict[str, Any]) -> Iterator[str]:
    yield f"container {row['name']}   {row['state']}   {row['image']}   restarts {row['restarts']}"
    yield f"  id      {row['id'] or '-'}"
    if not row["pid"]:
        return
    groups = f", groups {' '.join(map(str, row['groups']))}" if row["groups"] else ""
    yield f"  pid     {row['pid']}, user {row['uid']}, group {row['gid']}{groups}, oom_score_adj {row['oomScoreAdj']}"
    for part in row["userMap"]:
        last = part["inside"] + part["length"] - 1
        yield f"  users   {part['inside']} to {last} are the host's {part['outside']} on"
    yield from _cgroup(row["cgroup"], "  ")
    yield f"  caps    {' '.join(row['capabilities']) or 'none'}"
    no_new = ", no new privileges" if row["noNewPrivileges"] else ""
    profile = f" ({row['seccompProfile']})" if row["seccompProfile"] else ""
    yield f"  seccomp {row['seccomp']}{profile}{no_new}"
    hidden = [m["target"] for m in row["mounts"] if m["target"].startswith(("/proc/", "/sys/firmware", "/sys/devices"))]
    if hidden:
        yield f"  masked or read-only: {' '.join(hidden)}"
    yield "  mounts"
    for mount in row["mounts"]:
        # Version 1 of cgroups has a mount for each controller, which say nothing new.
        if mount["target"] in hidden or mount["target"].startswith("/sys/fs/cgroup/"):
            continue
        source = mount["source"] if mount["root"] == "/" else f"{mount['source']}[{mount['root']}]"
        yield f"    {mount['target']} {mount['type']} {source} {mount['options']}"


def _cgroup(row: dict[str, Any], indent: str) -> Iterator[str]:
    def of(used: str, limit: str) -> str:
        return f"{used} of {limit}"

    yield f"{indent}cgroup  {row['path']}"
    memory = of(_mebibytes(row["memoryUsageBytes"]), _mebibytes(row["memoryLimitBytes"]))
    processes = of(str(row["pidsUsage"]), "no limit" if row["pidsLimit"] is None else str(row["pidsLimit"]))
    cpu = "no limit" if row["cpuLimitMillicores"] is None else f"limit {row['cpuLimitMillicores']}m"
    where = f" on {row['cpuset']}" if row["cpuset"] else ""
    yield (
        f"{indent}        memory {memory}; cpu {cpu}, weight {row['cpuWeight']}{where}, "
        f"used {row['cpuUsageSeconds'] or 0:.2f} s; pids {processes}"
    )
    read, written = _mebibytes(row["diskReadBytes"]), _mebibytes(row["diskWriteBytes"])
    limits = "; ".join(
        f"{limit['device']} " + ", ".join(f"{name} {value}" for name, value in limit.items() if name != "device")
        for limit in row["diskLimits"]
    )
    yield f"{indent}        disk read {read}, written {written}; {limits or 'no limit'}"


def _mebibytes(count: int | None) -> str:
    return "no limit" if count is None else f"{count / 2**20:.1f} MiB"
