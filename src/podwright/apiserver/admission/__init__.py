"""Admission: what is written is changed and checked on its way, in upstream's order of plugins.

:func:`build` makes the chain; the API server calls ``admit`` before validation and ``validate`` on the final object,
and :func:`undo` if the write fails after that.
"""

from __future__ import annotations

from podwright.api.resources import BUILTIN, ResourceTable
from podwright.apiserver.admission import configuration
from podwright.apiserver.admission.certificates import (
    CertificateApproval,
    CertificateSigning,
    CertificateSubjectRestriction,
    ClusterTrustBundleAttest,
)
from podwright.apiserver.admission.chain import Chain, Plugin, undo
from podwright.apiserver.admission.default_ingress_class import DefaultIngressClass
from podwright.apiserver.admission.default_toleration_seconds import DefaultTolerationSeconds
from podwright.apiserver.admission.limit_ranger import LimitRanger
from podwright.apiserver.admission.mutating_policies import MutatingAdmissionPolicy
from podwright.apiserver.admission.namespace_lifecycle import NamespaceLifecycle
from podwright.apiserver.admission.node_restriction import NodeRestriction
from podwright.apiserver.admission.pod_security import PodSecurity
from podwright.apiserver.admission.pod_topology_labels import PodTopologyLabels
from podwright.apiserver.admission.priority import Priority
from podwright.apiserver.admission.resource_quota import ResourceQuota
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
from podwright.apiserver.admission.webhooks import MutatingAdmissionWebhook, ValidatingAdmissionWebhook
from podwright.apiserver.authorization import Union
from podwright.apiserver.authorization.escalation import RBACEscalation
from podwright.apiserver.config import ApiServerConfig
from podwright.apiserver.requests import AdmissionPlugin, Objects, Writer

__all__ = ["Chain", "Plugin", "build", "undo"]


def build(
    config: ApiServerConfig, objects: Objects, writer: Writer, authorizer: Union, table: ResourceTable = BUILTIN,
    convert: Convert = conversion,
) -> Chain:
    """The default plugins, less those the configuration disables. `table` knows custom resources, which may be
    parameters of policies; `convert` gives webhooks and policies the version of an object that they ask for."""
    plugins: list[AdmissionPlugin] = [
        NamespaceLifecycle(objects),
        LimitRanger(objects),
        ServiceAccount(objects),
        NodeRestriction(objects),
        TaintNodesByCondition(),
        PodSecurity(objects, configuration.pod_security(config.admission_config)),
        PodTopologyLabels(objects),
        Priority(objects),
        DefaultTolerationSeconds(
            config.default_not_ready_toleration_seconds, config.default_unreachable_toleration_seconds
        ),
        DefaultStorageClass(objects),
        StorageObjectInUseProtection(),
        PersistentVolumeClaimResize(objects),
        RuntimeClass(objects),
        CertificateApproval(authorizer),
        CertificateSigning(authorizer),
        ClusterTrustBundleAttest(authorizer),
        CertificateSubjectRestriction(),
        DefaultIngressClass(objects),
        MutatingAdmissionPolicy(objects, authorizer, table, convert),
        MutatingAdmissionWebhook(objects, authorizer, table, convert),
        ValidatingAdmissionPolicy(objects, authorizer, table, convert),
        ValidatingAdmissionWebhook(objects, authorizer, table, convert),
        ResourceQuota(objects, writer),
    ]
    known = {plugin.name for plugin in plugins}
    for wanted in (*config.enabled_admission_plugins, *config.disabled_admission_plugins):
        if wanted not in known:
            raise ValueError(f"unknown admission plugin {wanted!r}")
    disabled = set(config.disabled_admission_plugins)
    chosen = [plugin for plugin in plugins if plugin.name not in disabled]
    return Chain([RBACEscalation(objects, authorizer.rbac, authorizer), *chosen])
