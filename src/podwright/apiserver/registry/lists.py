"""GET of a collection: consistent pages, selectors, resourceVersion semantics (KEP-365, KEP-2523, KEP-2340)."""

from __future__ import annotations

import base64
import posixpath
from collections.abc import Callable
from dataclasses import dataclass

import orjson

from podwright.api import status
from podwright.api.objects import Object
from podwright.api.resources import PODS, Resource
from podwright.api.selectors import fields, labels
from podwright.api.status import ApiError, FieldError
from podwright.api.validation import field_errors
from podwright.apiserver.cache.entries import Cached
from podwright.apiserver.cache.subscriptions import Filter
from podwright.apiserver.exchange import Many, Request
from podwright.apiserver.registry.registry import Registry, store_failure, too_large_version
from podwright.apiserver.routing import parsed_integer
from podwright.store.protocol import Compacted, StoreUnavailable

EXACT = "Exact"
NOT_OLDER_THAN = "NotOlderThan"

_FRESH_SECONDS = 3.0
_PAGE = 500
_TOO_OLD_CONTINUE = (
    "The provided continue parameter is too old to display a consistent list result. You can start a new list without "
    "the continue parameter, or use the continue token in this response to retrieve the remainder of the results. "
    "Continuing with the provided token results in an inconsistent list - objects that were created, modified, or "
    "deleted between the time the first chunk was returned and now may show up in the list."
)


def filter_of(registry: Registry, row: Resource, request: Request) -> Filter:
    """Raises ApiError (400) for selectors that cannot be parsed or that the kind does not support."""
    query, info = request.query, request.info
    namespace = info.namespace if row.namespaced else ""
    label_text, field_text = query.get("labelSelector"), query.get("fieldSelector")
    label_selector = labels.parse(label_text) if label_text else None
    if label_selector is not None and label_selector.empty:
        label_selector = None
    if not field_text and not info.name:
        return Filter(namespace, label_selector)
    _, stored = registry.storage(row)
    selectable = registry.selectable.get((row.group, row.version, row.plural))
    selector = fields.parse_for(row, field_text, selectable) if field_text else fields.EVERYTHING
    predicate = None
    if not selector.empty:
        tests = fields.predicate(row, selector, selectable)
        if stored is row:
            predicate = tests
        else:

            def predicate(obj: dict[str, object]) -> bool:
                return tests(registry.convert(stored, row, obj))

    name = info.name or selector.exact("metadata.name") or ""
    if not namespace:
        namespace = selector.exact("metadata.namespace") or "" if row.namespaced else ""
    key = ""
    if name and (namespace or not row.namespaced):
        key = f"{namespace}/{name}" if row.namespaced else name
    node = selector.exact("spec.nodeName") or "" if (row.group, row.plural) == ("", PODS.plural) else ""
    if row.custom and predicate is not None:
        return Filter(namespace, label_selector, predicate, key, node, _seen_as(registry, row))
    return Filter(namespace, label_selector, predicate, key, node)


def _seen_as(registry: Registry, row: Resource) -> Callable[[Cached], Object]:
    """A custom resource in the version that was asked for, which lists and watches have it prepared for."""
    return registry.form(row).of


@dataclass(slots=True)
class _Token:
    """Where a list goes on: `start` is the next key below the resource's prefix."""

    revision: int
    start: str

    def encode(self) -> str:
        body = orjson.dumps({"v": "meta.k8s.io/v1", "rv": self.revision, "start": self.start})
        return base64.urlsafe_b64encode(body).decode().rstrip("=")

    @classmethod
    def decode(cls, text: str) -> _Token:
        why = "continue key is not valid"
        try:
            raw = base64.b64decode(text.encode() + b"=" * (-len(text) % 4), b"-_", validate=True)
            value = orjson.loads(raw)
            token = cls(value.get("rv", 0), value.get("start", ""))
            if type(token.revision) is not int or type(token.start) is not str:
                raise ValueError("json: cannot unmarshal into Go value of type storage.continueToken")
        except (ValueError, AttributeError) as error:
            raise status.bad_request(f"invalid continue token: {why}: {error}") from None
        if value.get("v") != "meta.k8s.io/v1":
            version = str(value.get("v") or "")
            why = f"{why}: server does not recognize this encoded version {version}"
        elif token.revision == 0:
            why = f"{why}: incorrect encoded start resourceVersion (version meta.k8s.io/v1)"
        elif not token.start:
            why = f"{why}: encoded start key empty (version meta.k8s.io/v1)"
        elif posixpath.normpath(f"/{token.start}") != f"/{token.start.removeprefix('/')}":
            why = f"{why}: {token.start}"
        else:
            return token
        raise status.bad_request(f"invalid continue token: {why}")


def parse_version(text: str) -> int:
    """0 for "" and "0". Raises ApiError (400)."""
    error = version_error(text)
    if error is not None:
        raise status.bad_request(f"invalid resource version: {error.field}: {error.message}")
    return int(text or 0)


def version_error(text: str) -> FieldError | None:
    try:
        parsed_integer(text or "0", signed=False)
    except ValueError as error:
        return field_errors.invalid("resourceVersion", text[:64], str(error))
    return None


