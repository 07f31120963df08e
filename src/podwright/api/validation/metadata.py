"""Rules for ObjectMeta (apimachinery's ``ValidateObjectMeta`` and ``ValidateObjectMetaUpdate``)."""

from __future__ import annotations

from typing import Any

from podwright.api.objects import Object
from podwright.api.status import FieldError
from podwright.api.validation import names
from podwright.api.validation.field_errors import forbidden, immutable, invalid, non_negative, required, too_long

ANNOTATION_BYTES = 256 * 1024
_MANAGER_BYTES = 128
_ORPHAN = "orphan"
_FOREGROUND = "foregroundDeletion"
_KNOWN_FINALIZERS = frozenset({"kubernetes", _ORPHAN, _FOREGROUND})


def on_create(
    metadata: Object, namespaced: bool, check: names.NameCheck, path: str = "metadata", *, kube_finalizers: bool = True
) -> list[FieldError]:
    """What is wrong with the metadata of a new object, after its name was generated.

    Args:
        kube_finalizers: also hold finalizers without a domain to the few known ones, as built-in kinds do.
    """
    errs: list[FieldError] = []
    if prefix := metadata.get("generateName"):
        errs += [invalid(f"{path}.generateName", prefix, said) for said in check(prefix, True)]
    name = metadata.get("name")
    if not name:
        errs.append(required(f"{path}.name", "name or generateName is required"))
    elif problems := check(name, False):
        errs += [invalid(f"{path}.name", name, said) for said in problems]
    namespace = metadata.get("namespace")
    if namespaced:
        if not namespace:
            errs.append(required(f"{path}.namespace"))
        elif problems := names.dns_label(namespace):
            errs += [invalid(f"{path}.namespace", namespace, said) for said in problems]
    elif namespace:
        errs.append(forbidden(f"{path}.namespace", "not allowed on this type"))
    non_negative(errs, metadata.get("generation"), f"{path}.generation")
    _shared(errs, metadata, path)
    if finalizers := metadata.get("finalizers"):
        _finalizers(errs, finalizers, f"{path}.finalizers", kube_finalizers)
    return errs


def on_update(new: Object, old: Object, path: str = "metadata", *, kube_finalizers: bool = True) -> list[FieldError]:
    """What is wrong with the change from the metadata `old` to `new`."""
    errs: list[FieldError] = []
    if old.get("deletionTimestamp"):
        before = set(old.get("finalizers") or ())
        added = sorted(set(new.get("finalizers") or ()) - before)
        if added:
            listed = ", ".join(f'"{f}"' for f in added)
            errs.append(
                forbidden(
                    f"{path}.finalizers",
                    "no new finalizers can be added if the object is being deleted, found new finalizers "
                    f"[]string{{{listed}}}",
                )
            )
    if not new.get("resourceVersion"):
        errs.append(invalid(f"{path}.resourceVersion", "", "must be specified for an update"))
    if (new.get("generation") or 0) < (old.get("generation") or 0):
        errs.append(invalid(f"{path}.generation", new.get("generation") or 0, "must not be decremented"))
    for field in ("name", "namespace", "uid"):
        if (new.get(field) or "") != (old.get(field) or ""):
            errs.append(immutable(f"{path}.{field}", new.get(field) or ""))
    for field in ("creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"):
        if new.get(field) != old.get(field):
            errs.append(immutable(f"{path}.{field}", new.get(field)))
    _shared(errs, new, path)
    if kube_finalizers:
        for i, finalizer in enumerate(new.get("finalizers") or ()):
            _kube_finalizer(errs, finalizer, f"{path}.finalizers[{i}]")
    return errs


def _shared(errs: list[FieldError], metadata: Object, path: str) -> None:
    if labels_ := metadata.get("labels"):
        labels(errs, labels_, f"{path}.labels")
    if values := metadata.get("annotations"):
        annotation_values(errs, values, f"{path}.annotations")
    if owners := metadata.get("ownerReferences"):
        _owner_references(errs, owners, f"{path}.ownerReferences")
    if managed := metadata.get("managedFields"):
        _managed_fields(errs, managed, f"{path}.managedFields")


def labels(errs: list[FieldError], values: dict[str, str], path: str) -> None:
    for key, value in values.items():
        if problems := names.qualified_name(key):
            errs += [invalid(path, key, said) for said in problems]
        if problems := names.label_value(value):
            errs += [invalid(path, value, said) for said in problems]


def label_name(errs: list[FieldError], key: str, path: str) -> None:
    if problems := names.qualified_name(key):
        errs += [invalid(path, key, said) for said in problems]


