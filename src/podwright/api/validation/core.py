"""The rules of the core group's kinds."""

from __future__ import annotations

from podwright.api.validation import core_cluster, core_data, names, pods
from podwright.api.validation.rules import Kinds, Rules

KINDS: Kinds = {
    ("", "Binding"): pods.BINDING,
    ("", "ConfigMap"): core_data.CONFIG_MAP,
    ("", "Namespace"): core_cluster.NAMESPACE,
    ("", "Node"): core_cluster.NODE,
    ("", "Pod"): pods.POD,
    ("", "Secret"): core_data.SECRET,
    ("", "ServiceAccount"): Rules(name=names.subdomain_name),
}
