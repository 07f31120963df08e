"""What the Job controller may write into a Job's status, and lists of indexes."""

from __future__ import annotations

from typing import Any

import pytest

from podwright.api import defaulting, validation
from podwright.api.objects import Object, deepcopy
from podwright.api.resources import BUILTIN
from podwright.api.status import FieldError
from podwright.api.validation.job_indexes import IndexesError, count_indexes, indexes

JOBS = BUILTIN.by_kind("batch/v1", "Job")
assert JOBS is not None
EARLY, LATE = "2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z"


def true(*kinds: str) -> list[Object]:
    return [{"type": kind, "status": "True"} for kind in kinds]


DONE: Object = {
    "conditions": true("SuccessCriteriaMet", "Complete"),
    "startTime": EARLY,
    "completionTime": LATE,
    "succeeded": 1,
}
LOST: Object = {"conditions": true("FailureTarget", "Failed"), "startTime": EARLY, "failed": 1}


def written(before: Object, after: Object, **spec: Any) -> list[FieldError]:
    assert JOBS is not None
    template = {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "x"}]}}
    old: Object = {
        "metadata": {"name": "a", "namespace": "default", "uid": "u", "resourceVersion": "1"},
        "spec": {"template": template, **spec},
    }
    defaulting.apply(JOBS, old)
    validation.prepare_for_create(JOBS, old)
    assert validation.validate_create(JOBS, old) == []
    old["status"] = before
    new = deepcopy(old)
    new["status"] = after
    validation.prepare_for_update(JOBS, new, old, "status")
    return validation.validate_update(JOBS, new, old, "status")


@pytest.mark.parametrize("status", [DONE, LOST, {"active": 1, "ready": 1, "startTime": EARLY}])
def test_what_is_right_passes(status: Object) -> None:
    assert written({}, status) == []


CASES: dict[str, tuple[Object, Object, str, str]] = {
    "both ends": (
        {},
        {**DONE, "conditions": true("SuccessCriteriaMet", "Complete", "FailureTarget", "Failed")},
        "status.conditions",
        "Invalid value: cannot set Complete=True and Failed=true conditions",
    ),
    "failed at once": (
        {},
        {**LOST, "conditions": true("Failed")},
        "status.conditions",
        "Invalid value: cannot set Failed=True condition without the FailureTarget=true condition",
    ),
    "complete at once": (
        {},
        {**DONE, "conditions": true("Complete")},
        "status.conditions",
        "Invalid value: cannot set Complete=True condition without the SuccessCriteriaMet=true condition",
    ),
    "no time of completion": (
        {},
        {**DONE, "completionTime": None},
        "status.completionTime",
        "Required value: completionTime is required for Complete jobs",
    ),
    "time of no completion": (
        {},
        {"startTime": EARLY, "completionTime": LATE},
        "status.completionTime",
        f'Invalid value: "{LATE}": cannot set completionTime when there is no Complete=True condition',
    ),
    "end before start": (
        {},
        {**DONE, "startTime": LATE, "completionTime": EARLY},
        "status.completionTime",
        f'Invalid value: "{EARLY}": completionTime cannot be set before startTime',
    ),
    "active when finished": (
        {},
        {**DONE, "active": 1},
        "status.active",
        "Invalid value: 1: active>0 is invalid for finished job",
    ),
    "never started": (
        {},
        {**LOST, "startTime": None},
        "status.startTime",
        "Required value: startTime is required for finished job",
    ),
    "taken back": (
        LOST,
        {"startTime": EARLY, "failed": 1, "conditions": true("FailureTarget")},
        "status.conditions",
        "Invalid value: cannot disable the terminal Failed=True condition",
    ),
    "counting down": (
        {"startTime": EARLY, "succeeded": 2},
        {"startTime": EARLY, "succeeded": 1},
        "status.succeeded",
        "Invalid value: 1: cannot decrease the succeeded counter",
    ),
    "ready beyond active": (
        {},
        {"ready": 1},
        "status.ready",
        "Invalid value: 1: cannot set more ready pods than active",
    ),
    "indexes of a job without": (
        {},
        {"completedIndexes": "0"},
        "status.completedIndexes",
        'Invalid value: "0": cannot set non-empty completedIndexes when non-indexed completion mode',
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_wrong_is_said(case: str) -> None:
    before, after, field, message = CASES[case]
    before, after = ({k: v for k, v in status.items() if v is not None} for status in (before, after))
    assert (field, message) in [(e.field, e.message) for e in written(before, after)]


def test_indexes_lie_below_the_completions() -> None:
    spec = {"completionMode": "Indexed", "completions": 3}
    assert written({}, {"completedIndexes": "0,2"}, **spec) == []
    said = 'Invalid value: "0,3": error parsing completedIndexes: too large index: "3"'
    assert [e.message for e in written({}, {"completedIndexes": "0,3"}, **spec)] == [said]


def test_what_was_wrong_before_is_not_said_again() -> None:
    """The controller mends a status that a change of the spec made wrong, in steps."""
    spec = {"completionMode": "Indexed", "completions": 3}
    assert written({"completedIndexes": "0,3"}, {"completedIndexes": "0,3", "active": 1}, **spec) == []
    assert written({"active": 1, "ready": 2}, {"active": 1, "ready": 3}) != []


def test_an_elastic_job_may_have_succeeded_less() -> None:
    spec = {"completionMode": "Indexed", "completions": 3}
    assert written({"succeeded": 2}, {"succeeded": 1}, **spec, parallelism=3) == []
    assert [e.field for e in written({"succeeded": 2}, {"succeeded": 1}, **spec, parallelism=2)] == ["status.succeeded"]


def test_a_list_of_indexes_is_read() -> None:
    assert list(indexes("1,3-5,7", 8)) == [(1, 1), (3, 5), (7, 7)]
    assert list(indexes("", 8)) == []
    assert count_indexes("1,3-5,7", 8) == 5


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x", 'cannot convert string to integer for index: "x"'),
        ("8", 'too large index: "8"'),
        ("1-2-3", "the fragment \"1-2-3\" violates the requirement that an index interval can have at most two parts "
         "separated by '-'"),
        ("2,1", "non-increasing order, previous: 2, current: 1"),
        ("3-3", "non-increasing order, previous: 3, current: 3"),
        ("1-3,3", "non-increasing order, previous: 3, current: 3"),
    ],
)
def test_what_is_no_list_of_indexes_is_said(text: str, said: str) -> None:
    with pytest.raises(IndexesError) as caught:
        list(indexes(text, 8))
    assert str(caught.value) == said
