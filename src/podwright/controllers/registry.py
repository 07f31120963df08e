"""The list of all controllers, in the order in which they start."""

from __future__ import annotations

from podwright.controllers.deployment import DeploymentController
from podwright.controllers.frame import Controller
from podwright.controllers.replicaset import ReplicaSetController, ReplicationController

CONTROLLERS: tuple[type[Controller], ...] = (
    ReplicaSetController,
    ReplicationController,
    DeploymentController,
)
