"""The one table of served resources. Adding a kind is adding a row.

Everything that differs between kinds and is not behaviour stands in a row: names, scope, subresources, short names,
categories, where the objects lie in the store. Discovery, routing, OpenAPI, RBAC's resource names and the typed
constants at the end of this file all read it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

ALL_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
REVIEW_VERBS = ("create",)

STATUS = "status"
SCALE = "scale"


@dataclass(frozen=True, slots=True)
class Subresource:
    """A path below an object, such as pods/log.

    ``kind`` and ``group``/``version`` name the type that it reads and writes where that is not the parent's.
    """

    name: str
    verbs: tuple[str, ...] = ("get", "patch", "update")
    kind: str = ""
    group: str = ""
    version: str = ""


@dataclass(frozen=True, slots=True)
class Resource:
    """A row: one resource in one API version.

    ``storage_path`` is the part of the key after ``/registry/``, as upstream lays keys out. ``storage_version`` is
    the version in which objects are stored; rows of other versions of the same resource convert. ``definition`` is the
    key of the schema.
    """

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    subresources: tuple[Subresource, ...] = ()
    verbs: tuple[str, ...] = ALL_VERBS
    storage_path: str = ""
    storage_version: str = ""
    storage_group: str | None = None
    definition: str = ""
    legacy: bool = False
    singular: str = field(default="")
    custom: bool = False

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def qualified(self) -> str:
        """"deployments.apps", "pods": how errors and RBAC name the resource."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def protobuf(self) -> bool:
        """Whether it has a protobuf form: custom resources and metrics are JSON only."""
        return not self.custom and self.group != "metrics.k8s.io"

    @property
    def list_kind(self) -> str:
        return self.kind + "List"

    @property
    def storage_prefix(self) -> str:
        """"/registry/pods/": every key of the resource begins with it."""
        return f"/registry/{self.storage_path}/"

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """The URL path of the collection or of one object."""
        parts = ["/apis", self.group, self.version] if self.group else ["/api", self.version]
        if namespace and self.namespaced:
            parts += ["namespaces", namespace]
        parts.append(self.plural)
        if name:
            parts.append(name)
        if subresource:
            parts.append(subresource)
        return "/".join(parts)

    def subresource(self, name: str) -> Subresource | None:
        for sub in self.subresources:
            if sub.name == name:
                return sub
        return None


def _definition(group: str, version: str, kind: str) -> str:
    if group == "apiextensions.k8s.io":
        return f"io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.{version}.{kind}"
    if group == "apiregistration.k8s.io":
        return f"io.k8s.kube-aggregator.pkg.apis.apiregistration.{version}.{kind}"
    if group == "metrics.k8s.io":
        return f"io.k8s.metrics.pkg.apis.metrics.{version}.{kind}"
    return f"io.k8s.api.{group.split('.', maxsplit=1)[0] or 'core'}.{version}.{kind}"


def _row(
    group: str, version: str, plural: str, kind: str, *, cluster: bool = False, short: str = "", categories: str = "",
    subs: Iterable[Subresource | str] = (), verbs: tuple[str, ...] = ALL_VERBS, storage: str = "",
    storage_version: str = "", storage_group: str | None = None, legacy: bool = False,
) -> Resource:
    return Resource(
        group=group,
        version=version,
        plural=plural,
        kind=kind,
        namespaced=not cluster,
        short_names=tuple(short.split()),
        categories=tuple(categories.split()),
        subresources=tuple(_subresource(s) for s in subs),
        verbs=verbs,
        storage_path=storage or plural,
        storage_version=storage_version or version,
        storage_group=storage_group,
        definition=_definition(group, version, kind),
        legacy=legacy,
        singular=kind.lower(),
    )


def _subresource(sub: Subresource | str) -> Subresource:
    if isinstance(sub, Subresource):
        return sub
    if sub == SCALE:
        return Subresource(SCALE, kind="Scale", group="autoscaling", version="v1")
    return Subresource(sub)


def _connect(name: str, kind: str, *verbs: str) -> Subresource:
    return Subresource(name, verbs, kind)


_PROXY_VERBS = ("create", "delete", "get", "patch", "update")

_POD_SUBRESOURCES = (
    _connect("attach", "PodAttachOptions", "create", "get"),
    _connect("binding", "Binding", "create"),
    Subresource("ephemeralcontainers"),
    Subresource("eviction", ("create",), "Eviction", "policy", "v1"),
    _connect("exec", "PodExecOptions", "create", "get"),
    Subresource("log", ("get",)),
    _connect("portforward", "PodPortForwardOptions", "create", "get"),
    _connect("proxy", "PodProxyOptions", *_PROXY_VERBS),
    Subresource("resize"),
    STATUS,
)

