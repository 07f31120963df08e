"""Job: runs Pods until enough of them have succeeded."""

from podwright.controllers.job.controller import JobController

__all__ = ["JobController"]
