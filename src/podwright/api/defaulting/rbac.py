"""Defaults of the rbac.authorization.k8s.io group."""

from __future__ import annotations

from podwright.api.objects import Object

GROUP = "rbac.authorization.k8s.io"


def binding(obj: Object) -> None:
    ref = obj.get("roleRef")
    if ref is not None and not ref.get("apiGroup"):
        ref["apiGroup"] = GROUP
    for subject in obj.get("subjects") or ():
        if not subject.get("apiGroup") and subject.get("kind") in ("User", "Group"):
            subject["apiGroup"] = GROUP


DEFAULTERS = {(GROUP, "", "ClusterRoleBinding"): binding, (GROUP, "", "RoleBinding"): binding}
