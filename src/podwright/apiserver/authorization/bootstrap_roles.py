"""The default roles and bindings as data: facts of upstream's RBAC bootstrap policy (Kubernetes documentation, "Using
RBAC Authorization", section "Default roles and role bindings").

A rule is one line: ``verbs | API groups | resources | resource names``, words split by spaces, the core group spelled
``core``; a line that begins with ``url`` is ``url | verbs | paths``.
"""

from __future__ import annotations

READ = "get list watch"
WRITE = "create delete deletecollection patch update"
ALL = "create delete deletecollection get list patch update watch"
EVENTS = "create patch update | core events.k8s.io | events"

AGGREGATES: dict[str, str] = {
    "admin": "rbac.authorization.k8s.io/aggregate-to-admin",
    "edit": "rbac.authorization.k8s.io/aggregate-to-edit",
    "view": "rbac.authorization.k8s.io/aggregate-to-view",
}
"""Aggregated ClusterRoles and the label (value "true") of what they take in."""

LABELS: dict[str, str] = {
    "edit": "rbac.authorization.k8s.io/aggregate-to-admin",
    "view": "rbac.authorization.k8s.io/aggregate-to-edit",
    "system:aggregate-to-admin": "rbac.authorization.k8s.io/aggregate-to-admin",
    "system:aggregate-to-edit": "rbac.authorization.k8s.io/aggregate-to-edit",
    "system:aggregate-to-view": "rbac.authorization.k8s.io/aggregate-to-view",
}

