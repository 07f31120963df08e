"""Rows of the conformance list as functions: all run at once against one cluster, each in a namespace of its own."""

from __future__ import annotations

import base64
import json
import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests
import yaml
from tests.e2e.harness import Cluster, Timeout, until

Json = dict[str, Any]

MERGE, STRATEGIC, JSON_PATCH = (f"application/{kind}-patch+json" for kind in ("merge", "strategic-merge", "json"))
PLACES = {
    "/api/v1": "Pod PodTemplate Service Endpoints ConfigMap Secret ReplicationController ResourceQuota Event Namespace "
               "Node",
    "/apis/apps/v1": "Deployment ReplicaSet StatefulSet DaemonSet ControllerRevision",
    "/apis/batch/v1": "Job CronJob",
    "/apis/policy/v1": "PodDisruptionBudget",
    "/apis/discovery.k8s.io/v1": "EndpointSlice",
    "/apis/networking.k8s.io/v1": "Ingress IngressClass",
    "/apis/coordination.k8s.io/v1": "Lease",
    "/apis/node.k8s.io/v1": "RuntimeClass",
    "/apis/autoscaling/v2": "HorizontalPodAutoscaler",
}
GROUP_OF = {kind: place for place, kinds in PLACES.items() for kind in kinds.split()}
CLUSTER_WIDE = {"Namespace", "Node", "IngressClass", "RuntimeClass"}


def plural(kind: str) -> str:
    name = kind.lower()
    return name if name.endswith("points") else name + "es" if name.endswith("ss") else name + "s"


class Refused(AssertionError):
    """The API server's answer was an error."""

    def __init__(self, what: str, code: int, status: Any) -> None:
        super().__init__(f"{what}: {code} {status.get('message', status) if isinstance(status, dict) else status}")
        self.code = code
        self.status = status


class Api:
    """The admin's HTTPS client, with one namespace that is its own. One thread's."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        config = yaml.safe_load(cluster.kubeconfig.read_text())
        self.cluster, self.namespace = cluster, namespace
        self.server: str = config["clusters"][0]["cluster"]["server"]
        self._session = requests.Session()
        self._session.trust_env = False  # a CA bundle of the environment would stand in for ours
        self._session.cert, self._session.verify = _credentials(config, cluster.kubeconfig.parent)

    def path(self, kind: str, name: str = "", subresource: str = "", *, everywhere: bool = False) -> str:
        inside = "" if kind in CLUSTER_WIDE or everywhere else f"/namespaces/{self.namespace}"
        return "/".join((f"{GROUP_OF[kind]}{inside}", *filter(None, (plural(kind), name, subresource))))

    def answer(self, method: str, path: str, body: Any = None, **more: Any) -> requests.Response:
        """Whatever comes back."""
        headers = {"Content-Type": more.pop("content_type", "application/json"), **more.pop("headers", {})}
        data = json.dumps(body) if isinstance(body, dict | list) else body
        return self._session.request(method, self.server + path, data=data, headers=headers, timeout=60, **more)

    def call(self, method: str, path: str, body: Any = None, **more: Any) -> Json:
        answer = self.answer(method, path, body, **more)
        parsed = answer.json()
        if answer.status_code >= 400:
            raise Refused(f"{method} {path}", answer.status_code, parsed)
        return dict(parsed)

    def create(self, obj: Json) -> Json:
        version = GROUP_OF[obj["kind"]].removeprefix("/apis/").removeprefix("/api/")
        return self.call("POST", self.path(obj["kind"]), {"apiVersion": version, **obj})

    def get(self, kind: str, name: str, subresource: str = "") -> Json:
        return self.call("GET", self.path(kind, name, subresource))

    def list(self, kind: str, labels: str = "", *, everywhere: bool = False) -> list[Json]:
        path = self.path(kind, everywhere=everywhere)
        return list(self.call("GET", path, params={"labelSelector": labels})["items"])

    def update(self, kind: str, name: str, change: Callable[[Json], object], subresource: str = "") -> Json:
        """Read, change, write back, until nobody came between."""
        while True:
            obj = self.get(kind, name, subresource)
            change(obj)
            try:
                return self.call("PUT", self.path(kind, name, subresource), obj)
            except Refused as refused:
                if refused.code != 409:
                    raise

    def patch(self, kind: str, name: str, change: Any, subresource: str = "", content_type: str = MERGE) -> Json:
        return self.call("PATCH", self.path(kind, name, subresource), change, content_type=content_type)

    def delete(self, kind: str, name: str, **options: Any) -> Json:
        return self.call("DELETE", self.path(kind, name), {"kind": "DeleteOptions", "apiVersion": "v1", **options})

    def delete_all(self, kind: str, labels: str = "") -> None:
        self.call("DELETE", self.path(kind), params={"labelSelector": labels})

    def gone(self, kind: str, name: str) -> None:
        def missing() -> bool:
            return self.answer("GET", self.path(kind, name)).status_code == 404

        until(missing, f"{kind} {name} gone")

    def until(self, kind: str, name: str, holds: Callable[[Json], Any], what: str = "") -> Json:
        """The object once `holds` is true of it."""
        seen: list[Json] = [{}]

        def reached() -> Json | None:
            seen[0] = self.get(kind, name)
            return seen[0] if holds(seen[0]) else None

        try:
            return dict(until(reached, f"{kind} {name}: {what}"))
        except Timeout as late:
            raise Timeout(f"{late} {json.dumps(seen[0].get('status'))}") from late

    def until_list(self, kind: str, labels: str, holds: Callable[[list[Json]], Any], what: str = "") -> list[Json]:
        def reached() -> tuple[list[Json]] | None:
            found = self.list(kind, labels)
            return (found,) if holds(found) else None

        found: tuple[list[Json]] = until(reached, f"{kind}s {labels}: {what}")
        return found[0]

    def reasons(self, name: str) -> set[str]:
        """Reasons of the events about an object."""
        return {e["reason"] for e in self.list("Event") if e["involvedObject"]["name"] == name}

    @contextmanager
    def watch(self, kind: str, labels: str = "", since: str = "") -> Iterator[Callable[[str], Json]]:
        """Gives a function that waits for the next event of a type and returns its object."""
        answer = self._session.get(
            self.server + self.path(kind), stream=True, timeout=60,
            params={"watch": "1", "labelSelector": labels, "resourceVersion": since},
        )  # fmt: skip
        lines = answer.iter_lines(chunk_size=1)

        def following(kind_of_event: str) -> Json:
            for line in lines:
                event = json.loads(line)
                if event["type"] == kind_of_event:
                    return dict(event["object"])
            raise AssertionError(f"the watch ended before {kind_of_event}")

        try:
            yield following
        finally:
            answer.close()


_written = threading.Lock()


def _credentials(config: Json, directory: Path) -> tuple[str, str]:
    """(client certificate and key, CA) as files."""
    pair, authority = directory / "admin-pair.pem", directory / "ca.pem"
    user, cluster = config["users"][0]["user"], config["clusters"][0]["cluster"]
    with _written:
        if not authority.exists():
            pair.write_bytes(
                base64.b64decode(user["client-certificate-data"]) + base64.b64decode(user["client-key-data"])
            )
            authority.write_bytes(base64.b64decode(cluster["certificate-authority-data"]))
    return str(pair), str(authority)


Row = Callable[[Api], None]


class Rows:
    """What a module's rows are, by name; :meth:`start` has them all under way at once."""

    def __init__(self) -> None:
        self.functions: dict[str, Row] = {}

    def __call__(self, name: str) -> Callable[[Row], Row]:
        def add(function: Row) -> Row:
            assert name not in self.functions
            self.functions[name] = function
            return function

        return add

    @contextmanager
    def start(self, cluster: Cluster, at_once: int = 64) -> Iterator[dict[str, Future[None]]]:
        with ThreadPoolExecutor(at_once) as pool:
            yield {name: pool.submit(_run, cluster, name, row) for name, row in self.functions.items()}


