"""Cron schedules: five fields or a macro, in a time zone. A time that a clock change skips is not run; one that it
repeats is run once, as in the standard cron library of upstream."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_MACROS = {
    "@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *", "@monthly": "0 0 1 * *", "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@hourly": "0 * * * *",
}
_MONTH_NAMES = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAY_NAMES = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_MONTHS = {name: n for n, name in enumerate(_MONTH_NAMES, 1)}
_DAYS = {name: n for n, name in enumerate(_DAY_NAMES)}
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0}
_HORIZON_DAYS = 5 * 366


class ScheduleError(ValueError):
    """The schedule (or its time zone) cannot be read."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """Field values that match. `any_day` and `any_weekday` say that the field was a star: if neither was, a day matches
    by either of them. `every` is the interval in seconds of "@every"."""

    minutes: frozenset[int] = frozenset()
    hours: frozenset[int] = frozenset()
    days: frozenset[int] = frozenset()
    months: frozenset[int] = frozenset()
    weekdays: frozenset[int] = frozenset()
    any_day: bool = True
    any_weekday: bool = True
    zone: tzinfo = UTC
    every: float = 0.0

    def next(self, after: float) -> float | None:
        """The first time (seconds since the epoch) later than `after`; None if there is none within five years."""
        if self.every:
            return float(int(after)) + self.every
        start = datetime.fromtimestamp(after, self.zone).replace(second=0, microsecond=0, tzinfo=None)
        for offset in range(_HORIZON_DAYS):
            day = start.date() + timedelta(days=offset)
            if day.month not in self.months or not self._day_matches(day.day, day.isoweekday() % 7):
                continue
            for hour in sorted(self.hours):
                if offset == 0 and hour < start.hour - 1:
                    continue
                for minute in sorted(self.minutes):
                    found = self._moment(datetime(day.year, day.month, day.day, hour, minute))
                    if found is not None and found > after:
                        return found
        return None

    def _day_matches(self, day: int, weekday: int) -> bool:
        in_days, in_weekdays = day in self.days, weekday in self.weekdays
        if self.any_day or self.any_weekday:
            return in_days and in_weekdays
        return in_days or in_weekdays

    def _moment(self, local: datetime) -> float | None:
        stamp = local.replace(tzinfo=self.zone).timestamp()
        exists = datetime.fromtimestamp(stamp, self.zone).replace(tzinfo=None) == local
        return stamp if exists else None


def parse(text: str, zone: str | None = None) -> Schedule:
    """Raises ScheduleError."""
    place = _zone(zone) if zone else UTC
    text = text.strip()
    if text.startswith(("TZ=", "CRON_TZ=")):
        prefix, _, text = text.partition(" ")
        place = _zone(prefix.partition("=")[2])
        text = text.strip()
    if text.startswith("@every "):
        return Schedule(zone=place, every=max(1.0, _duration(text.removeprefix("@every ").strip())))
    text = _MACROS.get(text, text)
    fields = text.split()
    if len(fields) != 5:
        raise ScheduleError(f"expected exactly 5 fields, found {len(fields)}: {text!r}")
    weekdays = _field(fields[4], 0, 7, _DAYS)
    return Schedule(
        minutes=_field(fields[0], 0, 59), hours=_field(fields[1], 0, 23), days=_field(fields[2], 1, 31),
        months=_field(fields[3], 1, 12, _MONTHS), weekdays=frozenset(d % 7 for d in weekdays),
        any_day=_is_star(fields[2]), any_weekday=_is_star(fields[4]), zone=place,
    )


def _zone(name: str) -> tzinfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ScheduleError(f"unknown time zone {name}") from error


def _is_star(field: str) -> bool:
    return field[:1] in ("*", "?")


def _duration(text: str) -> float:
    total, number = 0.0, ""
    for character in text:
        if character.isdigit() or character == ".":
            number += character
        elif character in _UNITS and number:
            total += float(number) * _UNITS[character]
            number = ""
        else:
            raise ScheduleError(f"failed to parse duration {text!r}")
    if number or not total:
        raise ScheduleError(f"failed to parse duration {text!r}")
    return total


def _field(text: str, low: int, high: int, names: dict[str, int] | None = None) -> frozenset[int]:
    found: set[int] = set()
    for part in text.split(","):
        body, slash, step_text = part.partition("/")
        step = _number(step_text, 1, 10**6, None) if slash else 1
        if body in ("*", "?"):
            first, last = low, high if names is not _DAYS else 6
        else:
            start, dash, end = body.partition("-")
            first = _number(start, low, high, names)
            # "5/15" means from five on.
            last = _number(end, low, high, names) if dash else high if slash else first
        if last < first:
            raise ScheduleError(f"beginning of range ({first}) beyond end of range ({last}): {part!r}")
        found.update(range(first, last + 1, step))
    return frozenset(found)


def _number(text: str, low: int, high: int, names: dict[str, int] | None) -> int:
    value = (names or {}).get(text.lower())
    if value is None:
        if not text.isdigit():
            raise ScheduleError(f"failed to parse int from {text!r}")
        value = int(text)
    if not low <= value <= high:
        raise ScheduleError(f"value {value} out of range ({low} to {high})")
    return value


def most_recent(schedule: Schedule, earliest: float, now: float) -> tuple[float | None, int]:
    """(the last scheduled time in (earliest, now], how many there were); of more than a hundred it is not known
    exactly how many, and the last is looked for near now."""
    first = schedule.next(earliest)
    if first is None or first > now:
        return None, 0
    second = schedule.next(first)
    if second is None or second > now:
        return first, 1
    count, latest, cursor = 2, second, second
    while count <= 100:
        following = schedule.next(cursor)
        if following is None or following > now:
            return latest, count
        latest = cursor = following
        count += 1
    # Too many to walk through: halve the way back from now until the last one is found.
    low, high = latest, now
    while True:
        middle = (low + high) / 2
        following = schedule.next(middle)
        if following is None or following > now:
            high = middle
            if high - low < 1:
                return latest, count
            continue
        low = latest = following