CLUSTER_ROLES: dict[str, tuple[str, ...]] = {
    "admin": (),
    "cluster-admin": ("* | * | *", "url | * | *"),
    "edit": (),
    "view": (),
    "system:aggregate-to-admin": (
        "create | authorization.k8s.io | localsubjectaccessreviews",
        f"{ALL} | rbac.authorization.k8s.io | rolebindings roles",
    ),
    "system:aggregate-to-edit": (
        f"{READ} | core | pods/attach pods/exec pods/portforward pods/proxy secrets services/proxy",
        "impersonate | core | serviceaccounts",
        f"{WRITE} | core | pods pods/attach pods/exec pods/portforward pods/proxy",
        "create | core | pods/eviction",
        f"{WRITE} | core | configmaps events persistentvolumeclaims replicationcontrollers"
        " replicationcontrollers/scale secrets serviceaccounts services services/proxy",
        "create | core | serviceaccounts/token",
        f"{WRITE} | apps | daemonsets deployments deployments/rollback deployments/scale replicasets replicasets/scale"
        " statefulsets statefulsets/scale",
        f"{WRITE} | autoscaling | horizontalpodautoscalers",
        f"{WRITE} | batch | cronjobs jobs",
        f"{WRITE} | extensions | daemonsets deployments deployments/rollback deployments/scale ingresses"
        " networkpolicies replicasets replicasets/scale replicationcontrollers/scale",
        f"{WRITE} | policy | poddisruptionbudgets",
        f"{WRITE} | networking.k8s.io | ingresses networkpolicies",
        f"{ALL} | coordination.k8s.io | leases",
        f"{WRITE} | resource.k8s.io | resourceclaims resourceclaimtemplates",
    ),
    "system:aggregate-to-view": (
        f"{READ} | metrics.k8s.io | nodes pods",
        f"{READ} | core | configmaps endpoints persistentvolumeclaims persistentvolumeclaims/status pods"
        " replicationcontrollers replicationcontrollers/scale serviceaccounts services services/status",
        f"{READ} | core | bindings events limitranges namespaces/status pods/log pods/status"
        " replicationcontrollers/status resourcequotas resourcequotas/status",
        f"{READ} | core | namespaces",
        f"{READ} | discovery.k8s.io | endpointslices",
        f"{READ} | apps | controllerrevisions daemonsets daemonsets/status deployments deployments/scale"
        " deployments/status replicasets replicasets/scale replicasets/status statefulsets statefulsets/scale"
        " statefulsets/status",
        f"{READ} | autoscaling | horizontalpodautoscalers horizontalpodautoscalers/status",
        f"{READ} | batch | cronjobs cronjobs/status jobs jobs/status",
        f"{READ} | extensions | daemonsets daemonsets/status deployments deployments/scale deployments/status"
        " ingresses ingresses/status networkpolicies replicasets replicasets/scale replicasets/status"
        " replicationcontrollers/scale",
        f"{READ} | policy | poddisruptionbudgets poddisruptionbudgets/status",
        f"{READ} | networking.k8s.io | ingresses ingresses/status networkpolicies",
        f"{READ} | resource.k8s.io | resourceclaims resourceclaims/status resourceclaimtemplates",
    ),
    "system:auth-delegator": (
        "create | authentication.k8s.io | tokenreviews",
        "create | authorization.k8s.io | subjectaccessreviews",
    ),
    "system:basic-user": (
        "create | authorization.k8s.io | selfsubjectaccessreviews selfsubjectrulesreviews",
        "create | authentication.k8s.io | selfsubjectreviews",
    ),
    "system:certificates.k8s.io:certificatesigningrequests:nodeclient": (
        "create | certificates.k8s.io | certificatesigningrequests/nodeclient",
    ),
    "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient": (
        "create | certificates.k8s.io | certificatesigningrequests/selfnodeclient",
    ),
    "system:certificates.k8s.io:kube-apiserver-client-approver": (
        "approve | certificates.k8s.io | signers | kubernetes.io/kube-apiserver-client",
    ),
    "system:certificates.k8s.io:kube-apiserver-client-kubelet-approver": (
        "approve | certificates.k8s.io | signers | kubernetes.io/kube-apiserver-client-kubelet"
        " kubernetes.io/kubelet-serving",
        "get | core | nodes",
    ),
    "system:certificates.k8s.io:kubelet-serving-approver": (
        "approve | certificates.k8s.io | signers | kubernetes.io/kubelet-serving",
    ),
    "system:certificates.k8s.io:legacy-unknown-approver": (
        "approve | certificates.k8s.io | signers | kubernetes.io/legacy-unknown",
    ),
    "system:cluster-trust-bundle-discovery": (f"{READ} | certificates.k8s.io | clustertrustbundles",),
    "system:discovery": (
        "url | get | /api /api/* /apis /apis/* /healthz /livez /openapi /openapi/* /readyz /version /version/",
    ),
    "system:heapster": (
        f"{READ} | core | events namespaces nodes pods",
        f"{READ} | extensions | deployments",
    ),
    "system:kube-aggregator": (f"{READ} | core | endpoints services",),
    "system:kube-controller-manager": (
        EVENTS,
        "create | coordination.k8s.io | leases",
        "get update | coordination.k8s.io | leases | kube-controller-manager",
        "create | core | secrets serviceaccounts",
        "delete | core | secrets",
        "get | core | configmaps namespaces secrets serviceaccounts",
        "update | core | secrets serviceaccounts",
        "create | authentication.k8s.io | tokenreviews",
        "create | authorization.k8s.io | subjectaccessreviews",
        "list watch | * | *",
        "create | core | serviceaccounts/token",
    ),
    "system:kube-dns": ("list watch | core | endpoints services", "list watch | discovery.k8s.io | endpointslices"),
    "system:kube-scheduler": (
        EVENTS,
        "create | coordination.k8s.io | leases",
        "get list update watch | coordination.k8s.io | leases | kube-scheduler",
        "create | coordination.k8s.io | leasecandidates",
        "delete deletecollection get list patch update watch | coordination.k8s.io | leasecandidates",
        f"{READ} | core | nodes",
        f"delete {READ} | core | pods",
        "create | core | bindings pods/binding",
        "patch update | core | pods/status",
        f"{READ} | core | replicationcontrollers services",
        f"{READ} | apps extensions | replicasets",
        f"{READ} | apps | statefulsets",
        f"{READ} | policy | poddisruptionbudgets",
        f"patch update {READ} | core | persistentvolumeclaims persistentvolumes",
        "create | authentication.k8s.io | tokenreviews",
        "create | authorization.k8s.io | subjectaccessreviews",
        f"{READ} | storage.k8s.io | csinodes csidrivers csistoragecapacities volumeattachments storageclasses",
        f"{READ} | core | namespaces",
        f"{READ} | resource.k8s.io | deviceclasses devicetaintrules resourceclaims resourceslices",
        "patch update | resource.k8s.io | resourceclaims resourceclaims/status resourceclaims/binding",
        "update | core | pods/finalizers",
    ),
    "system:kubelet-api-admin": (
        f"{READ} | core | nodes",
        "proxy | core | nodes",
        "* | core | nodes/configz nodes/healthz nodes/log nodes/metrics nodes/pods nodes/proxy nodes/stats",
    ),
    "system:monitoring": (
        "url | get | /healthz /healthz/* /livez /livez/* /metrics /metrics/slis /readyz /readyz/* /flagz /statusz",
    ),
    "system:node": (
        "create | authentication.k8s.io | tokenreviews",
        "create | authorization.k8s.io | localsubjectaccessreviews subjectaccessreviews",
        f"{READ} | core | services",
        f"create {READ} | core | nodes",
        "patch update | core | nodes/status",
        "patch update | core | nodes",
        EVENTS,
        f"{READ} | core | pods",
        "create delete | core | pods",
        "patch update | core | pods/status",
        "create | core | pods/eviction",
        f"{READ} | core | configmaps secrets",
        "get | core | persistentvolumeclaims persistentvolumes",
        "get | core | endpoints",
        f"create {READ} | certificates.k8s.io | certificatesigningrequests",
        "create delete get patch update | coordination.k8s.io | leases",
        "get | storage.k8s.io | volumeattachments",
        "create | core | serviceaccounts/token",
        "get patch update | core | persistentvolumeclaims/status",
        f"{READ} | storage.k8s.io | csidrivers",
        "create delete get patch update | storage.k8s.io | csinodes",
        f"{READ} | node.k8s.io | runtimeclasses",
        "get | resource.k8s.io | resourceclaims",
        "deletecollection | resource.k8s.io | resourceslices",
        f"create delete patch update {READ} | resource.k8s.io | resourceslices",
        f"{READ} | certificates.k8s.io | clustertrustbundles",
        f"create {READ} | certificates.k8s.io | podcertificaterequests",
        "get | core | serviceaccounts",
    ),
    "system:node-bootstrapper": (f"create {READ} | certificates.k8s.io | certificatesigningrequests",),
    "system:node-problem-detector": ("get | core | nodes", "patch | core | nodes/status", EVENTS),
    "system:node-proxier": (
        "list watch | core | endpoints services",
        f"{READ} | core | nodes",
        EVENTS,
        "list watch | discovery.k8s.io | endpointslices",
        "list watch | networking.k8s.io | servicecidrs",
    ),
    "system:persistent-volume-provisioner": (
        f"create delete {READ} | core | persistentvolumes",
        f"update {READ} | core | persistentvolumeclaims",
        f"{READ} | storage.k8s.io | storageclasses",
        "watch | core | events",
        EVENTS,
    ),
    "system:public-info-viewer": ("url | get | /healthz /livez /readyz /version /version/",),
    "system:service-account-issuer-discovery": (
        "url | get | /.well-known/openid-configuration /.well-known/openid-configuration/ /openid/v1/jwks"
        " /openid/v1/jwks/",
    ),
    "system:volume-scheduler": (
        f"patch update {READ} | core | persistentvolumes",
        f"{READ} | storage.k8s.io | storageclasses",
        f"patch update {READ} | core | persistentvolumeclaims",
    ),
}

