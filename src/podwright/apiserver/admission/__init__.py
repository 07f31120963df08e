"""Admission: what is written is changed and checked on its way, in upstream's order of plugins.

:func:`build` makes the chain; the API server calls ``admit`` before validation and ``validate`` on the final object,
and :func:`undo` if the write fails after that.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from podwright.api.resources import BUILTIN, ResourceTable
from podwright.apiserver.admission.always import AlwaysAdmit, AlwaysDeny
from podwright.apiserver.admission.always_pull_images import AlwaysPullImages
from podwright.apiserver.admission.certificates import (
    CertificateApproval,
    CertificateSigning,
    CertificateSubjectRestriction,
    ClusterTrustBundleAttest,
    PodCertificateSigning,
)
from podwright.apiserver.admission.chain import Chain, Plugin, undo
from podwright.apiserver.admission.configuration import Settings, pod_security_settings
from podwright.apiserver.admission.default_ingress_class import DefaultIngressClass
from podwright.apiserver.admission.default_toleration_seconds import DefaultTolerationSeconds
from podwright.apiserver.admission.deny_service_external_ips import DenyServiceExternalIPs
from podwright.apiserver.admission.event_rate_limit import EventRateLimit
from podwright.apiserver.admission.extended_resource_toleration import ExtendedResourceToleration
from podwright.apiserver.admission.image_policy_webhook import ImagePolicyWebhook
from podwright.apiserver.admission.limit_pod_hard_anti_affinity_topology import LimitPodHardAntiAffinityTopology
from podwright.apiserver.admission.limit_ranger import LimitRanger
from podwright.apiserver.admission.mutating_policies import MutatingAdmissionPolicy
from podwright.apiserver.admission.namespace_auto_provision import NamespaceAutoProvision
from podwright.apiserver.admission.namespace_exists import NamespaceExists
from podwright.apiserver.admission.namespace_lifecycle import NamespaceLifecycle
from podwright.apiserver.admission.node_restriction import NodeRestriction
from podwright.apiserver.admission.owner_references_permission_enforcement import OwnerReferencesPermissionEnforcement
from podwright.apiserver.admission.pod_node_selector import PodNodeSelector, selectors_of
from podwright.apiserver.admission.pod_security import PodSecurity
from podwright.apiserver.admission.pod_toleration_restriction import PodTolerationRestriction
from podwright.apiserver.admission.pod_topology_labels import PodTopologyLabels
from podwright.apiserver.admission.priority import Priority
from podwright.apiserver.admission.resource_quota import ResourceQuota, limited_resources
from podwright.apiserver.admission.runtime_class import RuntimeClass
from podwright.apiserver.admission.service_account import ServiceAccount
from podwright.apiserver.admission.storage import (
    DefaultStorageClass,
    PersistentVolumeClaimResize,
    StorageObjectInUseProtection,
)
from podwright.apiserver.admission.taint_nodes_by_condition import TaintNodesByCondition
from podwright.apiserver.admission.validating_policies import ValidatingAdmissionPolicy
from podwright.apiserver.admission.versions import Convert, conversion
from podwright.apiserver.admission.webhook_users import WebhookUsers
from podwright.apiserver.admission.webhooks import MutatingAdmissionWebhook, ValidatingAdmissionWebhook
from podwright.apiserver.authorization import Union
from podwright.apiserver.authorization.escalation import RBACEscalation
from podwright.apiserver.config import ApiServerConfig
from podwright.apiserver.requests import AdmissionPlugin, Objects, Writer

__all__ = ["Chain", "Plugin", "build", "undo"]


@dataclass(frozen=True, slots=True)
class _Parts:
    """What plugins are made of."""

    config: ApiServerConfig
    objects: Objects
    writer: Writer
    authorizer: Union
    table: ResourceTable
    convert: Convert
    settings: Settings

    def called(self, plugin: str) -> tuple[Objects, Union, ResourceTable, Convert, WebhookUsers | None]:
        """What the plugins of webhooks are made of."""
        return self.objects, self.authorizer, self.table, self.convert, WebhookUsers.of(self.settings, plugin)


def _tolerations(parts: _Parts) -> AdmissionPlugin:
    config = parts.config
    return DefaultTolerationSeconds(
        config.default_not_ready_toleration_seconds, config.default_unreachable_toleration_seconds
    )


_Maker = Callable[[_Parts], AdmissionPlugin]
_PLUGINS: tuple[tuple[type[AdmissionPlugin], _Maker], ...] = (
    (AlwaysAdmit, lambda p: AlwaysAdmit()),
    (NamespaceAutoProvision, lambda p: NamespaceAutoProvision(p.objects, p.writer)),
    (NamespaceLifecycle, lambda p: NamespaceLifecycle(p.objects)),
    (NamespaceExists, lambda p: NamespaceExists(p.objects)),
    (LimitPodHardAntiAffinityTopology, lambda p: LimitPodHardAntiAffinityTopology()),
    (LimitRanger, lambda p: LimitRanger(p.objects)),
    (ServiceAccount, lambda p: ServiceAccount(p.objects)),
    (NodeRestriction, lambda p: NodeRestriction(p.objects)),
    (TaintNodesByCondition, lambda p: TaintNodesByCondition()),
    (AlwaysPullImages, lambda p: AlwaysPullImages()),
    (ImagePolicyWebhook, lambda p: ImagePolicyWebhook(p.settings)),
    (PodSecurity, lambda p: PodSecurity(p.objects, pod_security_settings(p.settings))),
    (PodNodeSelector, lambda p: PodNodeSelector(p.objects, selectors_of(p.settings))),
    (Priority, lambda p: Priority(p.objects)),
    (DefaultTolerationSeconds, _tolerations),
    (PodTolerationRestriction, lambda p: PodTolerationRestriction(p.objects, p.settings)),
    (EventRateLimit, lambda p: EventRateLimit(p.settings)),
    (ExtendedResourceToleration, lambda p: ExtendedResourceToleration()),
    (DefaultStorageClass, lambda p: DefaultStorageClass(p.objects)),
    (StorageObjectInUseProtection, lambda p: StorageObjectInUseProtection()),
    (OwnerReferencesPermissionEnforcement, lambda p: OwnerReferencesPermissionEnforcement(p.authorizer, p.table)),
    (PersistentVolumeClaimResize, lambda p: PersistentVolumeClaimResize(p.objects)),
    (RuntimeClass, lambda p: RuntimeClass(p.objects)),
    (CertificateApproval, lambda p: CertificateApproval(p.authorizer)),
    (CertificateSigning, lambda p: CertificateSigning(p.authorizer)),
    (ClusterTrustBundleAttest, lambda p: ClusterTrustBundleAttest(p.authorizer)),
    (CertificateSubjectRestriction, lambda p: CertificateSubjectRestriction()),
    (DefaultIngressClass, lambda p: DefaultIngressClass(p.objects)),
    (DenyServiceExternalIPs, lambda p: DenyServiceExternalIPs()),
    (PodTopologyLabels, lambda p: PodTopologyLabels(p.objects)),
    (MutatingAdmissionPolicy, lambda p: MutatingAdmissionPolicy(p.objects, p.authorizer, p.table, p.convert)),
    (MutatingAdmissionWebhook, lambda p: MutatingAdmissionWebhook(*p.called("MutatingAdmissionWebhook"))),
    (ValidatingAdmissionPolicy, lambda p: ValidatingAdmissionPolicy(p.objects, p.authorizer, p.table, p.convert)),
    (ValidatingAdmissionWebhook, lambda p: ValidatingAdmissionWebhook(*p.called("ValidatingAdmissionWebhook"))),
    (ResourceQuota, lambda p: ResourceQuota(p.objects, p.writer, limited_resources(p.settings))),
    (AlwaysDeny, lambda p: AlwaysDeny()),
)
"""In upstream's order."""
_OFF_BY_DEFAULT = frozenset({
    "AlwaysAdmit", "NamespaceAutoProvision", "NamespaceExists", "LimitPodHardAntiAffinityTopology", "AlwaysPullImages",
    "ImagePolicyWebhook", "PodNodeSelector", "PodTolerationRestriction", "EventRateLimit", "ExtendedResourceToleration",
    "OwnerReferencesPermissionEnforcement", "DenyServiceExternalIPs", "AlwaysDeny",
})  # fmt: skip
_WITHOUT_RULES = frozenset({
    "PodGroupProtection", "PodGroupWorkloadExists", "JobValidation", "NodeDeclaredFeatureValidator",
    "PodResizeValidator",
})  # fmt: skip
"""Names that flags may have: upstream's plugins of gates that are off, and two that leave to the kubelet here what it
says itself (docs/differences.md)."""


