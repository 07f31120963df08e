"""What a failed Pod means for its Job (KEP-3329): the first rule of podFailurePolicy that matches decides."""

from __future__ import annotations

from typing import NamedTuple

from podwright.api import objects
from podwright.api.objects import Object

COUNT, IGNORE, FAIL_JOB, FAIL_INDEX = "Count", "Ignore", "FailJob", "FailIndex"


class Verdict(NamedTuple):
    action: str
    message: str = ""


def judge(policy: Object | None, pod: Object) -> Verdict:
    """Count where no rule matches."""
    for number, rule in enumerate((policy or {}).get("rules") or ()):
        message = _exit_code_match(rule, pod, number) or _condition_match(rule, pod, number)
        if message:
            return Verdict(rule["action"], message)
    return Verdict(COUNT)


def _exit_code_match(rule: Object, pod: Object, number: int) -> str:
    wanted = rule.get("onExitCodes")
    if not wanted:
        return ""
    status = pod.get("status") or {}
    values = wanted.get("values") or ()
    for container in (*(status.get("containerStatuses") or ()), *(status.get("initContainerStatuses") or ())):
        if wanted.get("containerName") and wanted["containerName"] != container.get("name"):
            continue
        terminated = (container.get("state") or {}).get("terminated")
        code = terminated.get("exitCode", 0) if terminated else 0
        if not code:
            continue
        if (code in values) == (wanted.get("operator") == "In"):
            return (
                f"Container {container.get('name')} for pod {objects.namespace(pod)}/{objects.name(pod)} failed with "
                f"exit code {code} matching {rule['action']} rule at index {number}"
            )
    return ""


def _condition_match(rule: Object, pod: Object, number: int) -> str:
    for pattern in rule.get("onPodConditions") or ():
        condition = objects.condition(pod, pattern["type"])
        if condition is not None and condition.get("status") == (pattern.get("status") or "True"):
            return (
                f"Pod {objects.namespace(pod)}/{objects.name(pod)} has condition {pattern['type']} matching "
                f"{rule['action']} rule at index {number}"
            )
    return ""
