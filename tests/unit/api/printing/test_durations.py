"""Ages."""

from __future__ import annotations

import pytest

from podwright.api.printing import durations

MINUTE, HOUR, DAY, YEAR = 60, 3600, 86400, 365 * 86400


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "<invalid>"), (-1.5, "0s"), (0, "0s"), (119.9, "119s"), (120, "2m"), (5 * MINUTE + 3, "5m3s"),
        (10 * MINUTE + 3, "10m"), (179 * MINUTE, "179m"), (3 * HOUR, "3h"), (3 * HOUR + 5 * MINUTE, "3h5m"),
        (8 * HOUR + 5 * MINUTE, "8h"), (47 * HOUR, "47h"), (2 * DAY, "2d"), (2 * DAY + HOUR, "2d1h"),
        (8 * DAY + HOUR, "8d"), (2 * YEAR - 1, "729d"), (2 * YEAR, "2y"), (3 * YEAR + 45 * DAY, "3y45d"),
        (9 * YEAR + 45 * DAY, "9y"),
    ],
)
def test_human(seconds: float, text: str) -> None:
    assert durations.human(seconds) == text


def test_since() -> None:
    assert durations.since("1970-01-01T00:00:10Z", 70) == "60s"
    assert durations.since(None, 70) == "<unknown>"
    assert durations.since("x", 70) == "<unknown>"
