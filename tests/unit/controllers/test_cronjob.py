"""CronJobs, their schedules, and the TTL of finished Jobs."""

from __future__ import annotations

import pytest
from controller_harness import Harness, template

from podwright.api import objects
from podwright.api.objects import Object
from podwright.api.resources import CRONJOBS, JOBS
from podwright.controllers.cronjob import CronJobController
from podwright.controllers.cronjob.schedule import ScheduleError, most_recent, parse
from podwright.controllers.ttl_after_finished import TTLAfterFinishedController


def cronjob(schedule: str = "*/5 * * * *", **spec: object) -> Object:
    return {
        "metadata": {"name": "c", "namespace": "default"},
        "spec": {
            "schedule": schedule,
            "jobTemplate": {"metadata": {"labels": {"a": "b"}}, "spec": {"template": template({})}},
            **spec,
        },
    }


def finish(h: Harness, name: str, kind: str = "Complete") -> None:
    now = objects.format_time(h.clock.now())
    conditions = [{"type": kind, "status": "True", "lastTransitionTime": now}]
    status = {"conditions": conditions, "startTime": now}
    if kind == "Complete":
        status["completionTime"] = now
    h.api.set_status(JOBS, name, status)


def names(h: Harness) -> list[str]:
    return [objects.name(j) for j in h.api.objects(JOBS)]


async def test_a_job_is_made_at_each_scheduled_time() -> None:
    async with Harness().running(CronJobController) as h:
        owner = h.api.add(CRONJOBS, cronjob())
        await h.advance(299)
        assert names(h) == []
        await h.advance(2)
        (job,) = h.api.objects(JOBS)
        minute = int(objects.parse_time("2025-01-01T00:05:00Z")) // 60
        assert objects.name(job) == f"c-{minute}"
        assert job["metadata"]["labels"] == {"a": "b"}
        assert job["metadata"]["ownerReferences"] == [objects.owner_reference(owner)]
        assert job["metadata"]["annotations"]["batch.kubernetes.io/cronjob-scheduled-timestamp"] == (
            "2025-01-01T00:05:00Z"
        )
        status = h.api.read(CRONJOBS, "c")["status"]
        assert status["lastScheduleTime"] == "2025-01-01T00:05:00Z"
        assert [r["name"] for r in status["active"]] == [objects.name(job)]
        await h.advance(300)
        assert len(names(h)) == 2


async def test_finished_jobs_leave_active_and_history_is_kept_short() -> None:
    async with Harness().running(CronJobController) as h:
        h.api.add(CRONJOBS, cronjob(successfulJobsHistoryLimit=2, failedJobsHistoryLimit=1))
        for index in range(6):
            await h.advance(301 if index == 0 else 300)
            finish(h, names(h)[-1], "Failed" if index in (0, 1) else "Complete")
            await h.settle()
        status = h.api.read(CRONJOBS, "c")["status"]
        assert "active" not in status
        assert status["lastSuccessfulTime"]
        assert len(names(h)) == 3
        assert "SawCompletedJob" in h.event_reasons("c")


async def test_forbid_skips_and_replace_replaces() -> None:
    for policy, count in (("Forbid", 1), ("Replace", 1), ("Allow", 2)):
        async with Harness().running(CronJobController) as h:
            h.api.add(CRONJOBS, cronjob(concurrencyPolicy=policy))
            await h.advance(301)
            first = names(h)[0]
            await h.advance(300)
            living = [n for n in names(h) if not objects.is_deleting(h.api.read(JOBS, n))]
            assert len(living) == count
            assert (first in living) == (policy != "Replace")
            assert ("JobAlreadyActive" in h.event_reasons("c")) == (policy == "Forbid")


async def test_forbid_starts_the_missed_one_when_the_running_one_ends() -> None:
    async with Harness().running(CronJobController) as h:
        h.api.add(CRONJOBS, cronjob(concurrencyPolicy="Forbid"))
        await h.advance(650)
        assert len(names(h)) == 1
        finish(h, names(h)[0])
        await h.settle()
        assert len(names(h)) == 2


async def test_suspended_makes_nothing_and_a_passed_deadline_skips() -> None:
    async with Harness().running(CronJobController) as h:
        h.api.add(CRONJOBS, cronjob(suspend=True, startingDeadlineSeconds=10))
        await h.advance(340)
        assert names(h) == []
        h.api.change(CRONJOBS, "c", {"spec": {"suspend": False}})
        await h.settle()
        assert names(h) == []
        await h.advance(270)
        assert len(names(h)) == 1


async def test_many_missed_times_start_one_job_and_warn() -> None:
    h = Harness()
    async with h.running():
        h.api.add(CRONJOBS, cronjob("* * * * *"))
        h.clock.move(200 * 60 + 1)
        h.start(CronJobController)
        await h.settle()
        assert len(names(h)) == 1
        assert "TooManyMissedTimes" in h.event_reasons("c")
        assert h.api.read(CRONJOBS, "c")["status"]["lastScheduleTime"] == "2025-01-01T03:20:00Z"


