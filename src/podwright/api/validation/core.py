"""The rules of the core group's kinds."""

from __future__ import annotations

from podwright.api.validation import (
    core_cluster,
    core_data,
    endpoints,
    events,
    limits,
    persistent_volume_claims,
    persistent_volumes,
    pods,
    replication,
    services,
)
from podwright.api.validation.rules import Kinds, Rules

KINDS: Kinds = {
    ("", "Binding"): pods.BINDING,
    ("", "ConfigMap"): core_data.CONFIG_MAP,
    ("", "Endpoints"): endpoints.ENDPOINTS,
    ("", "Event"): events.CORE_EVENT,
    ("", "LimitRange"): limits.LIMIT_RANGE,
    ("", "Namespace"): core_cluster.NAMESPACE,
    ("", "Node"): core_cluster.NODE,
    ("", "PersistentVolume"): persistent_volumes.PERSISTENT_VOLUME,
    ("", "PersistentVolumeClaim"): persistent_volume_claims.CLAIM,
    ("", "Pod"): pods.POD,
    ("", "PodTemplate"): replication.POD_TEMPLATE,
    ("", "ReplicationController"): replication.REPLICATION_CONTROLLER,
    ("", "ResourceQuota"): limits.RESOURCE_QUOTA,
    ("", "Secret"): core_data.SECRET,
    ("", "Service"): services.SERVICE,
    ("", "ServiceAccount"): Rules(),
}
