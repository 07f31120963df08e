"""The list of all controllers, in the order in which they start."""

from __future__ import annotations

from podwright.controllers.admission_policy_status import AdmissionPolicyStatusController
from podwright.controllers.autoscaling import HorizontalPodAutoscalerController
from podwright.controllers.bootstrap import BootstrapSigner, TokenCleaner
from podwright.controllers.certificates import CertificateApprover, CertificateCleaner, CertificateSigner
from podwright.controllers.clusterrole_aggregation import ClusterRoleAggregationController
from podwright.controllers.cronjob import CronJobController
from podwright.controllers.daemonset import DaemonSetController
from podwright.controllers.deployment import DeploymentController
from podwright.controllers.device_taint_eviction import DeviceTaintEvictionController
from podwright.controllers.disruption import DisruptionController
from podwright.controllers.endpoints import (
    EndpointsController,
    EndpointSliceController,
    EndpointSliceMirroringController,
)
from podwright.controllers.ephemeral_volumes import EphemeralVolumeController
from podwright.controllers.flow_schema_status import FlowSchemaStatusController
from podwright.controllers.frame import Controller
from podwright.controllers.garbage_collector import GarbageCollector
from podwright.controllers.job import JobController
from podwright.controllers.lease_cleanup import LeaseCleanupController
from podwright.controllers.legacy_token_cleaner import LegacyTokenCleaner
from podwright.controllers.namespaces import NamespaceController
from podwright.controllers.node_ipam import NodeIpamController
from podwright.controllers.node_lifecycle import NodeLifecycleController
from podwright.controllers.node_ttl import NodeTTLController
from podwright.controllers.pod_gc import PodGarbageCollector
from podwright.controllers.replicaset import ReplicaSetController, ReplicationController
from podwright.controllers.resource_claims import ResourceClaimController
from podwright.controllers.resource_quotas import ResourceQuotaController
from podwright.controllers.root_ca_publisher import RootCAPublisher
from podwright.controllers.service_account_tokens import ServiceAccountTokenController
from podwright.controllers.service_accounts import ServiceAccountController
from podwright.controllers.service_cidrs import ServiceCIDRController
from podwright.controllers.statefulset import StatefulSetController
from podwright.controllers.storage_version_migrations import StorageVersionMigrationController
from podwright.controllers.taint_eviction import TaintEvictionController
from podwright.controllers.ttl_after_finished import TTLAfterFinishedController
from podwright.controllers.volumes import (
    AttachDetachController,
    AttributesClassProtectionController,
    ClaimProtectionController,
    LocalPathProvisioner,
    PersistentVolumeBinder,
    VolumeExpansionController,
    VolumeProtectionController,
)

CONTROLLERS: tuple[type[Controller], ...] = (
    ServiceAccountController, RootCAPublisher, NodeIpamController, CertificateApprover, CertificateSigner,
    ReplicaSetController, ReplicationController, DeploymentController, DaemonSetController, StatefulSetController,
    JobController, CronJobController, TTLAfterFinishedController, EndpointsController, EndpointSliceController,
    EndpointSliceMirroringController, NodeLifecycleController, TaintEvictionController, DeviceTaintEvictionController,
    PodGarbageCollector, DisruptionController, ResourceQuotaController, PersistentVolumeBinder, LocalPathProvisioner,
    EphemeralVolumeController, ClaimProtectionController, VolumeProtectionController,
    AttributesClassProtectionController, VolumeExpansionController, AttachDetachController,
    HorizontalPodAutoscalerController, ServiceAccountTokenController, LegacyTokenCleaner,
    ClusterRoleAggregationController, BootstrapSigner, TokenCleaner, CertificateCleaner, ResourceClaimController,
    NodeTTLController, LeaseCleanupController, AdmissionPolicyStatusController, FlowSchemaStatusController,
    ServiceCIDRController, StorageVersionMigrationController, NamespaceController, GarbageCollector,
)
