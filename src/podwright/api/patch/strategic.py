"""Strategic merge patch (Kubernetes documentation: "Update API Objects in Place Using kubectl patch").

Lists whose field says ``patchStrategy: merge`` merge by their merge key (or as sets, if their elements are scalars);
other lists are replaced. Directives: ``$patch`` (replace, delete, merge), ``$retainKeys``, ``$setElementOrder/FIELD``,
``$deleteFromPrimitiveList/FIELD``. Rules, order of elements and messages follow apimachinery's strategicpatch package.
"""

from __future__ import annotations

import functools
from collections.abc import Hashable
from typing import Any

from podwright.api import status
from podwright.api.go_messages import go_text
from podwright.api.objects import Object, deepcopy
from podwright.api.schema import ANYTHING, MAP, OBJECT, Schema
from podwright.api.status import ApiError

_PATCH = "$patch"
_RETAIN_KEYS = "$retainKeys"
_DELETE_PREFIX = "$deleteFromPrimitiveList"
_ORDER_PREFIX = "$setElementOrder"

_BAD_RETAIN_KEYS = "invalid patch format of retainKeys"
_BAD_ORDER = "invalid patch format of setElementOrder list"
_BAD_PRIMITIVES = "invalid patch format of primitive list"

List = list[Any]


def apply(schema: Schema, doc: Object, patch: Any) -> Object:
    """The document of type `schema` with the patch merged in.

    Raises:
        ApiError: 400 if the patch is malformed; 415 for a custom resource, which has no strategic merge; 422 for
            lists of lists.
    """
    if schema.custom:
        raise status.unsupported_media_type(
            ("application/json-patch+json", "application/merge-patch+json", "application/apply-patch+yaml")
        )
    if not isinstance(patch, dict):
        raise _malformed("invalid JSON document")
    return _merge_map(schema, deepcopy(doc), deepcopy(patch))


def _malformed(message: str) -> ApiError:
    return status.bad_request(message)


def _child(schema: Schema, field: str) -> Schema:
    if schema.kind == OBJECT:
        return schema.properties.get(field) or ANYTHING
    return schema.values if schema.kind == MAP else ANYTHING


def _merge_map(schema: Schema, original: Object, patch: Object) -> Object:
    if _PATCH in patch:
        directive = patch.pop(_PATCH)
        if directive == "replace":
            return patch
        if directive == "delete":
            return {}
        raise _malformed(f"unknown patch type: {directive}")
    _retain_keys(original, patch)
    _apply_order(schema, original, patch)
    for key, value in patch.items():
        field = key
        deletes = key.startswith(_DELETE_PREFIX)
        if deletes:
            field = _field_of(key, _DELETE_PREFIX, _BAD_PRIMITIVES)
        if value is None:
            original.pop(field, None)
            continue
        if field not in original or not _same_type(original[field], value):
            if not deletes:
                kept, keep = _without_directives(_without_nulls(value))
                if keep:
                    original[field] = kept
                else:
                    original.pop(field, None)
            continue
        sub = _child(schema, field)
        if isinstance(value, dict):
            replace = "replace" in sub.patch_strategies
            original[field] = value if replace else _merge_map(sub, original[field], value)
        elif isinstance(value, list):
            if deletes or "merge" in sub.patch_strategies:
                original[field] = _merge_list(sub, original[field], value, deletes=deletes)
            else:
                original[field] = value
        else:
            original[field] = value
    return original


def _field_of(key: str, prefix: str, message: str) -> str:
    found, slash, field = key.partition("/")
    if not slash or found != prefix:
        raise _malformed(message)
    return field


def _same_type(a: Any, b: Any) -> bool:
    return type(a) is type(b)


def _retain_keys(original: Object, patch: Object) -> None:
    if _RETAIN_KEYS not in patch:
        return
    keep = patch.pop(_RETAIN_KEYS)
    if not isinstance(keep, list) or not all(isinstance(k, str) for k in keep):
        raise _malformed(_BAD_RETAIN_KEYS)
    for key, value in patch.items():
        if value is not None and not key.startswith((_DELETE_PREFIX, _ORDER_PREFIX)) and key not in keep:
            raise _malformed(_BAD_RETAIN_KEYS)
    for key in [k for k in original if k not in keep]:
        del original[key]


