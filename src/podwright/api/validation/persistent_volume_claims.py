"""Rules for PersistentVolumeClaims and for the claim templates of ephemeral volumes."""

from __future__ import annotations

from podwright.api.objects import Object
from podwright.api.status import FieldError
from podwright.api.validation import metadata
from podwright.api.validation.field_errors import forbidden


def claim_template(errs: list[FieldError], template: Object, path: str) -> None:
    meta = template.get("metadata") or {}
    if values := meta.get("annotations"):
        metadata.annotation_values(errs, values, f"{path}.metadata.annotations")
    if labels := meta.get("labels"):
        metadata.labels(errs, labels, f"{path}.metadata.labels")
    for field in meta:
        if field not in ("annotations", "labels"):
            errs.append(forbidden(f"{path}.metadata.{field}", "cannot be set"))
