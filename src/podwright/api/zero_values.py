"""Which scalar fields vanish when they are zero ("", 0, false).

Go writes such a field only if its struct holds it by pointer, or without ``omitempty``; the published definitions do
not say which do. Fields that are held by value and may be omitted are listed here by name, with the types in which they
are otherwise (read off the types of kubernetes/api 1.37). Required fields never vanish.
"""

from __future__ import annotations

from collections.abc import Mapping

_VANISHING = frozenset(
    """
    action active allNodes allocationMode apiGroup apiVersion audience authenticated availableReplicas
    certificateChain certificateChainPath chapAuthDiscovery chapAuthSession clusterIP clusterScope code
    completedIndexes component concurrencyPolicy containerID containerName continue controller count
    credentialBundlePath currentReplicas currentRevision datasetName datasetUUID denied deprecatedCount
    description directory dnsPolicy effect emulationVersion error evaluationError expression externalID
    externalName externalTrafficPolicy failed failureThreshold field fieldPath fieldsType fsType
    fullyLabeledReplicas generateName generation globalDefault group hardwareAddress health healthCheckNodePort
    host hostIP hostIPC hostNetwork hostPID hostPort hostname image imagePullPolicy initialDelaySeconds
    interfaceName ip iscsiInterface key keyPath keyring kind level loadBalancerIP manager medium message
    messageExpression minReadySeconds name namespace nodeName nodePort nominatedNodeName note number
    numberAvailable numberUnavailable observedGeneration operation operator partition path paused periodSeconds
    persistentVolumeReclaimPolicy phase podCIDR podIP podManagementPolicy policyName pool prefix priorityClassName
    protectionDomain protocol providerID publishNotReadyAddresses pullPolicy qosClass rawSelector readOnly
    readyReplicas reason reference reinvocationPolicy replicas reportingController reportingInstance request
    resize resource resourceVersion restartPolicy retryAfterSeconds revision role schedulerName scheme secretFile
    secretName selector selfLink serviceAccount serviceAccountName sessionAffinity signal signerName sizeBytes
    sslEnabled status stdin stdinOnce storageClassName storageMode storagePolicyID storagePolicyName storagePool
    storageVersionHash subPath subPathExpr subdomain subresource succeeded successThreshold targetContainerName
    targetVolumeAttributesClassName tenant terminationMessagePath terminationMessagePolicy timeoutSeconds tty type
    uid unavailableReplicas unschedulable updateRevision updatedNumberScheduled updatedReplicas user username
    value verb version volumeName volumeNamespace whenDeleted whenScaled workingDir
    """.split()  # noqa: SIM905 (180 words, not 180 lines)
)

_STAYING: Mapping[str, tuple[str, ...]] = {
    "allNodes": ("BasicDevice", "Device", "ResourceSliceSpec"),
    "apiGroup": ("IngressClassParametersReference", "RoleRef", "TypedLocalObjectReference", "TypedObjectReference"),
    "availableReplicas": ("StatefulSetStatus",),
    "containerName": ("PodFailurePolicyOnExitCodesRequirement",),
    "controller": ("OwnerReference",),
    "count": ("VolumeNodeResources",),
    "error": ("IngressPortStatus", "PortStatus"),
    "fsType": ("AzureDiskVolumeSource", "CSIVolumeSource", "LocalVolumeSource"),
    "hostname": ("Endpoint",),
    "kind": ("AzureDiskVolumeSource",),
    "message": ("ResourceHealth", "ResponderStatus"),
    "name": ("ClusterTrustBundleProjection", "EndpointPort", "NodeRuntimeHandler"),
    "namespace": ("IngressClassParametersReference", "TypedObjectReference"),
    "nodeName": ("BasicDevice", "Device", "Endpoint", "EndpointAddress", "PoolStatus", "ResourceSliceSpec"),
    "observedGeneration": (
        "EvictionRequestStatus", "EvictionStatus", "HorizontalPodAutoscalerCondition", "HorizontalPodAutoscalerStatus",
    ),
    "partition": ("RollingUpdateStatefulSetStrategy",),
    "path": ("ServiceReference",),
    "pool": ("DeviceTaintSelector",),
    "protocol": ("EndpointPort", "HTTPGetAction", "NetworkPolicyPort"),
    "readOnly": ("AzureDiskVolumeSource", "CSIVolumeSource"),
    "reason": ("Validation",),
    "reinvocationPolicy": ("MutatingWebhook",),
    "replicas": ("DeploymentSpec", "ReplicaSetSpec", "ReplicationControllerSpec", "StatefulSetSpec"),
    "reportingInstance": ("Event",),
    "resourceVersion": ("Preconditions",),
    "restartPolicy": ("Container", "EphemeralContainer"),
    "revision": ("ControllerRevision",),
    "signerName": ("ClusterTrustBundleProjection",),
    "status": (
        "DaemonSetCondition", "DeploymentCondition", "PodFailurePolicyOnPodConditionsPattern", "ReplicaSetCondition",
        "StatefulSetCondition",
    ),
    "storageClassName": ("PersistentVolumeClaimSpec",),
    "timeoutSeconds": ("ClientIPConfig", "MutatingWebhook", "ValidatingWebhook"),
    "type": (
        "DaemonSetCondition", "DeploymentCondition", "HostPathVolumeSource", "ReplicaSetCondition",
        "StatefulSetCondition",
    ),
    "uid": ("Preconditions",),
    "user": (
        "ClusterTrustBundleProjection", "DownwardAPIVolumeFile", "KeyToPath", "PodCertificateProjection",
        "ServiceAccountTokenProjection",
    ),
    "value": ("PodDNSConfigOption", "PriorityClass"),
    "version": ("DeviceAttribute",),
}

_KNOWN = ("io.k8s.api.", "io.k8s.apimachinery.pkg.apis.meta.v1.")


def vanishes(definition: str, field: str) -> bool:
    """Whether an optional scalar field of a definition is not written when it is zero."""
    if field not in _VANISHING or not definition.startswith(_KNOWN):
        return False
    return definition.rpartition(".")[2] not in _STAYING.get(field, ())
