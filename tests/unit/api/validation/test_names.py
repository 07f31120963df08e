"""What names and addresses may look like."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from podwright.api.validation import names, schedules

LONG = "a" * 64


@pytest.mark.parametrize(
    ("check", "right", "wrong"),
    [
        (names.dns_label, ["a", "a-b", "1", "a" * 63], ["", "A", "-a", "a-", "a.b", LONG, "a\n"]),
        (names.dns_subdomain, ["a", "a.b", "1.2"], ["", "a..b", ".a", "a_b", "a" * 254]),
        (names.dns_1035_label, ["a", "a1"], ["1a", "", "a."]),
        (names.wildcard_dns_subdomain, ["*.a.b"], ["a.b", "*a", "*."]),
        (names.qualified_name, ["a", "a.b/C_d", "x" * 63], ["", "/a", "a/", "a/b/c", "A.b/c", LONG, "a b"]),
        (names.label_value, ["", "a", "A_b.c-1"], ["-a", "a b", LONG]),
        (names.config_map_key, ["a", ".x", "A_b-c"], ["", ".", "..", "..x", "a/b"]),
        (names.relaxed_env_name, ["a", "1", "a b", "a.b"], ["", "a=b", "ä", "a\n"]),
        (names.port_name, ["http", "a-1"], ["", "HTTP", "123", "a--b", "-a", "a" * 16]),
        (names.percent, ["1%", "250%"], ["%", "1", "-1%"]),
        (names.ip, ["1.2.3.4", "2001:DB8::1"], ["", "010.1.1.1", "::ffff:1.2.3.4", "1.2.3", "1.2.3.4.5", "fe80::1%e"]),
        (names.canonical_ip, ["1.2.3.4", "2001:db8::1"], ["01.2.3.4", "2001:DB8::1", "::ffff:1.2.3.4"]),
        (names.cidr, ["1.2.3.0/24", "::/0"], ["1.2.3.4", "1.2.3.4/24", "1.2.3.0/024", "1.2.3.0/33", "1.2.3.0/-1"]),
        (names.canonical_cidr, ["1.2.3.0/24"], ["1.2.3.4/24", "01.2.3.0/24"]),
        (names.path_segment_name, ["a:b", "system:x", "A B"], ["a/b", "a%b", ".", ".."]),
        (names.fully_qualified_name, ["a.b.c"], ["a.b", "A.b.c"]),
    ],
)
def test_checks(check: Callable[[str], tuple[str, ...]], right: list[str], wrong: list[str]) -> None:
    assert [text for text in right if check(text)] == []
    assert [text for text in wrong if not check(text)] == []


def test_a_generated_name_may_end_in_a_dash() -> None:
    assert names.subdomain_name("job-", True) == ()
    assert names.subdomain_name("job-", False) != ()


@pytest.mark.parametrize(
    "schedule", ["* * * * *", "*/5 0-6 1,15 jan-mar mon", "@daily", "@every 1h30m", "0 0 * * 0", "5/15 * * * ?"]
)
def test_schedules(schedule: str) -> None:
    assert schedules.problem(schedule) == ""


@pytest.mark.parametrize(
    ("schedule", "said"),
    [
        ("", "expected exactly 5 fields, found 0: []"),
        ("* * *", "expected exactly 5 fields, found 3: [* * *]"),
        ("60 * * * *", "end of range (60) above maximum (59): 60"),
        ("* * 0 * *", "beginning of range (0) below minimum (1): 0"),
        ("5-1 * * * *", "beginning of range (5) beyond end of range (1): 5-1"),
        ("*/0 * * * *", "step of range should be a positive number: */0"),
        ("x * * * *", 'failed to parse int from x: strconv.Atoi: parsing "x": invalid syntax'),
        ("@often", "unrecognized descriptor: @often"),
    ],
)
def test_bad_schedules(schedule: str, said: str) -> None:
    assert schedules.problem(schedule) == said


def test_time_zones() -> None:
    assert schedules.zone_problem("Europe/Berlin") == ""
    assert schedules.zone_problem("Mars/Base") == "unknown time zone Mars/Base"
    assert schedules.zone_problem("Local").startswith("timeZone must be an explicit time zone")