def annotation_values(errs: list[FieldError], values: dict[str, str], path: str) -> None:
    size = 0
    for key, value in values.items():
        if problems := names.qualified_name(key.lower()):
            errs += [invalid(path, key, said) for said in problems]
        size += len(key) + (len(value) if value.isascii() else len(value.encode()))
    if size > ANNOTATION_BYTES:
        errs.append(too_long(path, ANNOTATION_BYTES))


def user_annotations(errs: list[FieldError], values: dict[str, str], path: str) -> None:
    """Annotations for a signer: each key with its domain."""
    annotation_values(errs, values, path)
    for key in values:
        if "/" not in key and not names.qualified_name(key.lower()):
            errs.append(invalid(path, key.lower(), 'must be a domain-prefixed key (such as "acme.io/foo")'))


def of_template(errs: list[FieldError], given: Object, path: str) -> None:
    """Metadata for objects still to be made: labels and annotations alone."""
    annotation_values(errs, given.get("annotations") or {}, f"{path}.annotations")
    labels(errs, given.get("labels") or {}, f"{path}.labels")
    others = [field for field in given if given[field] and field not in ("annotations", "labels")]
    errs += [forbidden(f"{path}.{field}", "cannot be set") for field in others]


def _owner_references(errs: list[FieldError], owners: list[Object], path: str) -> None:
    controller = ""
    for owner in owners:
        api_version = owner.get("apiVersion") or ""
        kind = owner.get("kind") or ""
        if not api_version.rpartition("/")[2]:
            errs.append(invalid(f"{path}.apiVersion", api_version, "version must not be empty"))
        if not kind:
            errs.append(invalid(f"{path}.kind", kind, "must not be empty"))
        for field in ("name", "uid"):
            if not owner.get(field):
                errs.append(invalid(f"{path}.{field}", "", "must not be empty"))
        if api_version == "v1" and kind == "Event":
            errs.append(invalid(path, owner, "/v1, Kind=Event is disallowed from being an owner"))
        if owner.get("controller"):
            current = f"{kind}/{owner.get('name') or ''}"
            if controller:
                errs.append(
                    invalid(
                        path,
                        owners,
                        'Only one reference can have Controller set to true. Found "true" in references for '
                        f"{controller} and {current}",
                    )
                )
            else:
                controller = current


def _finalizers(errs: list[FieldError], finalizers: list[str], path: str, kube: bool) -> None:
    for finalizer in finalizers:
        errs += [invalid(path, finalizer, said) for said in names.qualified_name(finalizer)]
    if _ORPHAN in finalizers and _FOREGROUND in finalizers:
        errs.append(invalid(path, finalizers, f"finalizer {_ORPHAN} and {_FOREGROUND} cannot be both set"))
    if kube:
        for i, finalizer in enumerate(finalizers):
            _kube_finalizer(errs, finalizer, f"{path}[{i}]")


def _kube_finalizer(errs: list[FieldError], finalizer: str, path: str) -> None:
    if "/" not in finalizer and finalizer not in _KNOWN_FINALIZERS:
        errs.append(invalid(path, finalizer, "name is neither a standard finalizer name nor is it fully qualified"))


def _managed_fields(errs: list[FieldError], entries: list[Object], path: str) -> None:
    for i, entry in enumerate(entries):
        operation = entry.get("operation") or ""
        if operation not in ("Apply", "Update"):
            errs.append(invalid(f"{path}[{i}].operation", operation, "must be `Apply` or `Update`"))
        if entry.get("fieldsType") not in (None, "", "FieldsV1"):
            errs.append(invalid(f"{path}[{i}].fieldsType", entry["fieldsType"], "must be `FieldsV1`"))
        field_manager(errs, entry.get("manager") or "", f"{path}[{i}].manager")
        if len(entry.get("subresource") or "") > 256:
            errs.append(too_long(f"{path}[{i}].subresource", 256))


def field_manager(errs: list[FieldError], manager: str, path: str) -> None:
    if len(manager) > _MANAGER_BYTES:
        errs.append(too_long(path, _MANAGER_BYTES))
    if not manager.isprintable():
        for i, sign in enumerate(manager):
            if not sign.isprintable():
                errs.append(invalid(path, manager, f"invalid character U+{ord(sign):04X} (at position {i})"))


def same(errs: list[FieldError], new: Any, old: Any, path: str) -> None:
    """An immutable field. Absent and empty are the same."""
    if new != old and (new or old or isinstance(new, bool | int) != isinstance(old, bool | int)):
        errs.append(immutable(path, new))
