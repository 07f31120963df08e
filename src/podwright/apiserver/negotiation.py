"""Which form an answer takes: media type, Table or PartialObjectMetadata, pretty or not."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from podwright.api import status
from podwright.api.resources import Resource
from podwright.apiserver import codecs

JSON = "application/json"
YAML = "application/yaml"
PROTOBUF = "application/vnd.kubernetes.protobuf"

TABLE = "Table"
PARTIAL = "PartialObjectMetadata"
PARTIAL_LIST = "PartialObjectMetadataList"
_SHAPES = (TABLE, PARTIAL, PARTIAL_LIST)


@dataclass(frozen=True, slots=True)
class Form:
    """What the client wants. `shape` is "" for the object itself."""

    media: str = JSON
    shape: str = ""
    shape_version: str = "v1"
    pretty: bool = False

    @property
    def plain(self) -> bool:
        return self.media == JSON and not self.shape and not self.pretty


PLAIN = Form()


def accepted_types() -> list[str]:
    return [JSON, YAML, *codecs.media_types()]


def _is_pretty(user_agent: str, asked: str) -> bool:
    if asked:
        return asked.lower() not in ("false", "0")
    return user_agent.startswith(("curl", "Wget", "Mozilla/5.0"))


def negotiate(accept: str, user_agent: str = "", pretty: str = "", row: Resource | None = None) -> Form:
    """Raises ApiError (406)."""
    form = _choose(accept, row is not None and not row.protobuf)
    if form is None:
        raise status.not_acceptable(accepted_types())
    if form.shape == TABLE and form.media == PROTOBUF:
        raise status.failure(
            406, "NotAcceptable",
            "object *v1.Table does not implement the protobuf marshalling interface and cannot be encoded to a "
            "protobuf message",
        )
    if form.media == JSON and _is_pretty(user_agent, pretty):
        return Form(form.media, form.shape, form.shape_version, True)
    return form


@lru_cache(maxsize=512)
def _choose(accept: str, custom: bool) -> Form | None:
    if not accept or accept in ("*/*", "application/json"):
        return PLAIN
    clauses: list[tuple[float, int, str, dict[str, str]]] = []
    for position, clause in enumerate(accept.split(",")):
        media, *params = (part.strip() for part in clause.split(";"))
        values = {}
        for param in params:
            name, _, value = param.partition("=")
            values[name.strip().lower()] = value.strip().strip('"')
        try:
            quality = float(values.pop("q", "1"))
        except ValueError:
            quality = 1.0
        clauses.append((-quality, position, media.lower(), values))
    for _, _, media, params_ in sorted(clauses, key=lambda c: c[:2]):
        form = _form(media, params_, custom)
        if form is not None:
            return form
    return None


def _form(media: str, params: dict[str, str], custom: bool) -> Form | None:
    if media in ("*/*", "application/*", ""):
        media = JSON
    if media not in (JSON, YAML):
        codec = codecs.find(media)
        if codec is None or (custom and media == PROTOBUF and not params.get("as")):
            return None
    shape = params.get("as", "")
    if not shape:
        return PLAIN if media == JSON else Form(media)
    if shape not in _SHAPES or params.get("g", "meta.k8s.io") != "meta.k8s.io":
        return None
    version = params.get("v", "v1")
    if version not in ("v1", "v1beta1"):
        return None
    return Form(media, shape, version)
