"""Random objects of the right types, of every kind and by every verb: never a 500."""

from __future__ import annotations

import os
import random
from typing import Any

from podwright.api import schema as schemas
from podwright.api.resources import Resource, served
from podwright.api.schema import ANY, ARRAY, INT_OR_STRING, MAP, OBJECT, QUANTITY, Schema

from .conftest import Api

ROUNDS = int(os.environ.get("PODWRIGHT_FUZZ_ROUNDS", "6"))
WORDS = ["", "a", "*", "x/y", "A_b", "a" * 300, "10.0.0.1", "::", "-1", "true", "\u0000", "é", "1h", "http", "None"]


def value_of(schema: Schema, rng: random.Random, depth: int) -> Any:
    if rng.random() < 0.03:
        return None
    if schema.kind == OBJECT:
        names = list(schema.properties)
        if depth <= 0 or not names:
            return {}
        chosen = [n for n in names if n in schema.required or rng.random() < (0.6 if depth > 3 else 0.35)]
        return {n: value_of(schema.properties[n], rng, depth - 1) for n in chosen}
    if schema.kind == MAP:
        return {rng.choice(WORDS): value_of(schema.values, rng, depth - 1) for _ in range(rng.randrange(3))}
    if schema.kind == ARRAY:
        return [value_of(schema.items, rng, depth - 1) for _ in range(rng.randrange(3))] if depth > 0 else []
    if schema.kind == INT_OR_STRING:
        return rng.choice([0, -1, 80, "50%", "x", 2**31 - 1])
    if schema.kind == QUANTITY:
        return rng.choice(["1", "100m", "-1", "1Gi", "x", "1e99", 3])
    if schema.kind == ANY:
        return rng.choice([{}, {"a": [1, None]}, {"type": "object"}])
    if schema.type == "boolean":
        return rng.random() < 0.5
    if schema.type in ("integer", "number"):
        return rng.choice([0, 1, -1, 80, 65536, 2**31 - 1, 2**62])
    if schema.format.endswith("date-time"):
        return rng.choice(["2026-01-01T00:00:00Z", "nonsense"])
    return rng.choice(WORDS)


def body_of(row: Resource, rng: random.Random) -> dict[str, Any]:
    schema = schemas.for_resource(row)
    body = {n: value_of(s, rng, 6) for n, s in schema.properties.items() if n not in ("apiVersion", "kind", "metadata")}
    metadata = value_of(schema.properties["metadata"], rng, 2) if rng.random() < 0.2 else {}
    body = {k: v for k, v in body.items() if rng.random() < 0.95}
    return {**body, "metadata": {**(metadata or {}), "name": rng.choice(["a", "a", "b", "x.y", "A", ""])}}


async def test_every_kind_by_every_verb(api: Api) -> None:
    seed = int(os.environ.get("PODWRIGHT_FUZZ_SEED", "1"))
    rng = random.Random(seed)
    failures: list[str] = []
    for row in served():
        if row.plural == "componentstatuses" or row.plural.endswith("webhookconfigurations"):
            continue  # a webhook that cannot be called fails other writes with 500, as upstream
        path = row.path("default")
        for _ in range(ROUNDS):
            body = body_of(row, rng)
            calls = [("POST", path, body, "json")]
            if "update" in row.verbs:
                subs = [s.name for s in row.subresources if "update" in s.verbs and not s.kind]
                target = rng.choice(["", *(f"/{s}" for s in subs)])
                calls += [
                    ("PUT", f"{path}/a{target}", {**body, "metadata": {"name": "a"}}, "json"),
                    ("PATCH", f"{path}/a{target}", body, "merge-patch+json"),
                    ("PATCH", f"{path}/a{target}", body, "strategic-merge-patch+json"),
                    ("PATCH", f"{path}/a{target}?fieldManager=m&force=true",
                     {**body, "apiVersion": row.api_version, "kind": row.kind, "metadata": {"name": "a"}},
                     "apply-patch+yaml"),
                ]
            for method, url, sent, kind in calls:
                answer = await api.request(method, url, sent, content_type=f"application/{kind}")
                if answer.status >= 500:
                    failures.append(f"{method} {url}: {answer.text[:200]} {str(sent)[:300]}")
        for accept in ("application/json;as=Table;v=v1;g=meta.k8s.io", "application/vnd.kubernetes.protobuf"):
            async with api.session.get(
                api.url + row.path("default"), headers={"Authorization": f"Bearer {api.token}", "Accept": accept}
            ) as shown:
                await shown.read()
                if shown.status >= 500:
                    failures.append(f"GET {row.path()} as {accept}: {shown.status}")
    assert not failures, f"seed {seed}\n" + "\n".join(failures[:20])
