"""CronJob: makes Jobs by a schedule."""

from podwright.controllers.cronjob.controller import CronJobController

__all__ = ["CronJobController"]