CONTROLLER_ROLES: dict[str, tuple[str, ...]] = {
    "attachdetach-controller": (
        "list watch | core | persistentvolumeclaims persistentvolumes",
        f"{READ} | core | nodes",
        "patch update | core | nodes/status",
        "list watch | core | pods",
        EVENTS,
        f"create delete {READ} | storage.k8s.io | volumeattachments",
        f"{READ} | storage.k8s.io | csidrivers",
        f"{READ} | storage.k8s.io | csinodes",
    ),
    "certificate-controller": (
        f"delete {READ} | certificates.k8s.io | certificatesigningrequests",
        "update | certificates.k8s.io | certificatesigningrequests/approval certificatesigningrequests/status",
        "approve | certificates.k8s.io | signers | kubernetes.io/kube-apiserver-client-kubelet"
        " kubernetes.io/kubelet-serving",
        "get | core | nodes",
        "sign | certificates.k8s.io | signers | kubernetes.io/kube-apiserver-client"
        " kubernetes.io/kube-apiserver-client-kubelet kubernetes.io/kubelet-serving kubernetes.io/legacy-unknown",
        "create | authorization.k8s.io | subjectaccessreviews",
        EVENTS,
    ),
    "clusterrole-aggregation-controller": (
        f"escalate patch update {READ} | rbac.authorization.k8s.io | clusterroles",
    ),
    "cronjob-controller": (
        f"update {READ} | batch | cronjobs",
        f"create delete patch update {READ} | batch | jobs",
        "update | batch | cronjobs/status",
        "update | batch | cronjobs/finalizers",
        "delete list watch | core | pods",
        EVENTS,
    ),
    "daemon-set-controller": (
        f"{READ} | apps extensions | daemonsets",
        "update | apps extensions | daemonsets/status",
        "update | apps extensions | daemonsets/finalizers",
        "list watch | core | nodes",
        "create delete list patch watch | core | pods",
        "create | core | pods/binding",
        f"create delete patch update {READ} | apps | controllerrevisions",
        EVENTS,
    ),
    "deployment-controller": (
        f"update {READ} | apps extensions | deployments",
        "update | apps extensions | deployments/status",
        "update | apps extensions | deployments/finalizers",
        f"create delete patch update {READ} | apps extensions | replicasets",
        f"update {READ} | core | pods",
        EVENTS,
    ),
    "device-taint-eviction-controller": (
        f"delete {READ} | core | pods",
        "patch update | core | pods/status",
        f"{READ} | resource.k8s.io | resourceclaims",
        f"{READ} | resource.k8s.io | resourceslices",
        f"{READ} | resource.k8s.io | deviceclasses",
        f"{READ} | resource.k8s.io | devicetaintrules",
        "patch update | resource.k8s.io | devicetaintrules/status",
        EVENTS,
    ),
    "disruption-controller": (
        f"{READ} | apps extensions | deployments",
        f"{READ} | apps extensions | replicasets",
        f"{READ} | core | replicationcontrollers",
        f"{READ} | policy | poddisruptionbudgets",
        f"{READ} | apps | statefulsets",
        "update | policy | poddisruptionbudgets/status",
        "list watch | core | pods",
        "patch update | core | pods/status",
        "get | * | */scale",
        EVENTS,
    ),
    "endpoint-controller": (
        f"{READ} | core | pods services",
        f"create delete update {READ} | core | endpoints",
        "create | core | endpoints/restricted",
        EVENTS,
    ),
    "endpointslice-controller": (
        f"{READ} | core | nodes pods services",
        "update | core | services/finalizers",
        f"create delete update {READ} | discovery.k8s.io | endpointslices",
        "create | discovery.k8s.io | endpointslices/restricted",
        EVENTS,
    ),
    "endpointslicemirroring-controller": (
        f"{READ} | core | endpoints services",
        "update | core | services/finalizers",
        "update | core | endpoints/finalizers",
        f"create delete update {READ} | discovery.k8s.io | endpointslices",
        "create | discovery.k8s.io | endpointslices/restricted",
        EVENTS,
    ),
    "ephemeral-volume-controller": (
        f"{READ} | core | pods",
        "update | core | pods/finalizers",
        f"create {READ} | core | persistentvolumeclaims",
        EVENTS,
    ),
    "expand-controller": (
        f"patch update {READ} | core | persistentvolumes",
        "patch update | core | persistentvolumeclaims/status",
        f"{READ} | core | persistentvolumeclaims",
        EVENTS,
    ),
    "generic-garbage-collector": (f"delete patch update {READ} | * | *", EVENTS),
    "horizontal-pod-autoscaler": (
        f"{READ} | autoscaling | horizontalpodautoscalers",
        "update | autoscaling | horizontalpodautoscalers/status",
        "get update | * | */scale",
        "list watch | core | pods",
        "list watch | metrics.k8s.io | pods",
        f"{READ} | custom.metrics.k8s.io | *",
        f"{READ} | external.metrics.k8s.io | *",
        EVENTS,
    ),
    "job-controller": (
        f"patch update {READ} | batch | jobs",
        "update | batch | jobs/status",
        "update | batch | jobs/finalizers",
        "create delete list patch watch | core | pods",
        EVENTS,
    ),
    "legacy-service-account-token-cleaner": (
        "get | core | configmaps | kube-apiserver-legacy-service-account-token-tracking",
        "delete patch | core | secrets",
    ),
    "namespace-controller": (
        f"delete {READ} | core | namespaces",
        "update | core | namespaces/finalize namespaces/status",
        f"delete deletecollection {READ} | * | *",
    ),
    "node-controller": (
        f"delete patch update {READ} | core | nodes",
        "patch update | core | nodes/status",
        "patch update | core | pods/status",
        f"delete {READ} | core | pods",
        EVENTS,
    ),
    "persistent-volume-binder": (
        f"create delete update {READ} | core | persistentvolumes",
        "update | core | persistentvolumes/status",
        f"update {READ} | core | persistentvolumeclaims",
        "update | core | persistentvolumeclaims/status",
        f"create delete {READ} | core | pods",
        f"{READ} | storage.k8s.io | storageclasses",
        "list watch | core | nodes",
        EVENTS,
        "watch | core | events",
    ),
    "pod-garbage-collector": (
        "delete list watch | core | pods",
        f"{READ} | core | nodes",
        "patch | core | pods/status",
    ),
    "podcertificaterequestcleaner": (f"delete {READ} | certificates.k8s.io | podcertificaterequests",),
    "pv-protection-controller": (f"update {READ} | core | persistentvolumes", EVENTS),
    "pvc-protection-controller": (
        f"update {READ} | core | persistentvolumeclaims",
        "patch update | core | persistentvolumeclaims/status",
        f"{READ} | core | pods",
        EVENTS,
    ),
    "replicaset-controller": (
        f"update {READ} | apps extensions | replicasets",
        "update | apps extensions | replicasets/status",
        "update | apps extensions | replicasets/finalizers",
        "create delete list patch watch | core | pods",
        EVENTS,
    ),
    "replication-controller": (
        f"update {READ} | core | replicationcontrollers",
        "update | core | replicationcontrollers/status",
        "update | core | replicationcontrollers/finalizers",
        "create delete list patch watch | core | pods",
        EVENTS,
    ),
    "resource-claim-controller": (
        f"{READ} | core | pods",
        "update | core | pods/finalizers",
        f"create delete {READ} | resource.k8s.io | resourceclaims",
        "patch update | resource.k8s.io | resourceclaims resourceclaims/status",
        "patch update | core | pods/status",
        EVENTS,
        "patch update | resource.k8s.io | resourceclaims/binding",
    ),
    "resourcequota-controller": (
        "list watch | * | *",
        "update | core | resourcequotas/status",
        EVENTS,
    ),
    "root-ca-cert-publisher": ("create update | core | configmaps", EVENTS),
    "route-controller": ("list watch | core | nodes", "patch | core | nodes/status", EVENTS),
    "selinux-warning-controller": (
        EVENTS,
        f"{READ} | core | persistentvolumes",
        f"{READ} | core | persistentvolumeclaims",
        f"{READ} | core | pods",
        f"{READ} | storage.k8s.io | csidrivers",
    ),
    "service-account-controller": ("create | core | serviceaccounts", EVENTS),
    "service-cidrs-controller": (
        f"patch update {READ} | networking.k8s.io | servicecidrs",
        "patch update | networking.k8s.io | servicecidrs/finalizers",
        "patch update | networking.k8s.io | servicecidrs/status",
        f"{READ} | networking.k8s.io | ipaddresses",
        EVENTS,
    ),
    "service-controller": (
        f"{READ} | core | services",
        "patch update | core | services/status",
        "list watch | core | nodes",
        EVENTS,
    ),
    "statefulset-controller": (
        "list watch | core | pods",
        f"{READ} | apps | statefulsets",
        "update | apps | statefulsets/status",
        "update | apps | statefulsets/finalizers",
        "create delete get patch update | core | pods",
        f"create delete patch update {READ} | apps | controllerrevisions",
        f"create {READ} | core | persistentvolumeclaims",
        "delete update | core | persistentvolumeclaims",
        "update | core | pods/finalizers",
        EVENTS,
    ),
    "ttl-after-finished-controller": (f"delete {READ} | batch | jobs", EVENTS),
    "ttl-controller": ("list patch update watch | core | nodes", EVENTS),
    "storage-version-migrator-controller": (
        "list create patch | * | *",
        "get | apiextensions.k8s.io | customresourcedefinitions",
        "update | apiextensions.k8s.io | customresourcedefinitions/status",
        "update | storagemigration.k8s.io | storageversionmigrations/status",
    ),
    # Upstream's API servers write these statuses themselves.
    "flow-schema-status-controller": (
        f"{READ} | flowcontrol.apiserver.k8s.io | flowschemas prioritylevelconfigurations",
        "patch update | flowcontrol.apiserver.k8s.io | flowschemas/status",
    ),
    "validatingadmissionpolicy-status-controller": (
        f"{READ} | admissionregistration.k8s.io | validatingadmissionpolicies",
        "get patch update | admissionregistration.k8s.io | validatingadmissionpolicies/status",
        EVENTS,
    ),
    "volumeattributesclass-protection-controller": (
        f"{READ} | core | persistentvolumeclaims",
        f"{READ} | core | persistentvolumes",
        f"update {READ} | storage.k8s.io | volumeattributesclasses",
        EVENTS,
    ),
}
"""ClusterRoles ``system:controller:NAME``, each bound to the ServiceAccount NAME in kube-system."""