_TOKEN = Subresource("token", ("create",), "TokenRequest", "authentication.k8s.io", "v1")

_ADMISSION = "admissionregistration.k8s.io"
_AUTHN = "authentication.k8s.io"
_AUTHZ = "authorization.k8s.io"
_CERTS = "certificates.k8s.io"
_FLOW = "flowcontrol.apiserver.k8s.io"
_NET = "networking.k8s.io"
_RBAC = "rbac.authorization.k8s.io"
_DRA = "resource.k8s.io"
_STORAGE = "storage.k8s.io"

TABLE: tuple[Resource, ...] = (
    _row("", "v1", "bindings", "Binding", verbs=REVIEW_VERBS),
    _row("", "v1", "componentstatuses", "ComponentStatus", cluster=True, short="cs", verbs=("get", "list")),
    _row("", "v1", "configmaps", "ConfigMap", short="cm"),
    _row("", "v1", "endpoints", "Endpoints", short="ep", storage="services/endpoints"),
    _row("", "v1", "events", "Event", short="ev"),
    _row("", "v1", "limitranges", "LimitRange", short="limits"),
    _row(
        "", "v1", "namespaces", "Namespace", cluster=True, short="ns",
        subs=(Subresource("finalize", ("update",)), STATUS),
        verbs=("create", "delete", "get", "list", "patch", "update", "watch"),
    ),
    _row(
        "", "v1", "nodes", "Node", cluster=True, short="no", storage="minions",
        subs=(_connect("proxy", "NodeProxyOptions", *_PROXY_VERBS), STATUS),
    ),
    _row("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim", short="pvc", subs=(STATUS,)),
    _row("", "v1", "persistentvolumes", "PersistentVolume", cluster=True, short="pv", subs=(STATUS,)),
    _row("", "v1", "pods", "Pod", short="po", categories="all", subs=_POD_SUBRESOURCES),
    _row("", "v1", "podtemplates", "PodTemplate"),
    _row(
        "", "v1", "replicationcontrollers", "ReplicationController", short="rc", categories="all",
        subs=(SCALE, STATUS), storage="controllers",
    ),
    _row("", "v1", "resourcequotas", "ResourceQuota", short="quota", subs=(STATUS,)),
    _row("", "v1", "secrets", "Secret"),
    _row("", "v1", "serviceaccounts", "ServiceAccount", short="sa", subs=(_TOKEN,)),
    _row(
        "", "v1", "services", "Service", short="svc", categories="all", storage="services/specs",
        subs=(_connect("proxy", "ServiceProxyOptions", *_PROXY_VERBS), STATUS),
    ),
    _row("apps", "v1", "controllerrevisions", "ControllerRevision"),
    _row("apps", "v1", "daemonsets", "DaemonSet", short="ds", categories="all", subs=(STATUS,)),
    _row("apps", "v1", "deployments", "Deployment", short="deploy", categories="all", subs=(SCALE, STATUS)),
    _row("apps", "v1", "replicasets", "ReplicaSet", short="rs", categories="all", subs=(SCALE, STATUS)),
    _row("apps", "v1", "statefulsets", "StatefulSet", short="sts", categories="all", subs=(SCALE, STATUS)),
    _row("batch", "v1", "cronjobs", "CronJob", short="cj", categories="all", subs=(STATUS,)),
    _row("batch", "v1", "jobs", "Job", categories="all", subs=(STATUS,)),
    _row(
        "autoscaling", "v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler", short="hpa", categories="all",
        subs=(STATUS,),
    ),
    _row(
        "autoscaling", "v1", "horizontalpodautoscalers", "HorizontalPodAutoscaler", short="hpa", categories="all",
        subs=(STATUS,), storage_version="v2",
    ),
    _row("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget", short="pdb", subs=(STATUS,)),
    _row(_RBAC, "v1", "clusterrolebindings", "ClusterRoleBinding", cluster=True),
    _row(_RBAC, "v1", "clusterroles", "ClusterRole", cluster=True),
    _row(_RBAC, "v1", "rolebindings", "RoleBinding"),
    _row(_RBAC, "v1", "roles", "Role"),
    _row(_NET, "v1", "ingressclasses", "IngressClass", cluster=True),
    _row(_NET, "v1", "ingresses", "Ingress", short="ing", subs=(STATUS,), storage="ingress"),
    _row(_NET, "v1", "ipaddresses", "IPAddress", cluster=True, short="ip"),
    _row(_NET, "v1", "networkpolicies", "NetworkPolicy", short="netpol"),
    _row(_NET, "v1", "servicecidrs", "ServiceCIDR", cluster=True, subs=(STATUS,)),
    _row(_STORAGE, "v1", "csidrivers", "CSIDriver", cluster=True),
    _row(_STORAGE, "v1", "csinodes", "CSINode", cluster=True),
    _row(_STORAGE, "v1", "csistoragecapacities", "CSIStorageCapacity"),
    _row(_STORAGE, "v1", "storageclasses", "StorageClass", cluster=True, short="sc"),
    _row(_STORAGE, "v1", "volumeattachments", "VolumeAttachment", cluster=True, subs=(STATUS,)),
    _row(_STORAGE, "v1", "volumeattributesclasses", "VolumeAttributesClass", cluster=True, short="vac"),
    _row("coordination.k8s.io", "v1", "leases", "Lease"),
    _row("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice"),
    _row("events.k8s.io", "v1", "events", "Event", short="ev", storage_group="", storage_version="v1"),
    _row("node.k8s.io", "v1", "runtimeclasses", "RuntimeClass", cluster=True),
    _row("scheduling.k8s.io", "v1", "priorityclasses", "PriorityClass", cluster=True, short="pc"),
    _row(
        _ADMISSION, "v1", "mutatingadmissionpolicies", "MutatingAdmissionPolicy", cluster=True, short="map",
        categories="api-extensions",
    ),
    _row(
        _ADMISSION, "v1", "mutatingadmissionpolicybindings", "MutatingAdmissionPolicyBinding", cluster=True,
        categories="api-extensions",
    ),
    _row(
        _ADMISSION, "v1", "mutatingwebhookconfigurations", "MutatingWebhookConfiguration", cluster=True,
        categories="api-extensions",
    ),
    _row(
        _ADMISSION, "v1", "validatingadmissionpolicies", "ValidatingAdmissionPolicy", cluster=True,
        categories="api-extensions", subs=(STATUS,),
    ),
    _row(
        _ADMISSION, "v1", "validatingadmissionpolicybindings", "ValidatingAdmissionPolicyBinding", cluster=True,
        categories="api-extensions",
    ),
    _row(
        _ADMISSION, "v1", "validatingwebhookconfigurations", "ValidatingWebhookConfiguration", cluster=True,
        categories="api-extensions",
    ),
    _row(
        "apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", cluster=True,
        short="crd crds", categories="api-extensions", subs=(STATUS,),
        storage="apiextensions.k8s.io/customresourcedefinitions",
    ),
    _row(
        "apiregistration.k8s.io", "v1", "apiservices", "APIService", cluster=True, categories="api-extensions",
        subs=(STATUS,), storage="apiregistration.k8s.io/apiservices",
    ),
    _row(_AUTHN, "v1", "selfsubjectreviews", "SelfSubjectReview", cluster=True, verbs=REVIEW_VERBS),
    _row(_AUTHN, "v1", "tokenreviews", "TokenReview", cluster=True, verbs=REVIEW_VERBS),
    _row(_AUTHZ, "v1", "localsubjectaccessreviews", "LocalSubjectAccessReview", verbs=REVIEW_VERBS),
    _row(_AUTHZ, "v1", "selfsubjectaccessreviews", "SelfSubjectAccessReview", cluster=True, verbs=REVIEW_VERBS),
    _row(_AUTHZ, "v1", "selfsubjectrulesreviews", "SelfSubjectRulesReview", cluster=True, verbs=REVIEW_VERBS),
    _row(_AUTHZ, "v1", "subjectaccessreviews", "SubjectAccessReview", cluster=True, verbs=REVIEW_VERBS),
    _row(
        _CERTS, "v1", "certificatesigningrequests", "CertificateSigningRequest", cluster=True, short="csr",
        subs=(Subresource("approval"), STATUS),
    ),
    _row(_CERTS, "v1", "clustertrustbundles", "ClusterTrustBundle", cluster=True),
    _row(_CERTS, "v1", "podcertificaterequests", "PodCertificateRequest", subs=(STATUS,)),
    _row(_FLOW, "v1", "flowschemas", "FlowSchema", cluster=True, subs=(STATUS,)),
    _row(_FLOW, "v1", "prioritylevelconfigurations", "PriorityLevelConfiguration", cluster=True, subs=(STATUS,)),
    _row(_DRA, "v1", "deviceclasses", "DeviceClass", cluster=True),
    _row(_DRA, "v1", "devicetaintrules", "DeviceTaintRule", cluster=True, subs=(STATUS,)),
    _row(_DRA, "v1", "resourceclaims", "ResourceClaim", subs=(STATUS,)),
    _row(_DRA, "v1", "resourceclaimtemplates", "ResourceClaimTemplate"),
    _row(_DRA, "v1", "resourceslices", "ResourceSlice", cluster=True),
    _row(
        "storagemigration.k8s.io", "v1", "storageversionmigrations", "StorageVersionMigration", cluster=True,
        subs=(STATUS,),
    ),
    _row("metrics.k8s.io", "v1beta1", "nodes", "NodeMetrics", cluster=True, verbs=("get", "list"),
         storage="metrics.k8s.io/nodes"),
    _row("metrics.k8s.io", "v1beta1", "pods", "PodMetrics", verbs=("get", "list"), storage="metrics.k8s.io/pods"),
    _row("batch", "v1beta1", "cronjobs", "CronJob", short="cj", subs=(STATUS,), storage_version="v1", legacy=True),
    _row("discovery.k8s.io", "v1beta1", "endpointslices", "EndpointSlice", storage_version="v1", legacy=True),
    _row(
        "policy", "v1beta1", "poddisruptionbudgets", "PodDisruptionBudget", short="pdb", subs=(STATUS,),
        storage_version="v1", legacy=True,
    ),
    _row(_STORAGE, "v1beta1", "csistoragecapacities", "CSIStorageCapacity", storage_version="v1", legacy=True),
    _row(
        "events.k8s.io", "v1beta1", "events", "Event", short="ev", storage_group="", storage_version="v1",
        legacy=True,
    ),
    _row("node.k8s.io", "v1beta1", "runtimeclasses", "RuntimeClass", cluster=True, storage_version="v1", legacy=True),
)
"""Rows in discovery order: a group's preferred version comes first."""


