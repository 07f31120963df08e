"""DaemonSet: one Pod on every node that fits."""

from podwright.controllers.daemonset.controller import DaemonSetController

__all__ = ["DaemonSetController"]
