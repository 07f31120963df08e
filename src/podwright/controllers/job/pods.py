"""The Pods that a Job makes: labels, completion index, and which indexes want one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from podwright.api import objects
from podwright.api.objects import Object
from podwright.controllers import pods
from podwright.controllers.job import indexes, tally

_UID, _NAME = "batch.kubernetes.io/controller-uid", "batch.kubernetes.io/job-name"


def labels(job: Object) -> dict[str, str]:
    """The API server puts them into the template when it makes up the selector; a manual selector has its own."""
    if job["spec"].get("manualSelector"):
        return {}
    return {
        _UID: objects.uid(job), "controller-uid": objects.uid(job),
        _NAME: objects.name(job), "job-name": objects.name(job),
    }  # fmt: skip


def selector(job: Object) -> Object:
    return job["spec"].get("selector") or {"matchLabels": {_UID: objects.uid(job)}}


def make(job: Object, index: int | None, failures: tuple[int, int] | None = None) -> Object:
    """`failures` are (counted, ignored) failures of the index before this Pod, where they are limited per index."""
    pod = pods.from_template(job["spec"]["template"], job)
    meta = pod["metadata"]
    meta["labels"] = {**labels(job), **(meta.get("labels") or {})}
    meta["finalizers"] = [*(f for f in meta.get("finalizers") or () if f != tally.FINALIZER), tally.FINALIZER]
    if index is None:
        return pod
    text = str(index)
    meta["annotations"] = {**(meta.get("annotations") or {}), indexes.ANNOTATION: text}
    meta["labels"][indexes.ANNOTATION] = text
    if failures is not None:
        meta["annotations"][tally.INDEX_FAILURES] = str(failures[0])
        if failures[1]:
            meta["annotations"][tally.INDEX_IGNORED_FAILURES] = str(failures[1])
    meta["generateName"] = f"{objects.name(job)}-{index}-"
    pod["spec"]["hostname"] = f"{objects.name(job)}-{index}"
    source = {"fieldRef": {"apiVersion": "v1", "fieldPath": f"metadata.annotations['{indexes.ANNOTATION}']"}}
    for container in (*(pod["spec"].get("initContainers") or ()), *(pod["spec"].get("containers") or ())):
        environment = container.setdefault("env", [])
        if not any(e.get("name") == "JOB_COMPLETION_INDEX" for e in environment):
            environment.append({"name": "JOB_COMPLETION_INDEX", "valueFrom": source})
    return pod


def pending_indexes(counted: tally.Tally, completions: int, busy: Iterable[int], number: int) -> list[int]:
    """The lowest `number` indexes that have no Pod, have not succeeded and have not failed for good."""
    taken = set(busy) | counted.completed | counted.failed_indexes
    found: list[int] = []
    for index in range(completions):
        if len(found) >= number:
            break
        if index not in taken:
            found.append(index)
    return found


def surplus(active: Sequence[Object], number: int, completions: int | None, indexed: bool) -> list[Object]:
    """Which active Pods go first: doubles of an index and those beyond the last, then the least advanced."""
    chosen: list[Object] = []
    rest = sorted(active, key=lambda p: (bool(pods.node_name(p)), pods.phase(p) == "Running", pods.is_ready(p),
                                         -pods.creation_time(p)))  # fmt: skip
    if indexed:
        seen: set[int] = set()
        for pod in reversed(rest):
            index = indexes.of(pod)
            if index is None or index in seen or (completions is not None and index >= completions):
                chosen.append(pod)
            else:
                seen.add(index)
        rest = [p for p in rest if p not in chosen]
    return (chosen + rest)[: max(number, len(chosen))]
