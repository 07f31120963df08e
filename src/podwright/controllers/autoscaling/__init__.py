"""HorizontalPodAutoscaler: sizes a workload by what its Pods use."""

from podwright.controllers.autoscaling.controller import HorizontalPodAutoscalerController

__all__ = ["HorizontalPodAutoscalerController"]