CLUSTER_ROLE_BINDINGS: dict[str, tuple[str, ...]] = {
    "cluster-admin": ("Group system:masters",),
    "system:basic-user": ("Group system:authenticated",),
    "system:cluster-trust-bundle-discovery": ("Group system:serviceaccounts",),
    "system:discovery": ("Group system:authenticated",),
    "system:kube-controller-manager": ("User system:kube-controller-manager",),
    "system:kube-dns": ("ServiceAccount kube-system/kube-dns",),
    "system:kube-scheduler": ("User system:kube-scheduler",),
    "system:monitoring": ("Group system:monitoring",),
    "system:node": (),
    "system:node-proxier": ("User system:kube-proxy",),
    "system:public-info-viewer": ("Group system:authenticated", "Group system:unauthenticated"),
    "system:service-account-issuer-discovery": ("Group system:serviceaccounts",),
    "system:volume-scheduler": ("User system:kube-scheduler",),
}
"""Binding name, which is also the ClusterRole's, and its subjects."""

_LOCKING = (
    "create get list update watch | coordination.k8s.io | leases",
    "create get list update watch | coordination.k8s.io | leasecandidates",
)

ROLES: dict[tuple[str, str], tuple[str, ...]] = {
    ("kube-public", "system:controller:bootstrap-signer"): (
        f"{READ} | core | configmaps",
        "update | core | configmaps | cluster-info",
        EVENTS,
    ),
    ("kube-system", "extension-apiserver-authentication-reader"): (
        f"{READ} | core | configmaps | extension-apiserver-authentication",
    ),
    ("kube-system", "system::leader-locking-kube-controller-manager"): _LOCKING,
    ("kube-system", "system::leader-locking-kube-scheduler"): _LOCKING,
    ("kube-system", "system:controller:bootstrap-signer"): (f"{READ} | core | secrets",),
    ("kube-system", "system:controller:cloud-provider"): (f"create {READ} | core | configmaps",),
    ("kube-system", "system:controller:token-cleaner"): (f"delete {READ} | core | secrets", EVENTS),
}

