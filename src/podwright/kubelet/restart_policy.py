"""Whether a container that exited is started again: the Pod's restartPolicy, the container's own, and its rules
(documentation page "Pod Lifecycle", KEP-5307)."""

from __future__ import annotations

from podwright.api import pods
from podwright.api.objects import Object

RESTART = "Restart"
RESTART_ALL = "RestartAllContainers"


def restart_action(ctr: Object, exit_code: int) -> str:
    """The action of the first of the container's restartPolicyRules that matches the exit code, else ""."""
    for rule in ctr.get("restartPolicyRules") or ():
        codes = rule.get("exitCodes") or {}
        values = codes.get("values") or ()
        matches = exit_code in values if codes.get("operator") == "In" else exit_code not in values
        if codes and matches:
            return str(rule.get("action") or "")
    return ""


def may_restart_all(ctr: Object) -> bool:
    """Whether some end of this container restarts all of its Pod."""
    return any(rule.get("action") == RESTART_ALL for rule in ctr.get("restartPolicyRules") or ())


def should_restart(pod: Object, ctr: Object, exit_code: int) -> bool:
    """Whether a container that exited with this code runs again. An init container that succeeded does not."""
    if restart_action(ctr, exit_code) in (RESTART, RESTART_ALL):
        return True
    policy = effective_policy(pod, ctr)
    if policy == "Always":
        return True
    return policy == "OnFailure" and exit_code != 0


def effective_policy(pod: Object, ctr: Object) -> str:
    """Always, OnFailure or Never. Of init containers that are no sidecars Always means OnFailure."""
    own = ctr.get("restartPolicy")
    policy = str(own or pod["spec"].get("restartPolicy") or "Always")
    if policy == "Always" and own is None and pods.is_init(pod, ctr["name"]):
        return "OnFailure"
    return policy
