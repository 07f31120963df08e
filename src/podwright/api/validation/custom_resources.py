"""CustomResourceDefinitions."""

from __future__ import annotations

from urllib.parse import urlsplit

from podwright.api.objects import Object
from podwright.api.status import FieldError
from podwright.api.validation import metadata, names, ratcheting, schema_warnings
from podwright.api.validation.field_errors import (
    duplicate,
    forbidden,
    formed,
    invalid,
    not_supported,
    one_of,
    required,
    too_many,
)
from podwright.api.validation.rules import Kinds, Rules, spec_of
from podwright.api.validation.structural_schemas import schema
from podwright.api.validation.webhooks import ca_bundle_problem, client_config

GROUP = "apiextensions.k8s.io"
_SCOPES = ("Cluster", "Namespaced")
_COLUMN_TYPES = ("boolean", "date", "integer", "number", "string")
_COLUMN_FORMATS = ("byte", "date", "date-time", "double", "float", "int32", "int64", "name", "password")
APPROVAL = "api-approved.kubernetes.io"
_MAX_SELECTABLE = 8
_RATCHET = (
    r"^metadata\.annotations\[api-approved", r"^spec\.preserveUnknownFields", "openAPIV3Schema: Required",
    "must include at least one of v1, v1beta1", r"\.type: Unsupported", "must be atomic as item of a list",
    "in x-kubernetes-list-map-keys, so|cannot be nullable when x-kubernetes-list-type",
    ratcheting.unchanged(r"spec\.versions\[\]\.selectableFields: Too many"),
)


def _joined(errs: list[FieldError], value: str, problems: names.Problems, field: str, before: str = "") -> None:
    if problems:
        errs.append(invalid(field, value, before + ",".join(problems)))


def definition(errs: list[FieldError], obj: Object) -> None:
    spec, meta = spec_of(obj), obj.get("metadata") or {}
    group, plural = spec.get("group") or "", (spec.get("names") or {}).get("plural") or ""
    name = meta.get("name") or ""
    if name and name != f"{plural}.{group}":
        errs.append(invalid("metadata.name", name, 'must be spec.names.plural+"."+spec.group'))
    if not group:
        errs.append(required("spec.group"))
    elif problems := names.dns_subdomain(group):
        _joined(errs, group, problems, "spec.group")
    elif "." not in group:
        errs.append(invalid("spec.group", group, "should be a domain with at least one dot"))
    scope = spec.get("scope") or ""
    one_of(errs, scope, "spec.scope", _SCOPES, needed=True)
    _versions(errs, spec.get("versions") or [])
    given = spec.get("names") or {}
    for field in ("plural", "singular", "kind", "listKind"):
        if not given.get(field):
            errs.append(required(f"spec.names.{field}"))
    _names(errs, given, "spec.names")
    if spec.get("preserveUnknownFields"):
        said = (
            'cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead'
        )
        errs.append(invalid("spec.preserveUnknownFields", True, said))
    _conversion(errs, spec.get("conversion"))
    _approval(errs, group, (meta.get("annotations") or {}).get(APPROVAL))


def is_protected(group: str) -> bool:
    """Whether a group is the project's own, whose APIs it approves."""
    return group in ("k8s.io", "kubernetes.io") or group.endswith((".k8s.io", ".kubernetes.io"))


def approval_problem(value: str) -> str:
    """What is wrong with the annotation that says who approved; "" if nothing is."""
    said = f'protected groups must have approval annotation "{APPROVAL}"'
    see = "see https://github.com/kubernetes/enhancements/pull/1111"
    if not value:
        return f"{said}, {see}"
    if value.startswith("unapproved"):
        return ""
    try:
        parts = urlsplit(value)
    except ValueError:
        parts = urlsplit("")
    if parts.scheme and parts.netloc:
        return ""
    return f'{said} with either a URL or a reason starting with "unapproved", {see}'


def _approval(errs: list[FieldError], group: str, value: str | None) -> None:
    field = f"metadata.annotations[{APPROVAL}]"
    if is_protected(group) and (problem := approval_problem(value or "")):
        errs.append(invalid(field, value, problem) if value else required(field, problem))


def _versions(errs: list[FieldError], versions: list[Object]) -> None:
    listed = [v.get("name") or "" for v in versions]
    for i, version in enumerate(versions):
        where = f"spec.versions[{i}]"
        if (root := (version.get("schema") or {}).get("openAPIV3Schema")) is None:
            errs.append(required(f"{where}.schema.openAPIV3Schema"))
        _joined(errs, listed[i], names.dns_1035_label(listed[i]), f"{where}.name")
        _deprecation(errs, version, f"{where}.deprecationWarning")
        if root is not None:
            schema(errs, root, f"{where}.schema.openAPIV3Schema")
        _subresources(errs, version.get("subresources") or {}, f"{where}.subresources")
        for j, column in enumerate(version.get("additionalPrinterColumns") or ()):
            _column(errs, column, f"{where}.additionalPrinterColumns[{j}]")
        _selectable(errs, version.get("selectableFields") or [], root or {}, f"{where}.selectableFields")
    if len(set(listed)) != len(listed):
        errs.append(invalid("spec.versions", versions, "must contain unique version names"))
    if sum(bool(v.get("storage")) for v in versions) != 1:
        errs.append(invalid("spec.versions", versions, "must have exactly one version marked as storage version"))