async def wait_for(registry: Registry, revision: int) -> None:
    """Raises ApiError (504) if the caches do not get there soon."""
    if revision <= registry.feed.revision:
        return
    try:
        await registry.feed.reached(revision, _FRESH_SECONDS)
    except TimeoutError:
        raise too_large_version(revision, registry.feed.revision) from None


def _check_match(match: str, version: str, continue_: str) -> None:
    errors: list[FieldError] = []
    path = "resourceVersionMatch"
    if match:
        if not version:
            errors.append(field_errors.forbidden(path, f"{path} is forbidden unless resourceVersion is provided"))
        if continue_:
            errors.append(field_errors.forbidden(path, f"{path} is forbidden when continue is provided"))
        if match not in (EXACT, NOT_OLDER_THAN):
            errors.append(field_errors.not_supported(path, match[:64], (EXACT, NOT_OLDER_THAN, "")))
        elif match == EXACT and version == "0":
            errors.append(field_errors.forbidden(path, f'{path} "exact" is forbidden for resourceVersion "0"'))
    if errors:
        raise status.invalid("meta.k8s.io", "ListOptions", "", errors)


async def list_objects(registry: Registry, request: Request, row: Resource) -> Many:
    """Raises ApiError: 400 bad parameters, 410 an old revision or token, 504 a revision yet to come."""
    query = request.query
    flt = filter_of(registry, row, request)
    namespace = flt.namespace
    if not query:
        await registry.fresh()
        return Many(row, flt.select(registry.cache(row)), registry.feed.revision, namespace=namespace)
    version, match = query.get("resourceVersion"), query.get("resourceVersionMatch")
    limit, token_text = max(query.integer("limit") or 0, 0), query.get("continue")
    query.integer("timeoutSeconds")
    _check_match(match, version, token_text)
    if query.flag("sendInitialEvents") or query.has("sendInitialEvents"):
        raise status.invalid(
            "meta.k8s.io", "ListOptions", "",
            [field_errors.forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list")],
        )
    cache = registry.cache(row)
    if row.custom and flt.fields is not None:
        await registry.form(row).prepare(cache.ordered(namespace))
    if token_text:
        token = _Token.decode(token_text)
        if version and version != "0":
            raise status.bad_request("specifying resource version is not allowed when using continue")
        return await _from_store(registry, row, flt, limit, token)
    revision = parse_version(version)
    if revision and (match == EXACT or (not match and limit)):
        if revision > registry.feed.revision:
            await wait_for(registry, revision)
        return await _from_store(registry, row, flt, limit, _Token(revision, ""))
    if revision:
        await wait_for(registry, revision)
    elif version == "0":
        limit = 0  # as upstream: what may be of any age is not worth pages
    else:
        await registry.fresh()
    entries = flt.select(cache)
    return _page(row, flt, entries, limit, registry.feed.revision)


def _page(row: Resource, flt: Filter, entries: list[Cached], limit: int, revision: int) -> Many:
    if not limit or len(entries) <= limit:
        return Many(row, entries, revision, namespace=flt.namespace)
    rest = len(entries) - limit if flt.everything else 0
    token = _Token(revision, entries[limit - 1].key + "\0")
    return Many(row, entries[:limit], revision, token.encode(), rest, flt.namespace)


async def _from_store(registry: Registry, row: Resource, flt: Filter, limit: int, token: _Token) -> Many:
    """A page of the past. Answered from the cache while nothing of the resource has changed since."""
    cache = registry.cache(row)
    if token.revision < 0:
        await registry.fresh()
        entries = [e for e in flt.select(cache) if e.key >= token.start]
        return _page(row, flt, entries, limit, registry.feed.revision)
    if token.revision < registry.compacted:
        raise _expired(registry, token)
    if cache.changed <= token.revision <= registry.feed.revision:
        entries = [e for e in flt.select(cache) if e.key >= token.start]
        return _page(row, flt, entries, limit, token.revision)
    prefix = cache.prefix + (f"{flt.namespace}/" if flt.namespace and row.namespaced else "")
    start = max(cache.prefix + token.start, prefix) if token.start else ""
    found: list[Cached] = []
    while True:
        try:
            page = await registry.store.list(prefix, start=start, limit=limit or _PAGE, revision=token.revision)
        except Compacted:
            raise _expired(registry, token) from None
        except StoreUnavailable as exc:
            raise store_failure(exc) from exc
        here = [Cached.of(entry.key[len(cache.prefix) :], entry.value, entry.revision) for entry in page.entries]
        if row.custom and flt.fields is not None:
            await registry.form(row).prepare(here)
        found += [cached for cached in here if flt.matches(cached)]
        more = page.more and bool(page.entries)
        if limit and (len(found) > limit or (len(found) == limit and more)):
            rest = page.remaining if flt.everything else 0
            following = _Token(token.revision, found[limit - 1].key + "\0").encode()
            return Many(row, found[:limit], token.revision, following, rest, flt.namespace)
        if not more:
            return Many(row, found, token.revision, namespace=flt.namespace)
        start = page.entries[-1].key + "\0"


def _expired(registry: Registry, token: _Token) -> ApiError:
    if not token.start:
        return status.expired("The resourceVersion for the provided list is too old.")
    error = status.expired(_TOO_OLD_CONTINUE)
    error.status["metadata"] = {
        "resourceVersion": str(registry.feed.revision), "continue": _Token(-1, token.start).encode()
    }
    return error
