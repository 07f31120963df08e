"""One probe of one running container: thresholds, and when it is due."""

from __future__ import annotations

import asyncio
import enum
from collections import Counter
from dataclasses import dataclass, field

from podwright.api.objects import Object
from podwright.kubelet.probes.outcomes import Result


class Kind(enum.Enum):
    """The value is how the manifest calls it."""

    STARTUP = "startupProbe"
    READINESS = "readinessProbe"
    LIVENESS = "livenessProbe"

    @property
    def title(self) -> str:
        """As events and metrics call it."""
        return self.name.capitalize()


@dataclass(slots=True, eq=False)
class ContainerProbe:
    """`spec` is the manifest's probe. `counts` are results since the container started, `seconds` what successful
    attempts took altogether."""

    kind: Kind
    spec: Object
    last: Result | None = None
    run: int = 0
    stopped: bool = False
    task: asyncio.Task[None] | None = None
    counts: Counter[Result] = field(default_factory=Counter)
    seconds: float = 0.0

    @property
    def period(self) -> float:
        return float(self.spec.get("periodSeconds") or 10)

    @property
    def timeout(self) -> float:
        return float(self.spec.get("timeoutSeconds") or 1)

    @property
    def initial_delay(self) -> float:
        return float(self.spec.get("initialDelaySeconds") or 0)

    def count(self, result: Result) -> bool | None:
        """Takes a result; gives the verdict once its threshold is reached, None below it."""
        if result is Result.WARNING:
            result = Result.SUCCESS
        self.run = self.run + 1 if result is self.last else 1
        self.last = result
        threshold = "successThreshold" if result is Result.SUCCESS else "failureThreshold"
        default = 1 if result is Result.SUCCESS else 3
        if self.run < int(self.spec.get(threshold) or default):
            return None
        return result is Result.SUCCESS

    def stop(self) -> None:
        """No further attempt; one that is under way ends."""
        self.stopped = True
        if self.task is not None:
            self.task.cancel()


@dataclass(slots=True, eq=False)
class ProbedContainer:
    """A running container as probes see it. `at` is when it started, in seconds since the epoch."""

    pod_uid: str
    name: str
    id: str
    at: float
    ready: bool
    started: bool
    probes: dict[Kind, ContainerProbe]