def _apply_order(schema: Schema, original: Object, patch: Object) -> None:
    for key in [k for k in patch if k.startswith(_ORDER_PREFIX)]:
        order = patch.pop(key)
        field = _field_of(key, _ORDER_PREFIX, _BAD_ORDER)
        before, change = original.get(field), patch.get(field)
        for value in (order, before, change):
            if value is not None and not isinstance(value, list):
                raise _malformed(_BAD_ORDER)
        if order is None:
            raise _malformed(_BAD_ORDER)
        sub = _child(schema, field)
        _check_order(change or [], order, sub.merge_key)
        merged: List
        if before is None and change is None:
            continue
        if before is None:
            merged = _without_directives(change)[0]
        elif change is None:
            merged = before
        elif "merge" in sub.patch_strategies:
            merged = _merge_list(sub, list(before), change, deletes=False)
        else:
            merged = change
        in_patch, server_only = _partition(merged, order, sub.merge_key)
        server_order = _order_after_deletes(before or [], change or [], sub.merge_key)
        original[field] = _in_order(in_patch, server_only, order, server_order, sub.merge_key)
        patch.pop(field, None)


def _order_after_deletes(before: List, change: List, merge_key: str) -> List:
    """The order that counts as the server's: what a patch deletes makes room, and as many new elements take their
    place at the end. (Upstream merges in place, so this is where they end up.)"""
    deleted = {
        _identity(v, merge_key) for v in change if merge_key and isinstance(v, dict) and v.get(_PATCH) == "delete"
    }
    if not deleted:
        return before
    left = [v for v in before if _identity(v, merge_key) not in deleted]
    known = {_identity(v, merge_key) for v in left}
    new = [v for v in change if _PATCH not in v and _identity(v, merge_key) not in known]
    return left + new[: len(before) - len(left)]


def _check_order(change: List, order: List, merge_key: str) -> None:
    """The elements of a patch must come in the order that its $setElementOrder says."""
    if not change or not order:
        return
    ids = [_identity(v, merge_key) for v in order]
    at = 0
    for element in change:
        if isinstance(element, dict) and _PATCH in element:
            continue
        wanted = _identity(element, merge_key)
        while at < len(ids) and ids[at] != wanted:
            at += 1
        if at == len(ids):
            raise _malformed(f"The order in patch list:\n{go_text(change)}\n doesn't match {_ORDER_PREFIX} list:\n"
                             f"{go_text(order)}\n")
        at += 1


def _identity(element: Any, merge_key: str) -> Hashable:
    """What an element is compared by: its merge key's value, or itself if it is a scalar."""
    if not merge_key:
        if isinstance(element, dict | list):
            raise _malformed(f"cannot compare {go_text(element)} without a merge key")
        return (type(element), element)
    if not isinstance(element, dict):
        raise _malformed(f"expected a map[string]interface {{}}, but received {go_text(element)}")
    if merge_key not in element:
        raise _malformed(f"map: {go_text(element)} does not contain declared merge key: {merge_key}")
    value = element[merge_key]
    if isinstance(value, dict | list):
        raise _malformed(f"map: {go_text(element)} has no scalar as merge key: {merge_key}")
    return (type(value), value)


def _merge_list(schema: Schema, original: List, patch: List, *, deletes: bool) -> List:
    if not original and not patch:
        return original
    _check_element_types(original, patch)
    merged: List
    if not isinstance((original or patch)[0], dict):
        if deletes:
            unwanted = {_identity(v, "") for v in patch}
            return [v for v in original if _identity(v, "") not in unwanted]
        key = ""
        merged = list({_identity(v, ""): v for v in reversed([*original, *patch])}.values())
        merged.reverse()
    else:
        key = schema.merge_key
        if not key:
            raise _malformed(f"cannot merge lists without merge key for {schema.name or 'a field'}")
        original, patch = _apply_element_directives(original, patch, key)
        merged = _merge_elements(schema, original, patch, key)
    in_patch, server_only = _partition(merged, patch, key)
    return _in_order(in_patch, server_only, patch, original, key)


