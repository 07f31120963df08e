"""Deployment: rolls Pods from one template to the next by growing one ReplicaSet and shrinking the others."""

from podwright.controllers.deployment.controller import DeploymentController

__all__ = ["DeploymentController"]