ROLE_BINDINGS: dict[tuple[str, str], tuple[str, tuple[str, ...]]] = {
    ("kube-public", "system:controller:bootstrap-signer"): (
        "system:controller:bootstrap-signer", ("ServiceAccount kube-system/bootstrap-signer",),
    ),
    ("kube-system", "system::extension-apiserver-authentication-reader"): (
        "extension-apiserver-authentication-reader",
        ("User system:kube-controller-manager", "User system:kube-scheduler"),
    ),
    ("kube-system", "system::leader-locking-kube-controller-manager"): (
        "system::leader-locking-kube-controller-manager",
        (
            "User system:kube-controller-manager",
            "ServiceAccount kube-system/kube-controller-manager",
            "ServiceAccount kube-system/leader-election-controller",
        ),
    ),
    ("kube-system", "system::leader-locking-kube-scheduler"): (
        "system::leader-locking-kube-scheduler",
        ("User system:kube-scheduler", "ServiceAccount kube-system/kube-scheduler"),
    ),
    ("kube-system", "system:controller:bootstrap-signer"): (
        "system:controller:bootstrap-signer", ("ServiceAccount kube-system/bootstrap-signer",),
    ),
    ("kube-system", "system:controller:cloud-provider"): (
        "system:controller:cloud-provider", ("ServiceAccount kube-system/cloud-provider",),
    ),
    ("kube-system", "system:controller:token-cleaner"): (
        "system:controller:token-cleaner", ("ServiceAccount kube-system/token-cleaner",),
    ),
}
"""(namespace, binding name): the Role's name and the subjects."""
