"""The checks of the baseline Pod Security Standard: each gives None, or (reason, detail) in upstream's words.

Kubernetes documentation, "Pod Security Standards". `minor` is the version (1.minor) whose rules count.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from podwright.api.objects import Object

Violation = tuple[str, str] | None
Check = Callable[[Object, Object, int], Violation]
"""(metadata, spec, minor)."""

LATEST = 37
DEFAULT_CAPABILITIES = frozenset(
    {
        "AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "SETFCAP",
        "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT",
    }
)
_SYSCTLS: tuple[tuple[int, frozenset[str]], ...] = (
    (
        0,
        frozenset(
            {
                "kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.tcp_syncookies",
                "net.ipv4.ping_group_range", "net.ipv4.ip_unprivileged_port_start",
            }
        ),
    ),
    (27, frozenset({"net.ipv4.ip_local_reserved_ports"})),
    (
        29,
        frozenset(
            {
                "net.ipv4.tcp_keepalive_time", "net.ipv4.tcp_fin_timeout", "net.ipv4.tcp_keepalive_intvl",
                "net.ipv4.tcp_keepalive_probes",
            }
        ),
    ),
    (32, frozenset({"net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem"})),
    (37, frozenset({"net.ipv4.tcp_slow_start_after_idle", "net.ipv4.tcp_notsent_lowat"})),
)
_APPARMOR_ANNOTATION = "container.apparmor.security.beta.kubernetes.io/"
_SECCOMP_POD = "seccomp.security.alpha.kubernetes.io/pod"
_SECCOMP_CONTAINER = "container.seccomp.security.alpha.kubernetes.io/"
_EMPTY: Object = {}


def containers(spec: Object) -> Iterator[Object]:
    for part in ("initContainers", "containers", "ephemeralContainers"):
        yield from spec.get(part) or ()


def context(container_or_spec: Object) -> Object:
    found: Object = container_or_spec.get("securityContext") or _EMPTY
    return found


def plural(word: str, count: int) -> str:
    return word if count == 1 else word + "s"


def quoted(items: Iterable[str]) -> str:
    return ", ".join(f'"{item}"' for item in items)


def named(bad: list[str]) -> str:
    """ 'container "a"' or 'containers "a", "b"'."""
    return f"{plural('container', len(bad))} {quoted(bad)}"


def in_user_namespace(spec: Object, minor: int) -> bool:
    return minor >= 35 and spec.get("hostUsers") is False


def app_armor(metadata: Object, spec: Object, minor: int) -> Violation:
    allowed = ("RuntimeDefault", "Localhost")
    setters: list[str] = []
    values: set[str] = set()
    profile = context(spec).get("appArmorProfile")
    if profile and profile.get("type") not in allowed:
        setters.append("pod")
        values.add(str(profile.get("type")))
    bad = []
    for container in containers(spec):
        profile = context(container).get("appArmorProfile")
        if profile and profile.get("type") not in allowed:
            bad.append(container["name"])
            values.add(str(profile.get("type")))
    if bad:
        setters.append(named(bad))
    listed = sorted(values)
    annotated = sorted(
        f'{key}="{value}"'
        for key, value in (metadata.get("annotations") or _EMPTY).items()
        if key.startswith(_APPARMOR_ANNOTATION)
        and not (value in ("", "runtime/default") or value.startswith("localhost/"))
    )
    if annotated:
        listed += annotated
        setters.append(plural("annotation", len(annotated)))
    if not setters:
        return None
    return (
        plural("forbidden AppArmor profile", len(listed)),
        f"{' and '.join(setters)} must not set AppArmor profile type to {quoted(listed)}",
    )


def capabilities(metadata: Object, spec: Object, minor: int) -> Violation:
    bad, added = [], set()
    for container in containers(spec):
        more = set((context(container).get("capabilities") or _EMPTY).get("add") or ()) - DEFAULT_CAPABILITIES
        if more:
            bad.append(container["name"])
            added |= more
    if not bad:
        return None
    return (
        "non-default capabilities",
        f"{named(bad)} must not include {quoted(sorted(added))} in securityContext.capabilities.add",
    )


def host_namespaces(metadata: Object, spec: Object, minor: int) -> Violation:
    found = [f"{field}=true" for field in ("hostNetwork", "hostPID", "hostIPC") if spec.get(field)]
    return ("host namespaces", ", ".join(found)) if found else None


def host_path_volumes(metadata: Object, spec: Object, minor: int) -> Violation:
    bad = [v["name"] for v in spec.get("volumes") or () if v.get("hostPath") is not None]
    return ("hostPath volumes", f"{plural('volume', len(bad))} {quoted(bad)}") if bad else None


def host_ports(metadata: Object, spec: Object, minor: int) -> Violation:
    bad, ports = [], set()
    for container in containers(spec):
        own = {str(port["hostPort"]) for port in container.get("ports") or () if port.get("hostPort")}
        if own:
            bad.append(container["name"])
            ports |= own
    if not bad:
        return None
    uses = "uses" if len(bad) == 1 else "use"
    return "hostPort", f"{named(bad)} {uses} {plural('hostPort', len(ports))} {', '.join(sorted(ports))}"


def host_probes(metadata: Object, spec: Object, minor: int) -> Violation:
    if minor < 34:
        return None
    bad: set[str] = set()
    hosts: set[str] = set()
    for container in containers(spec):
        lifecycle = container.get("lifecycle") or _EMPTY
        handlers = [container.get(probe) for probe in ("livenessProbe", "readinessProbe", "startupProbe")]
        handlers += [lifecycle.get("postStart"), lifecycle.get("preStop")]
        for handler in handlers:
            for action in ("httpGet", "tcpSocket"):
                host = ((handler or _EMPTY).get(action) or _EMPTY).get("host")
                if host:
                    bad.add(container["name"])
                    hosts.add(host)
    if not bad:
        return None
    uses = "uses" if len(bad) == 1 else "use"
    return (
        "probe or lifecycle host",
        f"{named(sorted(bad))} {uses} {plural('probe or lifecycle host', len(hosts))} {quoted(sorted(hosts))}",
    )


def privileged(metadata: Object, spec: Object, minor: int) -> Violation:
    bad = [c["name"] for c in containers(spec) if context(c).get("privileged")]
    return ("privileged", f"{named(bad)} must not set securityContext.privileged=true") if bad else None


def proc_mount(metadata: Object, spec: Object, minor: int) -> Violation:
    return None if in_user_namespace(spec, minor) else any_proc_mount(metadata, spec, minor)


def any_proc_mount(metadata: Object, spec: Object, minor: int) -> Violation:
    bad, kinds = [], set()
    for container in containers(spec):
        kind = context(container).get("procMount")
        if kind not in (None, "Default"):
            bad.append(container["name"])
            kinds.add(kind)
    if not bad:
        return None
    return "procMount", f"{named(bad)} must not set securityContext.procMount to {quoted(sorted(kinds))}"


def selinux(metadata: Object, spec: Object, minor: int) -> Violation:
    allowed = {"", "container_t", "container_init_t", "container_kvm_t"}
    if minor >= 31:
        allowed.add("container_engine_t")
    kinds: set[str] = set()
    flags = {"user": False, "role": False}

    def is_bad(options: Object | None) -> bool:
        if not options:
            return False
        bad = False
        kind = options.get("type") or ""
        if kind not in allowed:
            kinds.add(kind)
            bad = True
        for field in flags:
            if options.get(field):
                flags[field] = bad = True
        return bad

    setters = ["pod"] if is_bad(context(spec).get("seLinuxOptions")) else []
    bad = [c["name"] for c in containers(spec) if is_bad(context(c).get("seLinuxOptions"))]
    if bad:
        setters.append(named(bad))
    if not setters:
        return None
    data = [f"{plural('type', len(kinds))} {quoted(sorted(kinds))}"] if kinds else []
    data += [f"{field} may not be set" for field, found in flags.items() if found]
    return "seLinuxOptions", f"{' and '.join(setters)} set forbidden securityContext.seLinuxOptions: {'; '.join(data)}"


def seccomp(metadata: Object, spec: Object, minor: int) -> Violation:
    if minor < 19:
        return _seccomp_annotations(metadata, spec)
    allowed = ("RuntimeDefault", "Localhost")
    setters, values = [], set()
    profile = context(spec).get("seccompProfile")
    if profile and profile.get("type") not in allowed:
        setters.append("pod")
        values.add(str(profile.get("type")))
    bad = []
    for container in containers(spec):
        profile = context(container).get("seccompProfile")
        if profile and profile.get("type") not in allowed:
            bad.append(container["name"])
            values.add(str(profile.get("type")))
    if bad:
        setters.append(named(bad))
    if not setters:
        return None
    return (
        "seccompProfile",
        f"{' and '.join(setters)} must not set securityContext.seccompProfile.type to {quoted(sorted(values))}",
    )


def _seccomp_annotations(metadata: Object, spec: Object) -> Violation:
    annotations = metadata.get("annotations") or _EMPTY
    keys = [_SECCOMP_POD, *(_SECCOMP_CONTAINER + c["name"] for c in containers(spec))]
    bad = sorted(
        f'{key}="{annotations[key]}"'
        for key in keys
        if key in annotations
        and annotations[key] not in ("runtime/default", "docker/default")
        and not annotations[key].startswith("localhost/")
    )
    return ("seccompProfile", f"forbidden {plural('annotation', len(bad))} {', '.join(bad)}") if bad else None


def sysctls(metadata: Object, spec: Object, minor: int) -> Violation:
    allowed: set[str] = set()
    for since, more in _SYSCTLS:
        if minor >= since:
            allowed |= more
    bad = [s["name"] for s in context(spec).get("sysctls") or () if s.get("name") not in allowed]
    return ("forbidden sysctls", ", ".join(bad)) if bad else None


def windows_host_process(metadata: Object, spec: Object, minor: int) -> Violation:
    setters = ["pod"] if (context(spec).get("windowsOptions") or _EMPTY).get("hostProcess") else []
    bad = [c["name"] for c in containers(spec) if (context(c).get("windowsOptions") or _EMPTY).get("hostProcess")]
    if bad:
        setters.append(named(bad))
    if not setters:
        return None
    return "hostProcess", f"{' and '.join(setters)} must not set securityContext.windowsOptions.hostProcess=true"


CHECKS: tuple[tuple[str, Check], ...] = (
    ("appArmorProfile", app_armor), ("capabilities_baseline", capabilities), ("hostNamespaces", host_namespaces),
    ("hostPathVolumes", host_path_volumes), ("hostPorts", host_ports), ("hostProbesAndHostLifecycle", host_probes),
    ("privileged", privileged), ("procMount", proc_mount), ("seLinuxOptions", selinux),
    ("seccompProfile_baseline", seccomp), ("sysctls", sysctls), ("windowsHostProcess", windows_host_process),
)
"""In the order of their identifiers, which is the order of messages."""