def _deprecation(errs: list[FieldError], version: Object, field: str) -> None:
    if (warning := version.get("deprecationWarning")) is None:
        return
    if not version.get("deprecated"):
        errs.append(invalid(field, warning, "can only be set for deprecated versions"))
        return
    if len(warning) > 256:
        errs.append(invalid(field, warning, "must be <= 256 characters long"))
    if not warning:
        errs.append(invalid(field, warning, "must not be an empty string"))
    for i, sign in enumerate(warning):
        if not sign.isprintable():
            said = f"must only contain printable UTF-8 characters; non-printable character found at index {i}"
            errs.append(invalid(field, warning, said))
            break


def _path(errs: list[FieldError], path: str, field: str, *prefixes: str) -> None:
    if not path.startswith("."):
        errs.append(invalid(field, path, "must be a simple json path starting with ."))
    elif prefixes and not path.startswith(prefixes):
        under = " or ".join(prefix.rstrip(".") for prefix in prefixes)
        either = "either " if len(prefixes) > 1 else ""
        errs.append(invalid(field, path, f"should be a json path under {either}{under}"))


def _subresources(errs: list[FieldError], subresources: Object, path: str) -> None:
    if (scale := subresources.get("scale")) is None:
        return
    for name, prefix in (("specReplicasPath", ".spec."), ("statusReplicasPath", ".status.")):
        value = scale.get(name) or ""
        if not value:
            errs.append(required(f"{path}.scale.{name}"))
        else:
            _path(errs, value, f"{path}.scale.{name}", prefix)
    if value := scale.get("labelSelectorPath"):
        _path(errs, value, f"{path}.scale.labelSelectorPath", ".spec.", ".status.")


def _column(errs: list[FieldError], column: Object, path: str) -> None:
    kind, form = column.get("type") or "", column.get("format") or ""
    if not column.get("name"):
        errs.append(required(f"{path}.name"))
    one_of = f"must be one of {','.join(_COLUMN_TYPES)}"
    if not kind:
        errs.append(required(f"{path}.type", one_of))
    elif kind not in _COLUMN_TYPES:
        errs.append(invalid(f"{path}.type", kind, one_of))
    if form and form not in _COLUMN_FORMATS:
        errs.append(invalid(f"{path}.format", form, f"must be one of {','.join(_COLUMN_FORMATS)}"))
    target = column.get("jsonPath") or ""
    if not target:
        errs.append(required(f"{path}.JSONPath"))
    else:
        _path(errs, target, f"{path}.JSONPath")


def _selectable(errs: list[FieldError], fields: list[Object], root: Object, path: str) -> None:
    seen: set[str] = set()
    for i, field in enumerate(fields):
        where, target = f"{path}[{i}].jsonPath", field.get("jsonPath") or ""
        if not target:
            errs.append(required(where))
            continue
        node: Object | None = root
        for part in target.removeprefix(".").split("."):
            node = ((node or {}).get("properties") or {}).get(part)
        if target.startswith(".metadata"):
            errs.append(invalid(where, target, "must not point to fields in metadata"))
        elif node is None:
            errs.append(invalid(where, target, "is an invalid path: does not refer to a valid field"))
        elif node.get("type") not in ("string", "boolean", "integer"):
            said = (
                "must point to a field of type string, boolean or integer. Enum string fields and strings with formats "
                "are allowed."
            )
            errs.append(invalid(where, target, said))
        if target in seen:
            errs.append(duplicate(where, target))
        seen.add(target)
    if len(seen) > _MAX_SELECTABLE:
        errs.append(too_many(path, len(seen), _MAX_SELECTABLE))


def _names(errs: list[FieldError], given: Object, path: str) -> None:
    for field in ("plural", "singular"):
        if value := given.get(field):
            _joined(errs, value, names.dns_1035_label(value), f"{path}.{field}")
    mixed = "may have mixed case, but should otherwise match: "
    for field in ("kind", "listKind"):
        if value := given.get(field):
            _joined(errs, value, names.dns_1035_label(value.lower()), f"{path}.{field}", mixed)
    for field in ("shortNames", "categories"):
        for i, value in enumerate(given.get(field) or ()):
            _joined(errs, value, names.dns_1035_label(value), f"{path}.{field}[{i}]")
    if given.get("kind") and given.get("kind") == given.get("listKind"):
        errs.append(invalid(f"{path}.listKind", given["listKind"], "kind and listKind may not be the same"))


