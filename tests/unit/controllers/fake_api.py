"""An API server in memory, as far as controllers can tell: list, watch, create, update, patch and delete, with
resourceVersions, conflicts, generations, the status subresource, finalizers and propagation policies as upstream's."""

from __future__ import annotations

import asyncio
import itertools
import re
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any
from urllib.parse import unquote

from podwright.api import objects
from podwright.api.objects import Object, deepcopy
from podwright.api.resources import BUILTIN, Resource, ResourceTable
from podwright.api.status import MODIFIED, ApiError, already_exists, conflict, failure, not_found, path_not_found
from podwright.client.clock import Clock
from podwright.client.transport import Call, WatchEvent

Reactor = Callable[[str, Resource, str, Object | None], None]
"""(verb, resource, name or "", object): may raise ApiError to refuse, or change the object."""


class FakeApi:
    """`calls` counts what was asked, by "verb plural[/subresource]"; `reactors` are asked before each write; `answers`
    are given for URL paths that are no resource."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.table = ResourceTable(BUILTIN)
        self.calls: Counter[str] = Counter()
        self.total = 0
        self.reactors: list[Reactor] = []
        self.answers: dict[str, Object] = {}
        self._revision = 0
        self._names = itertools.count(1)
        self._stored: dict[tuple[str, str], dict[tuple[str, str], Object]] = {}
        self._watches: dict[tuple[str, str], list[tuple[asyncio.Queue[WatchEvent], Call, str]]] = {}

    # -- what tests use -------------------------------------------------------------------------------------------

    def objects(self, resource: Resource, namespace: str = "") -> list[Object]:
        return [o for (ns, _), o in sorted(self._of(resource).items()) if not namespace or ns == namespace]

    def find(self, resource: Resource, name: str, namespace: str = "") -> Object | None:
        return self._of(resource).get((namespace, name))

    def read(self, resource: Resource, name: str, namespace: str = "default") -> Object:
        found = self.find(resource, name, namespace if resource.namespaced else "")
        assert found is not None, f"no {resource.plural} {namespace}/{name}"
        return found

    def add(self, resource: Resource, obj: Object) -> Object:
        """Creates, status and all, as given."""
        return self._create(resource, objects.namespace(obj), deepcopy(obj), keep_status=True)

    def change(self, resource: Resource, name: str, change: Object, namespace: str = "default") -> Object:
        """Merge-patches everything, spec and status."""
        old = self.read(resource, name, namespace)
        return self._write(resource, old, _merge(old, change), spec=True, status=True)

    def set_status(self, resource: Resource, name: str, status: Object, namespace: str = "default") -> Object:
        return self.change(resource, name, {"status": status}, namespace)

    def remove(self, resource: Resource, name: str, namespace: str = "default", propagation: str = "") -> None:
        self._delete(resource, self.read(resource, name, namespace), {"propagationPolicy": propagation})

    def purge(self, resource: Resource, name: str, namespace: str = "default") -> None:
        """Takes the object away whatever its finalizers say, as a kubelet ends a Pod."""
        self._gone(resource, self.read(resource, name, namespace))

    def finish_deletions(self, resource: Resource, namespace: str = "") -> None:
        """Ends every deleted object without finalizers (Pods that wait for their grace period)."""
        for obj in self.objects(resource, namespace):
            if objects.is_deleting(obj) and not obj["metadata"].get("finalizers"):
                self._gone(resource, obj)

    # -- transport ------------------------------------------------------------------------------------------------

    async def call(self, call: Call) -> Object:
        await asyncio.sleep(0)
        if call.path in self.answers:
            return self.answers[call.path]
        resource, namespace, name, sub = self._parse(call.path)
        verb = {"GET": "get" if name else "list", "POST": "create", "PUT": "update", "PATCH": "patch"}.get(
            call.method, "delete" if name else "deletecollection"
        )
        self.total += 1
        self.calls[f"{verb} {resource.plural}{'/' + sub if sub else ''}"] += 1
        body = deepcopy(call.body) if isinstance(call.body, dict) else call.body
        for react in self.reactors:
            react(verb, resource, name, body)
        match verb:
            case "list":
                return self._list(resource, namespace, call)
            case "get":
                found = self._get(resource, namespace, name)
                return _scale(found) if sub == "scale" else found
            case "create":
                return self._post(resource, namespace, name, sub, body)
            case "update":
                return self._update(resource, namespace, name, sub, body)
            case "patch":
                return self._patch(resource, namespace, name, sub, body)
            case "delete":
                return self._delete(resource, self._get(resource, namespace, name), body or {})
            case _:
                for obj in list(self._selected(resource, namespace, call)):
                    self._delete(resource, obj, body or {})
                return {"kind": "Status", "apiVersion": "v1", "status": "Success"}

    async def watch(self, call: Call) -> AsyncIterator[WatchEvent]:
        resource, namespace, _name, _ = self._parse(call.path)
        self.total += 1
        self.calls[f"watch {resource.plural}"] += 1
        queue: asyncio.Queue[WatchEvent] = asyncio.Queue()
        key = (resource.group, resource.plural)
        since = int(call.query.get("resourceVersion") or 0)
        for obj in self._selected(resource, namespace, call):
            if int(obj["metadata"]["resourceVersion"]) > since:
                queue.put_nowait(WatchEvent("ADDED", obj))
        entry = (queue, call, namespace)
        self._watches.setdefault(key, []).append(entry)
        try:
            while True:
                yield await queue.get()
        finally:
            self._watches[key].remove(entry)

    async def aclose(self) -> None:
        pass

    # -- rules ----------------------------------------------------------------------------------------------------

    def _parse(self, path: str) -> tuple[Resource, str, str, str]:
        parts = [unquote(p) for p in path.strip("/").split("/")]
        group, version, rest = ("", parts[1], parts[2:]) if parts[0] == "api" else (parts[1], parts[2], parts[3:])
        namespace = ""
        if len(rest) >= 3 and rest[0] == "namespaces" and not (len(rest) == 3 and rest[2] in ("finalize", "status")):
            namespace, rest = rest[1], rest[2:]
        row = self.table.by_path(group, version, rest[0]) if rest else None
        if row is None:
            raise path_not_found()
        return row, namespace, rest[1] if len(rest) > 1 else "", rest[2] if len(rest) > 2 else ""

    def _of(self, resource: Resource) -> dict[tuple[str, str], Object]:
        return self._stored.setdefault((resource.group, resource.plural), {})

    def _get(self, resource: Resource, namespace: str, name: str) -> Object:
        found = self._of(resource).get((namespace, name))
        if found is None:
            raise not_found(resource.group, resource.plural, name)
        return found

    def _selected(self, resource: Resource, namespace: str, call: Call) -> Iterable[Object]:
        for (ns, _), obj in list(self._of(resource).items()):
            if (not namespace or ns == namespace) and _matches(obj, call):
                yield obj

    def _list(self, resource: Resource, namespace: str, call: Call) -> Object:
        return {
            "apiVersion": resource.api_version, "kind": resource.list_kind,
            "metadata": {"resourceVersion": str(self._revision)},
            "items": list(self._selected(resource, namespace, call)),
        }

    def _post(self, resource: Resource, namespace: str, name: str, sub: str, body: Object) -> Object:
        if sub == "binding":
            pod = self._get(resource, namespace, name)
            return self._write(resource, pod, _merge(pod, {"spec": {"nodeName": body["target"]["name"]}}), spec=True)
        if sub == "eviction":
            return self._delete(resource, self._get(resource, namespace, name), {})
        if sub == "token":
            return {**body, "status": {"token": f"token-of-{name}"}}
        if resource.namespaced:
            terminating = self._stored.get(("", "namespaces"), {}).get(("", namespace))
            if terminating is not None and objects.is_deleting(terminating):
                error = failure(403, "Forbidden", f"namespace {namespace} is being terminated")
                error.status["details"] = {"causes": [{"reason": "NamespaceTerminating"}]}
                raise error
        return self._create(resource, namespace, body, keep_status=False)

    def _create(self, resource: Resource, namespace: str, body: Object, *, keep_status: bool) -> Object:
        meta = body.setdefault("metadata", {})
        if resource.namespaced:
            meta["namespace"] = namespace or meta.get("namespace") or "default"
        if not meta.get("name") and meta.get("generateName"):
            meta["name"] = f"{meta['generateName']}{next(self._names):05d}"
        if resource.plural == "events":
            # Their names hold the time, which stands still here.
            meta["name"] += f".{next(self._names)}"
        key = (meta.get("namespace", "") if resource.namespaced else "", meta["name"])
        if key in self._of(resource):
            raise already_exists(resource.group, resource.plural, meta["name"])
        meta.setdefault("uid", str(uuid.uuid4()))
        meta.setdefault("creationTimestamp", objects.format_time(self.clock.now()))
        meta.setdefault("generation", 1)
        body["apiVersion"], body["kind"] = resource.api_version, resource.kind
        if not keep_status and resource.subresource("status") is not None:
            body.pop("status", None)
        if resource.plural == "pods":
            body.setdefault("status", {}).setdefault("phase", "Pending")
        if resource.plural == "namespaces":
            body.setdefault("spec", {}).setdefault("finalizers", ["kubernetes"])
            body.setdefault("status", {}).setdefault("phase", "Active")
        self._revision += 1
        meta["resourceVersion"] = str(self._revision)
        self._of(resource)[key] = body
        self._tell(resource, "ADDED", body, None)
        return body

    def _update(self, resource: Resource, namespace: str, name: str, sub: str, body: Object) -> Object:
        old = self._get(resource, namespace, name)
        given = (body.get("metadata") or {}).get("resourceVersion")
        if given and given != old["metadata"]["resourceVersion"]:
            raise conflict(resource.group, resource.plural, name, MODIFIED)
        if (body.get("metadata") or {}).get("uid") not in (None, objects.uid(old)):
            raise conflict(resource.group, resource.plural, name, "Precondition failed: UID")
        if sub == "status":
            new = {**old, "status": body.get("status") or {}}
            if "annotations" in body.get("metadata", {}):
                new["metadata"] = {**old["metadata"], "annotations": body["metadata"]["annotations"]}
            return self._write(resource, old, new, status=True)
        if sub == "scale":
            spec = {**(old.get("spec") or {}), "replicas": body["spec"]["replicas"]}
            return _scale(self._write(resource, old, {**old, "spec": spec}, spec=True))
        if sub == "finalize":
            new = {**old, "spec": {**(old.get("spec") or {}), "finalizers": body["spec"].get("finalizers") or []}}
            return self._write(resource, old, new, spec=True)
        if sub == "approval":
            return self._write(resource, old, {**old, "status": body.get("status") or {}}, status=True)
        return self._write(resource, old, body, spec=True)

    def _patch(self, resource: Resource, namespace: str, name: str, sub: str, patch: Object) -> Object:
        old = self._get(resource, namespace, name)
        meta = patch.get("metadata") or {}
        gone = meta.pop("$deleteFromPrimitiveList/finalizers", ())
        if gone:
            meta["finalizers"] = [f for f in old["metadata"].get("finalizers") or () if f not in gone]
        if meta.get("resourceVersion") not in (None, old["metadata"]["resourceVersion"]):
            raise conflict(resource.group, resource.plural, name, MODIFIED)
        if meta.get("uid") not in (None, objects.uid(old)):
            raise conflict(resource.group, resource.plural, name, "Precondition failed: UID")
        if sub == "scale":
            patch = {"spec": {"replicas": patch["spec"]["replicas"]}}
        return self._write(resource, old, _merge(old, patch), spec=sub != "status", status=sub == "status")

    def _write(
        self, resource: Resource, old: Object, new: Object, *, spec: bool = False, status: bool = False
    ) -> Object:
        new = deepcopy(new)
        if not status and resource.subresource("status") is not None:
            if "status" in old:
                new["status"] = old["status"]
            else:
                new.pop("status", None)
        meta = new["metadata"]
        for field in ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "name"):
            if field in old["metadata"]:
                meta[field] = old["metadata"][field]
        new["apiVersion"], new["kind"] = resource.api_version, resource.kind
        for owner_list in ("ownerReferences", "finalizers"):
            if not meta.get(owner_list):
                meta.pop(owner_list, None)
        if spec and new.get("spec") != old.get("spec"):
            meta["generation"] = int(old["metadata"].get("generation") or 1) + 1
        else:
            meta["generation"] = old["metadata"].get("generation", 1)
        meta["resourceVersion"] = old["metadata"]["resourceVersion"]
        if new == old:
            return old
        if objects.is_deleting(new) and not meta.get("finalizers") and self._unheld(resource, new):
            self._gone(resource, old)
            return new
        self._revision += 1
        meta["resourceVersion"] = str(self._revision)
        self._of(resource)[objects.namespace(new), objects.name(new)] = new
        self._tell(resource, "MODIFIED", new, old)
        return new

    @staticmethod
    def _unheld(resource: Resource, obj: Object) -> bool:
        if resource.plural == "namespaces":
            return not (obj.get("spec") or {}).get("finalizers")
        return not obj["metadata"].get("deletionGracePeriodSeconds")

    def _delete(self, resource: Resource, old: Object, options: Object) -> Object:
        preconditions = options.get("preconditions") or {}
        meta = old["metadata"]
        if preconditions.get("uid") not in (None, meta["uid"]):
            raise conflict(resource.group, resource.plural, meta["name"], "Precondition failed: UID in precondition")
        if preconditions.get("resourceVersion") not in (None, meta["resourceVersion"]):
            raise conflict(resource.group, resource.plural, meta["name"], "Precondition failed: ResourceVersion")
        new = deepcopy(old)
        finalizers = list(meta.get("finalizers") or ())
        policy = options.get("propagationPolicy")
        if policy:
            finalizers = [f for f in finalizers if f not in ("foregroundDeletion", "orphan")]
            finalizers += {"Foreground": ["foregroundDeletion"], "Orphan": ["orphan"]}.get(policy, [])
        grace = 0
        if resource.plural == "pods":
            spec = old.get("spec") or {}
            grace = options.get("gracePeriodSeconds", spec.get("terminationGracePeriodSeconds", 30))
            if not spec.get("nodeName") or (old.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
                grace = 0
        new["metadata"]["finalizers"] = finalizers
        if resource.plural == "namespaces":
            new["status"] = {**(new.get("status") or {}), "phase": "Terminating"}
        held = finalizers or grace or (resource.plural == "namespaces" and not self._unheld(resource, new))
        if not held:
            self._gone(resource, old)
            return {"kind": "Status", "apiVersion": "v1", "status": "Success"}
        first = "deletionTimestamp" not in meta
        if first:
            new["metadata"]["deletionTimestamp"] = objects.format_time(self.clock.now() + grace)
            new["metadata"]["deletionGracePeriodSeconds"] = grace
            new["metadata"]["generation"] = int(meta.get("generation") or 1) + 1
        if not finalizers:
            del new["metadata"]["finalizers"]
        if new == old:
            return old
        self._revision += 1
        new["metadata"]["resourceVersion"] = str(self._revision)
        self._of(resource)[objects.namespace(new), objects.name(new)] = new
        self._tell(resource, "MODIFIED", new, old)
        return new

    def _gone(self, resource: Resource, old: Object) -> None:
        del self._of(resource)[objects.namespace(old), objects.name(old)]
        self._revision += 1
        last = deepcopy(old)
        last["metadata"]["resourceVersion"] = str(self._revision)
        self._tell(resource, "DELETED", last, old)

    def _tell(self, resource: Resource, kind: str, obj: Object, old: Object | None) -> None:
        for queue, call, namespace in self._watches.get((resource.group, resource.plural), ()):
            if namespace and objects.namespace(obj) != namespace:
                continue
            was, matches = old is not None and _matches(old, call), _matches(obj, call)
            if kind == "MODIFIED":
                if matches or was:
                    seen = "MODIFIED" if matches and was else "ADDED" if matches else "DELETED"
                    queue.put_nowait(WatchEvent(seen, obj))
            elif matches:
                queue.put_nowait(WatchEvent(kind, obj))


def _scale(obj: Object) -> Object:
    selector = ((obj.get("spec") or {}).get("selector") or {}).get("matchLabels") or {}
    return {
        "apiVersion": "autoscaling/v1",
        "kind": "Scale",
        "metadata": {k: obj["metadata"][k] for k in ("name", "namespace", "uid", "resourceVersion")},
        "spec": {"replicas": obj["spec"]["replicas"]},
        "status": {
            "replicas": (obj.get("status") or {}).get("replicas", 0),
            "selector": ",".join(f"{k}={v}" for k, v in selector.items()),
        },
    }


def _matches(obj: Object, call: Call) -> bool:
    selector = call.query.get("labelSelector") or ""
    labels = objects.labels(obj)
    for part in (p for p in re.split(r",(?![^(]*\))", selector) if p):
        if " in (" in part:
            key, _, values = part.partition(" in ")
            if labels.get(key) not in values.strip("()").split(","):
                return False
        elif "=" in part:
            key, _, value = part.replace("==", "=").partition("=")
            if labels.get(key) != value:
                return False
        elif (part.startswith("!") and part[1:] in labels) or (not part.startswith("!") and part not in labels):
            return False
    for part in (p for p in (call.query.get("fieldSelector") or "").split(",") if p):
        path, negated, value = part.partition("!=")
        if not negated:
            path, _, value = part.partition("=")
        found: Any = obj
        for step in path.split("."):
            found = (found or {}).get(step)
        if (str(found or "") == value) == bool(negated):
            return False
    return True


def _merge(old: Any, patch: Any) -> Any:
    if not isinstance(patch, dict):
        return patch
    merged = dict(old) if isinstance(old, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = _merge(merged.get(key), value)
    return merged


__all__ = ["ApiError", "FakeApi"]
