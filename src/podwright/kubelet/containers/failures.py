"""Why a container cannot be made: the waiting reasons of the kubelet."""

from __future__ import annotations

CONFIG_ERROR = "CreateContainerConfigError"
CREATE_ERROR = "CreateContainerError"
RUN_ERROR = "RunContainerError"
POST_START_ERROR = "PostStartHookError"
CRASH_LOOP = "CrashLoopBackOff"


class ContainerFailure(Exception):
    """The container could not be started; `reason` and the message stand in its waiting state."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def config_error(message: str) -> ContainerFailure:
    """Something that the container refers to is missing or wrong."""
    return ContainerFailure(CONFIG_ERROR, message)