class ResourceTable:
    """Look-ups over rows: the built-in ones, and in the API server also those that custom resource definitions add."""

    def __init__(self, rows: Iterable[Resource] = ()) -> None:
        self._by_path: dict[tuple[str, str, str], Resource] = {}
        self._by_kind: dict[tuple[str, str, str], Resource] = {}
        for row in rows:
            self.add(row)

    def add(self, row: Resource) -> None:
        self._by_path[row.group, row.version, row.plural] = row
        self._by_kind[row.group, row.version, row.kind] = row

    def remove(self, row: Resource) -> None:
        self._by_path.pop((row.group, row.version, row.plural), None)
        self._by_kind.pop((row.group, row.version, row.kind), None)

    def __iter__(self) -> Iterator[Resource]:
        return iter(list(self._by_path.values()))

    def by_path(self, group: str, version: str, plural: str) -> Resource | None:
        return self._by_path.get((group, version, plural))

    def by_kind(self, api_version: str, kind: str) -> Resource | None:
        group, _, version = api_version.rpartition("/")
        return self._by_kind.get((group, version, kind))

    def by_group_kind(self, group: str, kind: str) -> Resource | None:
        """The row of the first version (the preferred one) of a kind."""
        return next((r for r in self._by_path.values() if r.group == group and r.kind == kind), None)

    def storage_row(self, row: Resource) -> Resource:
        """The row in whose version objects of `row` are stored (core/v1 Events for events.k8s.io/v1 Events)."""
        group = row.group if row.storage_group is None else row.storage_group
        if group == row.group and row.storage_version == row.version:
            return row
        return self._by_path[group, row.storage_version, row.plural]