def _run(cluster: Cluster, name: str, row: Row) -> None:
    api = Api(cluster, re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:50].strip("-"))
    api.create({"kind": "Namespace", "metadata": {"name": api.namespace}})
    # A Pod is refused until its namespace has the account.
    until(lambda: api.answer("GET", f"/api/v1/namespaces/{api.namespace}/serviceaccounts/default").ok, "the account")
    row(api)
    api.call("DELETE", api.path("Namespace", api.namespace))


def lifecycle(api: Api, obj: Json, change: Json, *, status: Json | None = None) -> None:
    """Discovery, create, get, list here and everywhere, watch, patch, update, the status subresource, delete one and a
    collection: what the list asks of an API that has no controller behind it."""
    kind, version = obj["kind"], GROUP_OF[obj["kind"]]
    documents = api.call("GET", version)["resources"]
    assert any(r["kind"] == kind and r["name"] == plural(kind) for r in documents)
    if version != "/api/v1":
        group = version.removeprefix("/apis/").partition("/")[0]
        assert any(g["name"] == group for g in api.call("GET", "/apis")["groups"])
    labels = f"special={api.namespace}"
    base = obj["metadata"]["name"]

    def named(name: str) -> Json:
        meta = {**obj["metadata"], "name": name, "labels": {"special": api.namespace}}
        return {**obj, "metadata": meta}

    for name in (base, f"{base}-2", f"{base}-3"):
        api.create(named(name))
    found = api.get(kind, base)
    assert found["metadata"]["uid"]
    assert len(api.list(kind, labels)) == 3 == len(api.list(kind, labels, everywhere=True))
    version_of_list = api.call("GET", api.path(kind), params={"labelSelector": labels})["metadata"]["resourceVersion"]
    with api.watch(kind, labels, version_of_list) as following:
        patched = api.patch(kind, base, {"metadata": {"annotations": {"patched": "true"}}})
        assert patched["metadata"]["annotations"]["patched"] == "true"
        assert following("MODIFIED")["metadata"]["annotations"]["patched"] == "true"
        api.patch(kind, base, change)
        updated = api.update(kind, base, lambda o: o["metadata"]["annotations"].update(updated="true"))
        assert updated["metadata"]["annotations"].items() >= {"patched": "true", "updated": "true"}.items()
        if status is not None:
            api.patch(kind, base, {"metadata": {"annotations": {"by": "status"}}, "status": status}, "status")
            read = api.get(kind, base, "status")
            assert all(read["status"][k] == v for k, v in status.items())
            api.update(kind, base, lambda o: o["metadata"]["annotations"].update(put="true"), "status")
        api.delete(kind, base)
        if kind != "CronJob":
            assert following("DELETED")["metadata"]["name"] == base
    api.gone(kind, base)
    api.delete_all(kind, labels)
    api.until_list(kind, labels, lambda items: not items, "the collection is gone")