@pytest.mark.parametrize(
    ("schedule", "reason"), [("nonsense", "UnparseableSchedule"), ("59 23 31 2 *", "InvalidSchedule")]
)
async def test_a_schedule_that_cannot_be_met_is_an_event_and_no_loop(schedule: str, reason: str) -> None:
    async with Harness().running(CronJobController) as h:
        h.api.add(CRONJOBS, cronjob(schedule))
        await h.settle()
        assert h.event_reasons("c") == [reason]
        before = h.api.total
        await h.advance(3600)
        assert h.api.total == before


async def test_a_job_of_that_name_by_somebody_else_is_not_taken() -> None:
    async with Harness().running(CronJobController) as h:
        minute = int(objects.parse_time("2025-01-01T00:05:00Z")) // 60
        h.api.add(JOBS, {"metadata": {"name": f"c-{minute}", "namespace": "default"}, "spec": {}})
        h.api.add(CRONJOBS, cronjob())
        await h.advance(310)
        assert "active" not in h.api.read(CRONJOBS, "c").get("status", {})


def at(text: str, schedule: str, zone: str | None = None) -> str:
    found = parse(schedule, zone).next(objects.parse_time(text))
    return objects.format_time(found) if found is not None else ""


@pytest.mark.parametrize(
    ("schedule", "after", "following"),
    [
        ("*/15 * * * *", "2025-01-01T00:00:00Z", "2025-01-01T00:15:00Z"),
        ("0 9-17/4 * * mon-fri", "2025-01-03T14:00:00Z", "2025-01-03T17:00:00Z"),
        ("0 9-17/4 * * mon-fri", "2025-01-03T18:00:00Z", "2025-01-06T09:00:00Z"),
        ("@monthly", "2025-01-15T12:00:00Z", "2025-02-01T00:00:00Z"),
        ("0 0 29 2 *", "2025-01-01T00:00:00Z", "2028-02-29T00:00:00Z"),
        ("0 0 13 * 5", "2025-01-01T00:00:00Z", "2025-01-03T00:00:00Z"),
        ("0 0 * * 7", "2025-01-01T00:00:00Z", "2025-01-05T00:00:00Z"),
        ("5/20 * * * *", "2025-01-01T00:06:00Z", "2025-01-01T00:25:00Z"),
        ("@every 90s", "2025-01-01T00:00:00Z", "2025-01-01T00:01:30Z"),
        ("0 0 31 2 *", "2025-01-01T00:00:00Z", ""),
    ],
)
def test_next(schedule: str, after: str, following: str) -> None:
    assert at(after, schedule) == following


def test_time_zones_and_clock_changes() -> None:
    berlin = "Europe/Berlin"
    assert at("2025-06-01T00:00:00Z", "0 9 * * *", berlin) == "2025-06-01T07:00:00Z"
    assert at("2025-03-30T00:00:00Z", "30 2 * * *", berlin) == "2025-03-31T00:30:00Z"
    first = at("2025-10-26T00:00:00Z", "30 2 * * *", berlin)
    assert first == "2025-10-26T00:30:00Z"
    assert at(first, "30 2 * * *", berlin) == "2025-10-27T01:30:00Z"


@pytest.mark.parametrize("text", ["", "* * * *", "60 * * * *", "5-1 * * * *", "*/0 * * * *", "a * * * *", "@never"])
def test_bad_schedules(text: str) -> None:
    with pytest.raises(ScheduleError):
        parse(text)


def test_bad_zone() -> None:
    with pytest.raises(ScheduleError, match="unknown time zone"):
        parse("* * * * *", "Mars/Base")


def test_most_recent_over_a_long_gap() -> None:
    start = objects.parse_time("2025-01-01T00:00:00Z")
    now = objects.parse_time("2025-03-01T00:00:30Z")
    found, count = most_recent(parse("* * * * *"), start, now)
    assert found == objects.parse_time("2025-03-01T00:00:00Z")
    assert count > 100


async def test_finished_jobs_go_after_their_ttl() -> None:
    async with Harness().running(TTLAfterFinishedController) as h:
        for name, ttl in (("a", 100), ("b", None)):
            spec: Object = {"template": template({})}
            if ttl is not None:
                spec["ttlSecondsAfterFinished"] = ttl
            h.api.add(JOBS, {"metadata": {"name": name, "namespace": "default"}, "spec": spec})
        await h.advance(500)
        finish(h, "a")
        finish(h, "b")
        await h.advance(95)
        assert names(h) == ["a", "b"]
        await h.advance(10)
        assert objects.is_deleting(h.api.read(JOBS, "a"))
        assert not objects.is_deleting(h.api.read(JOBS, "b"))
