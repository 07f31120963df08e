"""The rows of admission, aggregation and storage migration."""

from __future__ import annotations

from podwright.api.objects import Object
from podwright.api.printing.tables import (
    AGE,
    NAME,
    Cells,
    Column,
    Printer,
    Printers,
    age,
    integer,
    name,
    selector,
    spec,
    status,
    text,
)

_ADMISSION = "admissionregistration.k8s.io"


def _webhooks(obj: Object, now: float) -> Cells:
    return [name(obj), len(obj.get("webhooks") or ()), age(obj, now)]


def _policy(field: str, obj: Object, now: float) -> Cells:
    kind = spec(obj).get("paramKind")
    said = f"{kind.get('apiVersion') or ''}/{kind.get('kind') or ''}" if kind else "<unset>"
    return [name(obj), len(spec(obj).get(field) or ()), said, age(obj, now)]


def _validating(obj: Object, now: float) -> Cells:
    return _policy("validations", obj, now)


def _mutating(obj: Object, now: float) -> Cells:
    return _policy("mutations", obj, now)


def _binding(obj: Object, now: float) -> Cells:
    ref, said = spec(obj).get("paramRef") or {}, "<unset>"
    if ref.get("name"):
        said = f"{ref.get('namespace') or '*'}/{ref['name']}"
    elif ref.get("selector") is not None:
        said = selector(ref["selector"])
    return [name(obj), spec(obj).get("policyName") or "", said, age(obj, now)]


def _api_service(obj: Object, now: float) -> Cells:
    service = spec(obj).get("service")
    where = f"{service.get('namespace') or ''}/{service.get('name') or ''}" if service else "Local"
    condition = next((c for c in status(obj).get("conditions") or () if c.get("type") == "Available"), None)
    if condition is None:
        available = "Unknown"
    elif condition.get("status") == "True":
        available = "True"
    else:
        available = f"{condition.get('status')} ({condition.get('reason') or ''})"
    return [name(obj), where, available, age(obj, now)]


def _migration(obj: Object, _now: float) -> Cells:
    resource = spec(obj).get("resource") or {}
    return [name(obj), ".".join(resource[field] for field in ("resource", "group") if resource.get(field))]


_WEBHOOKS = Printer((NAME, integer("Webhooks"), AGE), _webhooks)
_BINDING = Printer((NAME, *text("PolicyName", "ParamRef"), AGE), _binding)

PRINTERS: Printers = {
    (_ADMISSION, "MutatingAdmissionPolicy"): Printer((NAME, integer("Mutations"), *text("ParamKind"), AGE), _mutating),
    (_ADMISSION, "MutatingAdmissionPolicyBinding"): _BINDING,
    (_ADMISSION, "MutatingWebhookConfiguration"): _WEBHOOKS,
    (_ADMISSION, "ValidatingAdmissionPolicy"): Printer(
        (NAME, integer("Validations"), *text("ParamKind"), AGE), _validating
    ),
    (_ADMISSION, "ValidatingAdmissionPolicyBinding"): _BINDING,
    (_ADMISSION, "ValidatingWebhookConfiguration"): _WEBHOOKS,
    ("apiregistration.k8s.io", "APIService"): Printer((NAME, *text("Service", "Available"), AGE), _api_service),
    ("storagemigration.k8s.io", "StorageVersionMigration"): Printer((Column("Name"), *text("Resource")), _migration),
}
