"""ReplicaSet and ReplicationController: as many Pods as spec.replicas says."""

from podwright.controllers.replicaset.controller import ReplicaSetController, ReplicationController

__all__ = ["ReplicaSetController", "ReplicationController"]
