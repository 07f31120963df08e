"""Completion indexes and their compressed form: "0,3-5,7"."""

from __future__ import annotations

from collections.abc import Iterable

from podwright.api import objects
from podwright.api.objects import Object

ANNOTATION = "batch.kubernetes.io/job-completion-index"


def parse(text: str, completions: int) -> set[int]:
    """Indexes below `completions`; what cannot be read is left out."""
    found: set[int] = set()
    for part in (text or "").split(","):
        first, _, last = part.partition("-")
        if first.isdigit() and (not last or last.isdigit()):
            found.update(range(int(first), min(int(last or first) + 1, completions)))
    return found


def compress(indexes: Iterable[int]) -> str:
    parts: list[str] = []
    ordered = sorted(indexes)
    start = 0
    while start < len(ordered):
        end = start
        while end + 1 < len(ordered) and ordered[end + 1] == ordered[end] + 1:
            end += 1
        first, last = ordered[start], ordered[end]
        # Two neighbours are written with a comma, three or more with a dash.
        parts.append(str(first) if start == end else f"{first},{last}" if last == first + 1 else f"{first}-{last}")
        start = end + 1
    return ",".join(parts)


def of(pod: Object) -> int | None:
    text = objects.annotations(pod).get(ANNOTATION, "")
    return int(text) if text.isdigit() else None


def is_indexed(job: Object) -> bool:
    return bool((job.get("spec") or {}).get("completionMode") == "Indexed")


def matches(rule: str, index: int) -> bool:
    """Is the index in a successPolicy's succeededIndexes?"""
    return index in parse(rule, index + 1)
