"""ConfigMaps and Secrets."""

from __future__ import annotations

import base64
import binascii

from podwright.api.objects import Object
from podwright.api.serialization import DecodeError, from_json
from podwright.api.status import FieldError
from podwright.api.validation import names
from podwright.api.validation.field_errors import forbidden, formed, immutable, invalid, required, too_long
from podwright.api.validation.rules import Rules

MAX_BYTES = 1024 * 1024
_REDACTED = "<secret contents redacted>"
_FROZEN = "field is immutable when `immutable` is set"
_ACCOUNT = "kubernetes.io/service-account.name"
_JSON_KEYS = {"kubernetes.io/dockercfg": ".dockercfg", "kubernetes.io/dockerconfigjson": ".dockerconfigjson"}


def _decoded_length(text: str) -> int:
    return len(text) * 3 // 4 - text.count("=", -2) if text else 0


def _keys(errs: list[FieldError], values: dict[str, str], field: str) -> None:
    for key in values:
        formed(errs, key, f"{field}[{key}]", names.config_map_key)


def config_map(errs: list[FieldError], obj: Object) -> None:
    data, binary = obj.get("data") or {}, obj.get("binaryData") or {}
    size = 0
    for key, value in data.items():
        formed(errs, key, f"data[{key}]", names.config_map_key)
        if key in binary:
            errs.append(invalid(f"data[{key}]", key, "duplicate of key present in binaryData"))
        size += len(value) if value.isascii() else len(value.encode())
    _keys(errs, binary, "binaryData")
    size += sum(map(_decoded_length, binary.values()))
    if size > MAX_BYTES:
        errs.append(too_long("[]", MAX_BYTES))


def _frozen(errs: list[FieldError], new: Object, old: Object, *fields: str) -> None:
    if not old.get("immutable"):
        return
    if not new.get("immutable"):
        errs.append(forbidden("immutable", _FROZEN))
    for field in fields:
        if (new.get(field) or {}) != (old.get(field) or {}):
            errs.append(forbidden(field, _FROZEN))


def config_map_update(errs: list[FieldError], new: Object, old: Object) -> None:
    _frozen(errs, new, old, "data", "binaryData")
    config_map(errs, new)


def secret(errs: list[FieldError], obj: Object) -> None:
    data = obj.get("data") or {}
    _keys(errs, data, "data")
    if sum(map(_decoded_length, data.values())) > MAX_BYTES:
        errs.append(too_long("data", MAX_BYTES))
    kind = obj.get("type") or ""
    if kind == "kubernetes.io/service-account-token":
        if not ((obj.get("metadata") or {}).get("annotations") or {}).get(_ACCOUNT):
            errs.append(required(f"metadata.annotations[{_ACCOUNT}]"))
    elif kind in _JSON_KEYS:
        _json(errs, data, _JSON_KEYS[kind])
    elif kind == "kubernetes.io/basic-auth":
        if "username" not in data and "password" not in data:
            errs += [required("data[username]"), required("data[password]")]
    elif kind == "kubernetes.io/ssh-auth":
        if not data.get("ssh-privatekey"):
            errs.append(required("data[ssh-privatekey]"))
    elif kind == "kubernetes.io/tls":
        errs += [required(f"data[{key}]") for key in ("tls.crt", "tls.key") if key not in data]


def _json(errs: list[FieldError], data: dict[str, str], key: str) -> None:
    field = f"data[{key}]"
    if key not in data:
        errs.append(required(field))
        return
    try:
        value = from_json(base64.b64decode(data[key]))
    except (DecodeError, binascii.Error) as error:
        errs.append(invalid(field, _REDACTED, str(error)))
        return
    if not isinstance(value, dict):
        said = f"json: cannot unmarshal {_go_kind(value)} into Go value of type map[string]interface {{}}"
        errs.append(invalid(field, _REDACTED, said))


def _go_kind(value: object) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int | float):
        return "number"
    return "array" if isinstance(value, list) else "string"


def secret_update(errs: list[FieldError], new: Object, old: Object) -> None:
    if (new.get("type") or "") != (old.get("type") or ""):
        errs.append(immutable("type", new.get("type") or ""))
    _frozen(errs, new, old, "data")
    secret(errs, new)


def _merge_string_data(obj: Object) -> None:
    """stringData is for writing only: its values join data."""
    text = obj.pop("stringData", None)
    if text:
        data = obj["data"] = dict(obj.get("data") or {})
        for key, value in text.items():
            data[key] = base64.b64encode(value.encode()).decode()


def _prepare_secret_update(new: Object, old: Object, _subresource: str) -> None:
    _merge_string_data(new)
    if not new.get("type") and old.get("type"):
        new["type"] = old["type"]


CONFIG_MAP = Rules(create=config_map, update=config_map_update)
SECRET = Rules(
    create=secret,
    update=secret_update,
    prepare_create=_merge_string_data,
    prepare_update=_prepare_secret_update,
)
