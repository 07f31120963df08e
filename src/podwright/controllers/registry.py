"""The list of all controllers, in the order in which they start."""

from __future__ import annotations

from podwright.controllers.cronjob import CronJobController
from podwright.controllers.daemonset import DaemonSetController
from podwright.controllers.deployment import DeploymentController
from podwright.controllers.disruption import DisruptionController
from podwright.controllers.endpoints import (
    EndpointsController,
    EndpointSliceController,
    EndpointSliceMirroringController,
)
from podwright.controllers.ephemeral_volumes import EphemeralVolumeController
from podwright.controllers.frame import Controller
from podwright.controllers.garbage_collector import GarbageCollector
from podwright.controllers.job import JobController
from podwright.controllers.namespaces import NamespaceController
from podwright.controllers.node_ipam import NodeIpamController
from podwright.controllers.node_lifecycle import NodeLifecycleController
from podwright.controllers.pod_gc import PodGarbageCollector
from podwright.controllers.replicaset import ReplicaSetController, ReplicationController
from podwright.controllers.resource_quotas import ResourceQuotaController
from podwright.controllers.root_ca_publisher import RootCAPublisher
from podwright.controllers.service_accounts import ServiceAccountController
from podwright.controllers.statefulset import StatefulSetController
from podwright.controllers.taint_eviction import TaintEvictionController
from podwright.controllers.ttl_after_finished import TTLAfterFinishedController
from podwright.controllers.volumes import (
    ClaimProtectionController,
    LocalPathProvisioner,
    PersistentVolumeBinder,
    VolumeExpansionController,
    VolumeProtectionController,
)

CONTROLLERS: tuple[type[Controller], ...] = (
    ServiceAccountController,
    RootCAPublisher,
    NodeIpamController,
    ReplicaSetController,
    ReplicationController,
    DeploymentController,
    DaemonSetController,
    StatefulSetController,
    JobController,
    CronJobController,
    TTLAfterFinishedController,
    EndpointsController,
    EndpointSliceController,
    EndpointSliceMirroringController,
    NodeLifecycleController,
    TaintEvictionController,
    PodGarbageCollector,
    DisruptionController,
    ResourceQuotaController,
    PersistentVolumeBinder,
    LocalPathProvisioner,
    EphemeralVolumeController,
    ClaimProtectionController,
    VolumeProtectionController,
    VolumeExpansionController,
    NamespaceController,
    GarbageCollector,
)