def build(
    config: ApiServerConfig, objects: Objects, writer: Writer, authorizer: Union, table: ResourceTable = BUILTIN,
    convert: Convert = conversion,
) -> Chain:
    """The default plugins and those that the configuration enables, less those that it disables. `table` knows custom
    resources, which may be parameters of policies; `convert` gives webhooks and policies the version of an object that
    they ask for. Raises OSError, ValueError."""
    known = {plugin.name for plugin, _ in _PLUGINS} | _WITHOUT_RULES
    enabled, disabled = set(config.enabled_admission_plugins), set(config.disabled_admission_plugins)
    if unknown := sorted((enabled | disabled) - known):
        raise ValueError(f"unknown admission plugin {unknown[0]!r}")
    if both := sorted(enabled & disabled):
        raise ValueError(f"{both[0]} in enable-admission-plugins and disable-admission-plugins overlapped")
    settings = Settings(config.admission_config, known)
    parts = _Parts(config, objects, writer, authorizer, table, convert, settings)
    off = (_OFF_BY_DEFAULT - enabled) | disabled
    chosen = [make(parts) for plugin, make in _PLUGINS if plugin.name not in off]
    always = (RBACEscalation(objects, authorizer.rbac, authorizer), PodCertificateSigning(authorizer))
    return Chain([*always, *chosen])
