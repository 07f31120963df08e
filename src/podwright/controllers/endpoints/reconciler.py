"""Packs endpoints into slices with as few writes as possible: slices that need no change stay as they are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import orjson

from podwright.api import objects
from podwright.api.objects import Object, deepcopy


@dataclass(slots=True)
class Plan:
    """Slices to create, to update and to delete."""

    create: list[Object] = field(default_factory=list)
    update: list[Object] = field(default_factory=list)
    delete: list[Object] = field(default_factory=list)


def port_key(address_type: str, ports: Iterable[Object]) -> str:
    """Endpoints share a slice if their address type and ports are the same."""
    ordered = sorted(orjson.dumps(p, option=orjson.OPT_SORT_KEYS).decode() for p in ports)
    return address_type + "".join(ordered)


def identity(endpoint: Object) -> tuple[str, str]:
    ref = endpoint.get("targetRef") or {}
    return ref.get("uid", ""), (endpoint.get("addresses") or [""])[0]


def plan(
    existing: Sequence[Object], desired: dict[str, tuple[Object, list[Object]]], *, labels: dict[str, str],
    annotations: dict[str, str], maximum: int,
) -> Plan:
    """`desired` holds by :func:`port_key` a slice without endpoints (what to create) and the endpoints wanted."""
    made = Plan()
    by_key: dict[str, list[Object]] = {}
    for piece in existing:
        by_key.setdefault(port_key(piece.get("addressType", ""), piece.get("ports") or ()), []).append(piece)
    for key, (empty, endpoints) in desired.items():
        _pack(made, by_key.pop(key, []), empty, endpoints, labels, maximum)
    for leftover in by_key.values():
        made.delete.extend(leftover)
    # A slice to be made can take the place of one to be deleted, if only its ports differ.
    while made.create and made.delete:
        fit = next((d for d in made.delete if d.get("addressType") == made.create[-1]["addressType"]), None)
        if fit is None:
            break
        made.delete.remove(fit)
        fresh = made.create.pop()
        changed = deepcopy(fit)
        changed["endpoints"], changed["ports"] = fresh["endpoints"], fresh.get("ports")
        changed["metadata"]["labels"] = labels
        made.update.append(changed)
    for piece in (*made.create, *made.update):
        stamps = {**(piece["metadata"].get("annotations") or {}), **annotations}
        if stamps:
            piece["metadata"]["annotations"] = stamps
    return made


def _pack(
    made: Plan, existing: list[Object], empty: Object, endpoints: list[Object], labels: dict[str, str], maximum: int
) -> None:
    wanted = {identity(e): e for e in endpoints}
    kept: list[tuple[Object, list[Object], bool]] = []
    for piece in existing:
        entries, changed = [], (objects.labels(piece) != labels)
        for entry in piece.get("endpoints") or ():
            new = wanted.pop(identity(entry), None)
            if new is None:
                changed = True
                continue
            changed = changed or new != entry
            entries.append(new)
        kept.append((piece, entries, changed))
    # Those left to place go first to slices that are written anyway, then to a fuller one that has room.
    rest = list(wanted.values())
    for index, (piece, entries, changed) in enumerate(kept):
        if changed and entries and rest:
            room = max(0, maximum - len(entries))
            kept[index] = (piece, entries + rest[:room], True)
            rest = rest[room:]
    if 0 < len(rest) < maximum:
        fitting = [i for i, (_, entries, changed) in enumerate(kept)
                   if not changed and entries and len(entries) + len(rest) <= maximum]  # fmt: skip
        if fitting:
            index = max(fitting, key=lambda i: len(kept[i][1]))
            piece, entries, _ = kept[index]
            kept[index] = (piece, entries + rest, True)
            rest = []
    emptied = [i for i, (_, entries, _) in enumerate(kept) if not entries]
    for index in emptied:
        if rest:
            piece = kept[index][0]
            kept[index] = (piece, rest[:maximum], True)
            rest = rest[maximum:]
    placeholder = not endpoints
    for piece, entries, changed in kept:
        if not entries and not placeholder:
            made.delete.append(piece)
            continue
        placeholder = False if not entries else placeholder
        if changed:
            new_piece = deepcopy(piece)
            new_piece["endpoints"] = entries
            new_piece["metadata"]["labels"] = dict(labels)
            made.update.append(new_piece)
    while rest:
        fresh = deepcopy(empty)
        fresh["endpoints"] = rest[:maximum]
        rest = rest[maximum:]
        made.create.append(fresh)
    if placeholder and not kept:
        fresh = deepcopy(empty)
        fresh["endpoints"] = []
        made.create.append(fresh)
