"""Ages as kubectl shows them (apimachinery's ``HumanDuration``)."""

from __future__ import annotations

from podwright.api.objects import parse_time

UNKNOWN = "<unknown>"
_HOUR = 60
_DAY = 24
_YEAR = 24 * 365


def human(seconds: float) -> str:
    """At most two units, and as coarse as still tells something: "5m3s", "2d", "3y45d"."""
    whole = int(seconds)
    if whole < -1:
        return "<invalid>"
    if whole < 0:
        return "0s"
    if whole < 120:
        return f"{whole}s"
    minutes = whole // 60
    if minutes < 10:
        return _two(minutes, "m", whole % 60, "s")
    if minutes < 3 * _HOUR:
        return f"{minutes}m"
    hours = minutes // 60
    if hours < 8:
        return _two(hours, "h", minutes % 60, "m")
    if hours < 2 * _DAY:
        return f"{hours}h"
    if hours < 8 * _DAY:
        return _two(hours // 24, "d", hours % 24, "h")
    if hours < 2 * _YEAR:
        return f"{hours // 24}d"
    if hours < 8 * _YEAR:
        return _two(hours // _YEAR, "y", hours // 24 % 365, "d")
    return f"{hours // _YEAR}y"


def _two(first: int, unit: str, second: int, smaller: str) -> str:
    return f"{first}{unit}{second}{smaller}" if second else f"{first}{unit}"


def since(timestamp: str | None, now: float) -> str:
    """How long ago a time of the API was; `now` in seconds since the epoch."""
    if not timestamp:
        return UNKNOWN
    try:
        return human(now - parse_time(timestamp))
    except ValueError:
        return UNKNOWN
