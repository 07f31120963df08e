"""Reads names, numbers and types of fields off Kubernetes' public sources, into the codec's data file.

Usage: protobuf_fields.py OUTPUT GIT_DIRECTORY...

The git directories are copies of kubernetes/api, kubernetes/apimachinery, kubernetes/apiextensions-apiserver and
kubernetes/kube-aggregator. Numbers and types come from generated.proto, JSON names and whether a zero value is left
out from the struct tags of the Go types beside it. Only such facts are kept, no text.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import PurePosixPath

from podwright.api.resources import TABLE

_MESSAGE = re.compile(r"^message (\w+) \{(.*?)^\}", re.M | re.S)
_FIELD = re.compile(r"^\s*(optional|repeated|map<(\w+), *([\w.]+)>)\s*([\w.]*)\s*(\w+) = (\d+);", re.M)
_STRUCT = re.compile(r"^type (\w+) struct \{(.*?)^\}", re.M | re.S)
_TAGGED = re.compile(r"^\s*(?:(\w+)\s+)?([\w.*\[\]]+)\s+`([^`]*)`", re.M)
_LIST_TYPE = re.compile(r"^type (\w+) \[\]", re.M)
_SCALARS = {
    "string": "s", "bool": "b", "int32": "i", "int64": "i", "uint32": "i", "uint64": "i", "bytes": "y",
    "double": "d", "float": "f",
}  # fmt: skip


def git(directory: str, *arguments: str) -> str:
    return subprocess.run(["git", "-C", directory, *arguments], check=True, capture_output=True, text=True).stdout


def struct_tags(source: str) -> dict[str, dict[int, tuple[str, str]]]:
    """struct → field number → (JSON name or "" for inline, flags)."""
    found: dict[str, dict[int, tuple[str, str]]] = {}
    for name, body in _STRUCT.findall(source):
        fields: dict[int, tuple[str, str]] = {}
        for _, go_type, tags in _TAGGED.findall(body):
            protobuf = re.search(r'protobuf:"\w+,(\d+)', tags)
            as_json = re.search(r'json:"([^"]*)"', tags)
            if protobuf is None or as_json is None:
                continue
            json_name, *options = as_json.group(1).split(",")
            flags = "p" if go_type.startswith("*") else ""
            if "omitempty" not in options and "omitzero" not in options:
                flags += "k"
            if "omitzero" in options:
                flags += "z"
            fields[int(protobuf.group(1))] = ("" if "inline" in options else json_name, flags)
        found[name] = fields
    return found


def messages(directory: str, path: str) -> dict[str, list[list[object]]]:
    proto = git(directory, "show", f"HEAD:{path}")
    package = re.search(r"^package ([\w.]+);", proto, re.M)
    assert package is not None
    folder = str(PurePosixPath(path).parent)
    sources = [
        p for p in git(directory, "ls-tree", "--name-only", "HEAD", folder + "/").split()
        if p.endswith(".go") and not re.search(r"generated|_test|swagger", p)
    ]  # fmt: skip
    go = "\n".join(git(directory, "show", f"HEAD:{p}") for p in sources)
    tags, lists = struct_tags(go), set(_LIST_TYPE.findall(go))
    proto = re.sub(r"//[^\n]*", "", proto)
    result: dict[str, list[list[object]]] = {}
    for name, body in _MESSAGE.findall(proto):
        if name in lists:
            # A Go slice type: its message has one repeated field, its JSON is the list itself.
            field = _FIELD.search(body)
            assert field is not None
            result[f"{package.group(1)}.{name}"] = [[int(field.group(6)), "", kind(field, package.group(1)), "rL"]]
            continue
        rows: list[list[object]] = []
        for field in _FIELD.finditer(body):
            number = int(field.group(6))
            json_name, flags = tags.get(name, {}).get(number, (field.group(5), ""))
            if not json_name:
                flags += "n"
            if field.group(1) == "repeated":
                flags += "r"
            rows.append([number, json_name, kind(field, package.group(1)), flags])
        result[f"{package.group(1)}.{name}"] = rows
    return result


def kind(field: re.Match[str], package: str) -> str:
    """A letter for a scalar, "m" and a name for a message, "M" and a kind for a map from strings."""
    if field.group(2):
        return "M" + one_kind(field.group(3), package)
    return one_kind(field.group(4), package)


def one_kind(name: str, package: str) -> str:
    if name in _SCALARS:
        return _SCALARS[name]
    full = name.lstrip(".")
    return "m" + (full if "." in full else f"{package}.{full}")


def needed(table: dict[str, list[list[object]]]) -> dict[str, list[list[object]]]:
    """The messages of served kinds and their lists, of the machinery's own kinds, and of what lies in them."""
    kinds = [(row.api_version, row.kind) for row in TABLE]
    wanted = [f"{name.rpartition('.')[0]}.{kind}" for name in table for _, kind in kinds if name.endswith("." + kind)]
    packages = {name.rpartition(".")[0] for name in wanted if _version_is_served(name)}
    pending = [name for name in table if name.rpartition(".")[0] in packages or ".apis.meta.v1." in name]
    kept: dict[str, list[list[object]]] = {}
    while pending:
        name = pending.pop()
        if name in kept or name not in table:
            continue
        kept[name] = table[name]
        pending += [str(kind).lstrip("M")[1:] for _, _, kind, _ in table[name] if "m" in str(kind)[:2]]
    return kept


def _version_is_served(name: str) -> bool:
    package = name.rpartition(".")[0]
    group, version = package.split(".")[-2:]
    return any((row.group.split(".")[0] or "core", row.version) == (group, version) for row in TABLE)


def main() -> None:
    output, *directories = sys.argv[1:]
    table: dict[str, list[list[object]]] = {}
    for directory in directories:
        for path in git(directory, "ls-tree", "-r", "--name-only", "HEAD").split():
            if path.endswith("generated.proto"):
                table.update(messages(directory, path))
    table = needed(table)
    with open(output, "w") as file:
        json.dump({name: table[name] for name in sorted(table)}, file, separators=(",", ":"))
    print(f"{len(table)} messages, {sum(map(len, table.values()))} fields")


if __name__ == "__main__":
    main()