def _conversion(errs: list[FieldError], conversion: Object | None) -> None:
    if conversion is None:
        return
    strategy, webhook = conversion.get("strategy") or "", conversion.get("webhook")
    if strategy not in ("None", "Webhook"):
        field = "spec.conversion.strategy"
        errs.append(not_supported(field, strategy, ("None", "Webhook")) if strategy else required(field))
    config = (webhook or {}).get("clientConfig")
    versions = (webhook or {}).get("conversionReviewVersions") or []
    if strategy != "Webhook":
        said = "should not be set when strategy is not set to Webhook"
        if config is not None:
            errs.append(forbidden("spec.conversion.webhookClientConfig", said))
        if versions:
            errs.append(forbidden("spec.conversion.conversionReviewVersions", said))
        return
    if config is None:
        errs.append(required("spec.conversion.webhookClientConfig", "required when strategy is set to Webhook"))
    else:
        client_config(errs, config, "spec.conversion.webhookClientConfig")
    field = "spec.conversion.conversionReviewVersions"
    if not versions:
        errs.append(required(field))
        return
    for i, version in enumerate(versions):
        if version in versions[:i]:
            errs.append(invalid(f"{field}[{i}]", version, "duplicate version"))
        else:
            formed(errs, version, f"{field}[{i}]", names.dns_1035_label)
    if not {"v1", "v1beta1"} & set(versions):
        errs.append(invalid(field, versions, "must include at least one of v1, v1beta1"))


def conversion_config(spec: Object) -> Object:
    """The clientConfig of a definition's conversion webhook; empty if it has none."""
    conversion = spec.get("conversion") or {}
    config: Object = (conversion.get("webhook") or {}).get("clientConfig") or {}
    return config if conversion.get("strategy") == "Webhook" else {}


def _update(errs: list[FieldError], new: Object, old: Object) -> None:
    definition(errs, new)
    spec, before = spec_of(new), spec_of(old)
    conditions = (old.get("status") or {}).get("conditions") or ()
    if any(c.get("type") == "Established" and c.get("status") == "True" for c in conditions):
        metadata.same(errs, spec.get("scope"), before.get("scope"), "spec.scope")
        kind = (spec.get("names") or {}).get("kind")
        metadata.same(errs, kind, (before.get("names") or {}).get("kind"), "spec.names.kind")
        config = conversion_config(spec)
        if (problem := ca_bundle_problem(config)) and not ca_bundle_problem(conversion_config(before)):
            errs.append(invalid("spec.conversion.webhookClientConfig.caBundle", config["caBundle"], problem))
    metadata.same(errs, spec.get("group"), before.get("group"), "spec.group")
    plural = (spec.get("names") or {}).get("plural")
    metadata.same(errs, plural, (before.get("names") or {}).get("plural"), "spec.names.plural")
    _stored(errs, (new.get("status") or {}).get("storedVersions") or [], spec.get("versions") or [])


def _stored(errs: list[FieldError], stored: list[str], versions: list[Object]) -> None:
    if not stored:
        return
    field = "status.storedVersions"
    known = {v.get("name") for v in versions}
    for version in versions:
        if version.get("storage") and version.get("name") not in stored:
            errs.append(invalid(field, stored, f"must have the storage version {version.get('name')}"))
    for i, name in enumerate(stored):
        if name not in known:
            said = (
                f"missing from spec.versions; {name} was previously a storage version, and must remain in "
                f"spec.versions until a storage migration ensures no data remains persisted in {name} and removes "
                f"{name} from status.storedVersions"
            )
            errs.append(invalid(f"{field}[{i}]", name, said))


def _status(errs: list[FieldError], new: Object, old: Object) -> None:
    _names(errs, (new.get("status") or {}).get("acceptedNames") or {}, "status.acceptedNames")


def _prepare(obj: Object) -> None:
    storage = [v.get("name") for v in spec_of(obj).get("versions") or () if v.get("storage")]
    obj["status"] = {"conditions": [], "acceptedNames": {"plural": "", "kind": ""}, "storedVersions": storage}


def _prepare_update(new: Object, old: Object, subresource: str) -> None:
    """A new storage version joins storedVersions at once."""
    if subresource:
        return
    status = dict(old.get("status") or {})
    stored = list(status.get("storedVersions") or ())
    for version in spec_of(new).get("versions") or ():
        if version.get("storage") and version.get("name") not in stored:
            stored.append(version.get("name"))
    status["storedVersions"] = stored
    new["status"] = status


KINDS: Kinds = {
    (GROUP, "CustomResourceDefinition"): Rules(
        create=definition,
        ratchet=_RATCHET,
        update=_update,
        subresources={"status": _status},
        prepare_create=_prepare,
        prepare_update=_prepare_update,
        warnings=schema_warnings.warnings,
        generation=True,
    ),
}
