"""What schemathesis makes of our own OpenAPI, sent to a live server: good and bad cases of every operation.

`PODWRIGHT_FUZZ_SECONDS` makes the run longer, `PODWRIGHT_FUZZ_SEED` another one; as many operations as fit are tried.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import time
import warnings
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis import GenerationMode, openapi
from schemathesis.core import NotSet

from .conftest import Api

SECONDS = float(os.environ.get("PODWRIGHT_FUZZ_SECONDS", "3"))
SEED = int(os.environ.get("PODWRIGHT_FUZZ_SEED", "1"))
JSON = "application/json"
_CASES = 4
_STREAMS = ("/exec", "/attach", "/portforward", "/proxy", "/log", "{path}")
"""They need a kubelet; tests/unit/apiserver/streaming has them."""


async def documents(api: Api) -> list[dict[str, Any]]:
    index = (await api.get("/openapi/v3")).json["paths"]
    paths = [item["serverRelativeURL"] for path, item in index.items() if path.startswith(("api/", "apis/"))]
    return [(await api.get(path)).json for path in paths if "metrics.k8s.io" not in path]


def operations(docs: list[dict[str, Any]], rng: random.Random) -> Iterator[Any]:
    """Every operation once, of every group in turn."""
    found = []
    for doc in docs:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            schema = openapi.from_dict(doc)
            found += [item.ok() for item in schema.get_all_operations()]
    rng.shuffle(found)
    for operation in found:
        if not any(end in operation.path for end in _STREAMS) and "webhookconfigurations" not in operation.path:
            yield operation


def cases(operation: Any, number: int) -> list[Any]:
    made: list[Any] = []

    for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):

        @seed(number)
        @settings(
            max_examples=_CASES, database=None, deadline=None, phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(generation_mode=mode))
        def collect(case: Any) -> None:
            made.append(case)

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            collect()
    return made


def target(case: Any, rng: random.Random) -> str:
    """Names are most often of objects that are there: a bad name keeps the rest of the request from being read."""
    path: str = case.operation.path
    for name, value in case.path_parameters.items():
        value = "default" if name == "namespace" else rng.choice(["a", "a", "kube-system", str(value)])
        path = path.replace("{" + name + "}", _quoted(value))
    query = {name: value for name, value in case.query.items() if name not in ("watch", "timeoutSeconds")}
    pairs = "&".join(f"{_quoted(str(name))}={_quoted(str(value))}" for name, value in query.items())
    return f"{path}?{pairs}" if pairs else path


def _quoted(value: str) -> str:
    return quote(value.encode("utf-8", "replace"), safe="")


def body(case: Any) -> bytes | None:
    if isinstance(case.body, NotSet):
        return None
    if isinstance(case.body, bytes):
        return case.body
    if isinstance(case.body, str):
        return case.body.encode("utf-8", "replace")
    return json.dumps(case.body).encode()


async def test_no_case_of_our_own_openapi_is_the_servers_fault(api: Api) -> None:
    rng = random.Random(SEED)
    docs = await documents(api)
    failures: list[str] = []
    tried = 0
    began = time.monotonic()
    for number, operation in enumerate(operations(docs, rng)):
        if tried > 20 and time.monotonic() - began > SECONDS:
            break
        for case in await asyncio.to_thread(cases, operation, SEED + number):
            url, sent = target(case, rng), body(case)
            media = case.media_type or "application/json"
            tried += 1
            async with asyncio.timeout(60):
                answer = await api.request(case.method.upper(), url, sent, content_type=media.replace("*/*", JSON))
            if answer.status >= 500:
                failures.append(f"{case.method} {url}: {answer.text[:300]} {(sent or b'')[:600]!r}")
    assert tried
    assert not failures, f"seed {SEED}, {tried} cases\n" + "\n".join(failures[:20])
    assert (await api.get("/readyz")).status == 200
