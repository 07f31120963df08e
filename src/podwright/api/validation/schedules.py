"""Cron schedules and time zones of CronJobs."""

from __future__ import annotations

import re
import zoneinfo
from functools import lru_cache

_FIELDS: tuple[tuple[str, int, int, dict[str, int]], ...] = (
    ("minute", 0, 59, {}),
    ("hour", 0, 23, {}),
    ("dom", 1, 31, {}),
    (
        "month",
        1,
        12,
        {n: i + 1 for i, n in enumerate("jan feb mar apr may jun jul aug sep oct nov dec".split())},  # noqa: SIM905
    ),
    ("dow", 0, 6, {n: i for i, n in enumerate("sun mon tue wed thu fri sat".split())}),  # noqa: SIM905
)
_MACROS = frozenset({"@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"})
_DURATION = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:ns|us|µs|ms|s|m|h)").match
_ZONE_PART = re.compile(r"[A-Za-z.\-_0-9+]{1,14}").fullmatch


@lru_cache(1024)
def problem(schedule: str) -> str:
    """What is wrong with a standard cron schedule, "" if nothing is."""
    text = re.sub(r"^(?:CRON_)?TZ=\S*\s*", "", schedule)
    if text.startswith("@"):
        if text.startswith("@every "):
            every = text.removeprefix("@every ")
            return "" if _duration(every) else f'failed to parse duration {text}: time: invalid duration "{every}"'
        return "" if text in _MACROS else f"unrecognized descriptor: {text}"
    parts = text.split()
    if len(parts) != 5:
        return f"expected exactly 5 fields, found {len(parts)}: [{' '.join(parts)}]"
    for part, (_, low, high, names) in zip(parts, _FIELDS, strict=True):
        for expression in part.split(","):
            if said := _range(expression, low, high, names):
                return said
    return ""


def _duration(text: str) -> bool:
    while text:
        match = _DURATION(text)
        if match is None:
            return False
        text = text[match.end() :]
        if not text:
            return True
    return False


def _range(expression: str, low: int, high: int, names: dict[str, int]) -> str:
    bounds, *steps = expression.split("/")
    if len(steps) > 1:
        return f"too many slashes: {expression}"
    if bounds in ("*", "?"):
        start, end = low, high
    else:
        ends = bounds.split("-")
        if len(ends) > 2:
            return f"too many hyphens: {expression}"
        numbers = []
        for text in ends:
            number = names.get(text.lower())
            if number is None:
                if not (text.isascii() and text.isdigit()):
                    return f'failed to parse int from {text}: strconv.Atoi: parsing "{text}": invalid syntax'
                number = int(text)
            numbers.append(number)
        start, end = numbers[0], numbers[-1]
        if steps and len(ends) == 1:
            end = high
    if steps:
        if not (steps[0].isascii() and steps[0].isdigit()):
            return f'failed to parse int from {steps[0]}: strconv.Atoi: parsing "{steps[0]}": invalid syntax'
        if int(steps[0]) == 0:
            return f"step of range should be a positive number: {expression}"
    if start < low:
        return f"beginning of range ({start}) below minimum ({low}): {expression}"
    if end > high:
        return f"end of range ({end}) above maximum ({high}): {expression}"
    if start > end:
        return f"beginning of range ({start}) beyond end of range ({end}): {expression}"
    return ""


@lru_cache(1024)
def zone_problem(name: str) -> str:
    """What is wrong with the name of a time zone, "" if nothing is."""
    if not name:
        return "timeZone must be nil or non-empty string"
    for part in name.split("/"):
        if part in (".", "..") or part.startswith("-") or not _ZONE_PART(part):
            return f"unknown time zone {name}"
    if name.lower() == "local":
        return "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones"
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return f"unknown time zone {name}"
    return ""
