"""Rules for probes and lifecycle hooks of containers."""

from __future__ import annotations

from typing import Any

from podwright.api.objects import Object
from podwright.api.status import FieldError
from podwright.api.validation import names
from podwright.api.validation.field_errors import (
    forbidden,
    formed,
    invalid,
    non_negative,
    not_supported,
    one_of,
    required,
)

_PROBE_HANDLERS = ("exec", "httpGet", "tcpSocket", "grpc")
_HOOK_HANDLERS = ("exec", "httpGet", "tcpSocket", "sleep")

_SIGNALS_WINDOWS = ("SIGKILL", "SIGTERM")
_SIGNALS_LINUX = tuple(
    sorted(
        f"SIG{name}"
        for name in (
            "ABRT ALRM BUS CHLD CLD CONT FPE HUP ILL INT IO IOT KILL PIPE POLL PROF PWR QUIT SEGV STKFLT STOP SYS TERM "
            "TRAP TSTP TTIN TTOU URG USR1 USR2 VTALRM WINCH XCPU XFSZ RTMIN RTMAX "
            + " ".join(f"RTMIN+{n}" for n in range(1, 16))
            + " "
            + " ".join(f"RTMAX-{n}" for n in range(1, 15))
        ).split()
    )
)


def probes(errs: list[FieldError], ctr: Object, path: str) -> None:
    if (liveness := ctr.get("livenessProbe")) is not None:
        _probe(errs, liveness, f"{path}.livenessProbe")
        _once(errs, liveness, f"{path}.livenessProbe")
    if (readiness := ctr.get("readinessProbe")) is not None:
        _probe(errs, readiness, f"{path}.readinessProbe")
        if (seconds := readiness.get("terminationGracePeriodSeconds")) is not None:
            field = f"{path}.readinessProbe.terminationGracePeriodSeconds"
            errs.append(invalid(field, seconds, "must not be set for readinessProbes"))
    if (startup := ctr.get("startupProbe")) is not None:
        _probe(errs, startup, f"{path}.startupProbe")
        _once(errs, startup, f"{path}.startupProbe")


def _once(errs: list[FieldError], probe: Object, path: str) -> None:
    if probe.get("successThreshold", 1) != 1:
        errs.append(invalid(f"{path}.successThreshold", probe["successThreshold"], "must be 1"))


def _probe(errs: list[FieldError], probe: Object, path: str) -> None:
    _handler(errs, probe, _PROBE_HANDLERS, None, path)
    for field in ("initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"):
        value = probe.get(field)
        if value is not None and value < 0:
            non_negative(errs, value, f"{path}.{field}")
    seconds = probe.get("terminationGracePeriodSeconds")
    if seconds is not None and seconds <= 0:
        errs.append(invalid(f"{path}.terminationGracePeriodSeconds", seconds, "must be greater than 0"))


def lifecycle(errs: list[FieldError], hooks: Object, grace: int | None, os: Object | None, path: str) -> None:
    """`grace` is the Pod's terminationGracePeriodSeconds, `os` its spec.os."""
    for name in ("postStart", "preStop"):
        if (hook := hooks.get(name)) is not None:
            _handler(errs, hook, _HOOK_HANDLERS, grace, f"{path}.{name}")
    if (signal := hooks.get("stopSignal")) is None:
        return
    if os is None:
        errs.append(forbidden(f"{path}.stopSignal", "may not be set for containers with empty `spec.os.name`"))
        return
    allowed = {"windows": _SIGNALS_WINDOWS, "linux": _SIGNALS_LINUX}.get(os.get("name") or "")
    if allowed and signal not in allowed:
        errs.append(not_supported(f"{path}.stopSignal", signal, allowed))


def _handler(errs: list[FieldError], holder: Object, kinds: tuple[str, ...], grace: int | None, path: str) -> None:
    found = False
    for kind in kinds:
        action = holder.get(kind)
        if action is None:
            continue
        if found:
            errs.append(forbidden(f"{path}.{kind}", "may not specify more than 1 handler type"))
            continue
        found = True
        _action(errs, kind, action, grace, f"{path}.{kind}")
    if not found:
        errs.append(required(path, "must specify a handler type"))


def _action(errs: list[FieldError], kind: str, action: Object, grace: int | None, path: str) -> None:
    if kind == "exec":
        if not action.get("command"):
            errs.append(required(f"{path}.command"))
    elif kind == "httpGet":
        _http_get(errs, action, path)
    elif kind == "sleep":
        seconds = action.get("seconds") or 0
        if grace is not None and not 0 <= seconds <= grace:
            said = f"must be non-negative and less than terminationGracePeriodSeconds ({grace})"
            errs.append(invalid(path, seconds, said))
    else:
        port_or_name(errs, action.get("port", 0), f"{path}.port")
        mode = action.get("mode")
        if kind == "grpc" and mode is not None and mode not in ("Plaintext", "TLS"):
            errs.append(not_supported(f"{path}.mode", mode, ("Plaintext", "TLS")))


def _http_get(errs: list[FieldError], action: Object, path: str) -> None:
    if not action.get("path"):
        errs.append(required(f"{path}.path"))
    port_or_name(errs, action.get("port", 0), f"{path}.port")
    scheme = action.get("scheme") or ""
    one_of(errs, scheme, f"{path}.scheme", ("HTTP", "HTTPS"))
    for header in action.get("httpHeaders") or ():
        formed(errs, header.get("name") or "", f"{path}.httpHeaders", names.http_header_name)


def port_or_name(errs: list[FieldError], port: Any, path: str) -> None:
    problems = names.port_name(port) if isinstance(port, str) else names.port_number(port)
    errs += [invalid(path, port, said) for said in problems]