def _check_element_types(*lists: List) -> None:
    kinds = {type(v) for values in lists for v in values}
    if list in kinds:
        raise status.failure(422, "Invalid", "the server rejected our request due to an error in our request",
                             {"causes": [{"reason": "UnexpectedServerResponse",
                                          "message": "lists of lists are not supported"}]})
    if len(kinds) > 1:
        raise _malformed(f"list element types are not identical: {go_text([list(v) for v in lists])}")


def _apply_element_directives(original: List, patch: List, key: str) -> tuple[List, List]:
    plain: List = []
    replace = False
    for element in patch:
        if _PATCH not in element:
            plain.append(element)
            continue
        directive = element[_PATCH]
        if directive == "delete":
            unwanted = _identity(element, key)
            original = [v for v in original if key not in v or _identity(v, key) != unwanted]
        elif directive == "replace":
            replace = True
        elif directive == "merge":
            raise _malformed("merging lists cannot yet be specified in the patch")
        else:
            raise _malformed(f"unknown patch type: {directive} in {go_text(element)}")
    return (plain, []) if replace else (original, plain)


def _merge_elements(schema: Schema, original: List, patch: List, key: str) -> List:
    merged = list(original)
    places: dict[Hashable, int] = {}
    for i, element in enumerate(merged):
        if key in element:
            places.setdefault(_identity(element, key), i)
    for element in patch:
        wanted = _identity(element, key)
        if wanted in places:
            merged[places[wanted]] = _merge_map(schema.items, merged[places[wanted]], element)
        else:
            places[wanted] = len(merged)
            merged.append(_without_directives(_without_nulls(element))[0])
    return merged


def _partition(merged: List, by: List, key: str) -> tuple[List, List]:
    wanted = {_identity(v, key) for v in by if not key or (isinstance(v, dict) and key in v)}
    inside: List = []
    outside: List = []
    for element in merged:
        (inside if _identity(element, key) in wanted else outside).append(element)
    return inside, outside


def _in_order(in_patch: List, server_only: List, patch_order: List, server_order: List, key: str) -> List:
    """Elements of the patch in its order, the others in the server's, woven together by the server's order."""
    by_patch, by_server = _places(patch_order, key), _places(server_order, key)
    in_patch = _sorted(in_patch, by_patch, key)
    server_only = _sorted(server_only, by_server, key)
    woven: List = []
    i = 0
    for element in in_patch:
        there = by_server.get(_identity(element, key))
        while i < len(server_only):
            here = by_server.get(_identity(server_only[i], key))
            if here is None or there is None or here >= there:
                break
            woven.append(server_only[i])
            i += 1
        woven.append(element)
    return woven + server_only[i:]


def _places(order: List, key: str) -> dict[Hashable, int]:
    places: dict[Hashable, int] = {}
    for i, element in enumerate(order):
        places.setdefault(_identity(element, key), i)
    return places


def _sorted(elements: List, places: dict[Hashable, int], key: str) -> List:
    def compare(a: Any, b: Any) -> int:
        left, right = places.get(_identity(a, key)), places.get(_identity(b, key))
        return 0 if left is None or right is None else left - right

    return sorted(elements, key=functools.cmp_to_key(compare))


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_nulls(v) for k, v in value.items() if v is not None}
    if isinstance(value, list):
        return [_without_nulls(v) for v in value]
    return value


def _without_directives(value: Any) -> tuple[Any, bool]:
    """The value without $-directives, and whether anything of it is to be kept."""
    if isinstance(value, dict):
        if _PATCH in value:
            return None, False
        kept = {}
        for key, item in value.items():
            if key == _RETAIN_KEYS or key.startswith((_DELETE_PREFIX + "/", _ORDER_PREFIX + "/")):
                continue
            inner, keep = _without_directives(item)
            if keep:
                kept[key] = inner
        return kept, True
    if isinstance(value, list):
        return [inner for inner, keep in map(_without_directives, value) if keep], True
    return value, True