def served(*, legacy: bool = False) -> ResourceTable:
    """A fresh table of the built-in rows; with `legacy`, also of the versions 1.37 no longer serves."""
    return ResourceTable(row for row in TABLE if legacy or not row.legacy)


BUILTIN = served()


def _builtin(group: str, plural: str, version: str = "v1") -> Resource:
    row = BUILTIN.by_path(group, version, plural)
    assert row is not None, plural
    return row


BINDINGS = _builtin("", "bindings")
CONFIGMAPS = _builtin("", "configmaps")
ENDPOINTS = _builtin("", "endpoints")
EVENTS = _builtin("", "events")
LIMITRANGES = _builtin("", "limitranges")
NAMESPACES = _builtin("", "namespaces")
NODES = _builtin("", "nodes")
PERSISTENTVOLUMECLAIMS = _builtin("", "persistentvolumeclaims")
PERSISTENTVOLUMES = _builtin("", "persistentvolumes")
PODS = _builtin("", "pods")
REPLICATIONCONTROLLERS = _builtin("", "replicationcontrollers")
RESOURCEQUOTAS = _builtin("", "resourcequotas")
SECRETS = _builtin("", "secrets")
SERVICEACCOUNTS = _builtin("", "serviceaccounts")
SERVICES = _builtin("", "services")
CONTROLLERREVISIONS = _builtin("apps", "controllerrevisions")
DAEMONSETS = _builtin("apps", "daemonsets")
DEPLOYMENTS = _builtin("apps", "deployments")
REPLICASETS = _builtin("apps", "replicasets")
STATEFULSETS = _builtin("apps", "statefulsets")
CRONJOBS = _builtin("batch", "cronjobs")
JOBS = _builtin("batch", "jobs")
HORIZONTALPODAUTOSCALERS = _builtin("autoscaling", "horizontalpodautoscalers", "v2")
PODDISRUPTIONBUDGETS = _builtin("policy", "poddisruptionbudgets")
CLUSTERROLEBINDINGS = _builtin(_RBAC, "clusterrolebindings")
CLUSTERROLES = _builtin(_RBAC, "clusterroles")
ROLEBINDINGS = _builtin(_RBAC, "rolebindings")
ROLES = _builtin(_RBAC, "roles")
INGRESSCLASSES = _builtin(_NET, "ingressclasses")
INGRESSES = _builtin(_NET, "ingresses")
NETWORKPOLICIES = _builtin(_NET, "networkpolicies")
SERVICECIDRS = _builtin(_NET, "servicecidrs")
IPADDRESSES = _builtin(_NET, "ipaddresses")
CSIDRIVERS = _builtin(_STORAGE, "csidrivers")
CSINODES = _builtin(_STORAGE, "csinodes")
CSISTORAGECAPACITIES = _builtin(_STORAGE, "csistoragecapacities")
STORAGECLASSES = _builtin(_STORAGE, "storageclasses")
VOLUMEATTACHMENTS = _builtin(_STORAGE, "volumeattachments")
VOLUMEATTRIBUTESCLASSES = _builtin(_STORAGE, "volumeattributesclasses")
LEASES = _builtin("coordination.k8s.io", "leases")
ENDPOINTSLICES = _builtin("discovery.k8s.io", "endpointslices")
RUNTIMECLASSES = _builtin("node.k8s.io", "runtimeclasses")
PRIORITYCLASSES = _builtin("scheduling.k8s.io", "priorityclasses")
MUTATINGWEBHOOKCONFIGURATIONS = _builtin(_ADMISSION, "mutatingwebhookconfigurations")
VALIDATINGWEBHOOKCONFIGURATIONS = _builtin(_ADMISSION, "validatingwebhookconfigurations")
CUSTOMRESOURCEDEFINITIONS = _builtin("apiextensions.k8s.io", "customresourcedefinitions")
APISERVICES = _builtin("apiregistration.k8s.io", "apiservices")
CERTIFICATESIGNINGREQUESTS = _builtin(_CERTS, "certificatesigningrequests")
CLUSTERTRUSTBUNDLES = _builtin(_CERTS, "clustertrustbundles")
PODCERTIFICATEREQUESTS = _builtin(_CERTS, "podcertificaterequests")
TOKENREVIEWS = _builtin(_AUTHN, "tokenreviews")
SUBJECTACCESSREVIEWS = _builtin(_AUTHZ, "subjectaccessreviews")
RESOURCECLAIMS = _builtin(_DRA, "resourceclaims")
RESOURCECLAIMTEMPLATES = _builtin(_DRA, "resourceclaimtemplates")
RESOURCESLICES = _builtin(_DRA, "resourceslices")
DEVICETAINTRULES = _builtin(_DRA, "devicetaintrules")
STORAGEVERSIONMIGRATIONS = _builtin("storagemigration.k8s.io", "storageversionmigrations")
NODE_METRICS = _builtin("metrics.k8s.io", "nodes", "v1beta1")
POD_METRICS = _builtin("metrics.k8s.io", "pods", "v1beta1")
DEVICECLASSES = _builtin(_DRA, "deviceclasses")
