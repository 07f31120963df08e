"""The rows of role bindings and certificates. Roles have upstream's plain columns."""

from __future__ import annotations

from podwright.api.objects import Object
from podwright.api.printing.durations import human
from podwright.api.printing.tables import AGE, NAME, Cells, Printer, Printers, age, name, spec, status, text, wide


def _binding(obj: Object, now: float) -> Cells:
    ref = obj.get("roleRef") or {}
    listed: dict[str, list[str]] = {"User": [], "Group": [], "ServiceAccount": []}
    for subject in obj.get("subjects") or ():
        said = subject.get("name") or ""
        if subject.get("kind") == "ServiceAccount" and subject.get("namespace"):
            said = f"{subject['namespace']}/{said}"
        if subject.get("kind") in listed:
            listed[subject["kind"]].append(said)
    role = f"{ref.get('kind') or ''}/{ref.get('name') or ''}"
    return [name(obj), role, age(obj, now), *(", ".join(names) for names in listed.values())]


def _request(obj: Object, now: float) -> Cells:
    request, kinds = spec(obj), {c.get("type") for c in status(obj).get("conditions") or ()}
    condition = "Denied" if "Denied" in kinds else "Approved" if "Approved" in kinds else "Pending"
    if "Failed" in kinds:
        condition += ",Failed"
    if status(obj).get("certificate"):
        condition += ",Issued"
    seconds = request.get("expirationSeconds")
    return [
        name(obj), age(obj, now), request.get("signerName") or "<none>", request.get("username") or "",
        "<none>" if seconds is None else human(seconds), condition,
    ]


def _trust_bundle(obj: Object, _now: float) -> Cells:
    return [name(obj), spec(obj).get("signerName") or "<none>"]


def _pod_certificate(obj: Object, _now: float) -> Cells:
    state = "Pending"
    for condition in status(obj).get("conditions") or ():
        if condition.get("type") in ("Issued", "Denied", "Failed"):
            state = condition["type"]
    request = spec(obj)
    fields = ("podName", "serviceAccountName", "nodeName", "signerName")
    return [name(obj), *(request.get(field) or "" for field in fields), state]


_BINDING = Printer((NAME, *text("Role"), AGE, *wide("Users", "Groups", "ServiceAccounts")), _binding)
_REQUEST_TEXT = text("SignerName", "Requestor", "RequestedDuration", "Condition")
_POD_TEXT = text("PodName", "ServiceAccountName", "NodeName", "SignerName", "State")

PRINTERS: Printers = {
    ("certificates.k8s.io", "CertificateSigningRequest"): Printer((NAME, AGE, *_REQUEST_TEXT), _request),
    ("certificates.k8s.io", "ClusterTrustBundle"): Printer((NAME, *text("SignerName")), _trust_bundle),
    ("certificates.k8s.io", "PodCertificateRequest"): Printer((NAME, *_POD_TEXT), _pod_certificate),
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"): _BINDING,
    ("rbac.authorization.k8s.io", "RoleBinding"): _BINDING,
}
