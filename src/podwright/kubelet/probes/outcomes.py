"""What one attempt of a probe gives, and how its failures are worded."""

from __future__ import annotations

import enum
import errno
import os
from dataclasses import dataclass

from podwright import KUBERNETES_VERSION
from podwright.api.objects import Object

USER_AGENT = "kube-probe/" + ".".join(KUBERNETES_VERSION.removeprefix("v").split(".")[:2])
MAX_OUTPUT = 10 << 10
"""Bytes of an answer or an output that are read."""


class Result(enum.Enum):
    """The value is the label that /metrics/probes shows."""

    SUCCESS = "successful"
    WARNING = "warning"
    FAILURE = "failed"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Outcome:
    result: Result
    output: str = ""


class ProbeErrored(Exception):
    """The probe could not be carried out: this says nothing about the container, and its result does not count."""


def failure(output: str) -> Outcome:
    return Outcome(Result.FAILURE, output)


def host_port(host: str, port: int) -> str:
    """As an address is written: IPv6 in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def dial_error(host: str, port: int, failed: OSError) -> str:
    """Why no connection came about, as Go's net package words it."""
    number = failed.errno or 0
    if isinstance(failed, TimeoutError) or number == errno.ETIMEDOUT:
        why = "i/o timeout" if not number else "connect: connection timed out"
    elif number > 0:
        why = "connect: " + os.strerror(number).lower()
    else:
        why = f"lookup {host}: no such host"
    return f"dial tcp {host_port(host, port)}: {why}"


def resolve_port(port: object, ctr: Object) -> int:
    """A number, or the name of one of the container's ports.

    Raises:
        ProbeErrored: there is no such port.
    """
    number = -1
    if isinstance(port, int):
        number = port
    else:
        text = str(port)
        for known in ctr.get("ports") or ():
            if known.get("name") == text:
                number = int(known["containerPort"])
                break
        else:
            try:
                number = int(text)
            except ValueError:
                raise ProbeErrored(f'strconv.Atoi: parsing "{text}": invalid syntax') from None
    if not 0 < number < 65536:
        raise ProbeErrored(f"invalid port number: {number}")
    return number
