"""Pods: graceful deletion, binding, eviction, and the subresources that change part of a Pod."""

from __future__ import annotations

from collections.abc import Iterable

from podwright.api import objects, status
from podwright.api.objects import Object
from podwright.api.resources import PODDISRUPTIONBUDGETS, PODS, Resource
from podwright.api.selectors import labels
from podwright.api.validation import field_errors
from podwright.apiserver.cache.entries import Cached
from podwright.apiserver.exchange import One, Request
from podwright.apiserver.registry.bodies import body_object
from podwright.apiserver.registry.creating import admit_create
from podwright.apiserver.registry.deleting import delete_object
from podwright.apiserver.registry.options import DeleteOptions, WriteOptions, delete_options, write_options
from podwright.apiserver.registry.registry import Registry
from podwright.apiserver.registry.strategies import Strategy
from podwright.apiserver.registry.updating import Update, apply_update

_TERMINAL = ("Succeeded", "Failed")
_DISRUPTED_MAX = 2000
_BUDGET_CAUSE = "DisruptionBudget"
_CANNOT_EVICT = "Cannot evict pod as it would violate the pod's disruption budget."


class PodStrategy(Strategy):
    returns_deleted = True

    def grace(self, obj: Object, asked: int | None) -> int | None:
        """A Pod that no kubelet has, or that has ended, goes at once."""
        spec, state = obj.get("spec") or {}, obj.get("status") or {}
        if not spec.get("nodeName") or state.get("phase") in _TERMINAL:
            return 0
        period = asked if asked is not None else int(spec.get("terminationGracePeriodSeconds") or 0)
        return period if period >= 0 else 1


async def bind(registry: Registry, request: Request, row: Resource) -> One:
    """POST of a Binding, to pods/NAME/binding or to bindings: the scheduler's word."""
    info = request.info
    options = write_options(request, "CreateOptions")
    binding = await body_object(request, row, "Binding", "v1")
    metadata = binding.get("metadata") or {}
    name = info.name if info.subresource else str(metadata.get("name") or "")
    if metadata.get("name") and metadata["name"] != name:
        raise status.bad_request("name in URL does not match name in Binding object")
    if metadata.get("namespace") and metadata["namespace"] != info.namespace:
        raise status.bad_request(
            "the namespace of the provided object does not match the namespace sent on the request"
        )
    binding["metadata"] = metadata
    target = binding.get("target") or {}
    errors = []
    if target.get("kind") not in (None, "", "Node"):
        errors.append(field_errors.not_supported("target.kind", target.get("kind"), ("Node", "<empty>")))
    if not target.get("name"):
        errors.append(field_errors.required("target.name"))
    if errors:
        raise status.invalid("", "Binding", name, errors)
    await admit_create(registry, request, PODS, "binding", name, binding, options)
    node = str(target["name"])
    now = objects.format_time(registry.now())

    def change(pod: Object) -> Object:
        meta, spec = pod["metadata"], pod["spec"]
        if metadata.get("uid") and metadata["uid"] != meta.get("uid"):
            raise status.conflict(
                "", "pods/binding", name,
                f"Precondition failed: UID in precondition: {metadata['uid']}, UID in object meta: {meta.get('uid')}",
            )
        if meta.get("deletionTimestamp"):
            raise status.conflict(
                "", "pods/binding", name, f"pod {name} is being deleted, cannot be assigned to a host"
            )
        if spec.get("nodeName"):
            raise status.conflict(
                "", "pods/binding", name, f'pod {name} is already assigned to node "{spec["nodeName"]}"'
            )
        if spec.get("schedulingGates"):
            raise status.conflict("", "pods/binding", name, f"pod {name} has non-empty .spec.schedulingGates")
        meta = {**meta}
        if annotations := metadata.get("annotations"):
            meta["annotations"] = {**(meta.get("annotations") or {}), **annotations}
        if labels := metadata.get("labels"):
            meta["labels"] = {**labels, **(meta.get("labels") or {})}
        state = pod.get("status") or {}
        state = {**state, "conditions": _with_condition(state.get("conditions") or (), "PodScheduled", now)}
        return {**pod, "metadata": meta, "spec": {**spec, "nodeName": node}, "status": state}

    update = Update(
        request, PODS, info.namespace, name, "binding", options, change, admit=False, validates=False,
        prepares=False, copies=True,
    )
    await apply_update(registry, update)
    return One(None, object=_DONE, status=201)


def _with_condition(conditions: Iterable[Object], kind: str, now: str) -> list[Object]:
    """The conditions, with one that is True from now on, or since it was."""
    before: Object = next((c for c in conditions if c.get("type") == kind), {})
    since = before.get("lastTransitionTime") if before.get("status") == "True" else now
    condition = {"type": kind, "status": "True", "lastProbeTime": None, "lastTransitionTime": since}
    return [*(c for c in conditions if c.get("type") != kind), condition]


_DONE = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}


async def evict(registry: Registry, request: Request, row: Resource) -> One:
    """POST to pods/NAME/eviction: a deletion that respects PodDisruptionBudgets (Kubernetes documentation,
    "API-initiated Eviction"). 429 while a budget forbids it."""
    info = request.info
    options = write_options(request, "CreateOptions")
    eviction = await body_object(request, row, "Eviction", "policy/v1")
    metadata = eviction.get("metadata") or {}
    if metadata.get("name") and metadata["name"] != info.name:
        raise status.bad_request("name in URL does not match name in Eviction object")
    deletion = delete_options(request, eviction.get("deleteOptions"))
    deletion.dry_run = deletion.dry_run or options.dry_run
    await admit_create(registry, request, PODS, "eviction", info.name, eviction, options)
    cached = await registry.get(PODS, info.namespace, info.name)
    pod = cached.object
    phase = (pod.get("status") or {}).get("phase")
    if phase in (*_TERMINAL, "Pending") or pod["metadata"].get("deletionTimestamp"):
        await _end(registry, request, deletion)
        return One(None, object=_DONE, status=201)
    budgets = [b for b in registry.read_all(PODDISRUPTIONBUDGETS, info.namespace) if _covers(b, pod)]
    if len(budgets) > 1:
        raise status.failure(
            500, "InternalError",
            "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
        )
    for budget in budgets:
        if not _unready_may_go(budget, pod):
            await _take_from(registry, request, budget, info.name, deletion.dry_run)
        elif deletion.resource_version is None:
            deletion.resource_version = str(cached.revision)
    try:
        await _end(registry, request, deletion)
    except status.ApiError as exc:
        if exc.code == 409 and budgets:
            raise _busy(objects.name(budgets[0])) from exc
        raise
    return One(None, object=_DONE, status=201)


async def _end(registry: Registry, request: Request, deletion: DeleteOptions) -> None:
    """Deletes the Pod, after a condition on it says that this is a disruption and no failure of its own: a Job's
    podFailurePolicy reads that (KEP-3329)."""
    info = request.info
    if not deletion.dry_run:
        asked, uid = deletion.resource_version, deletion.uid
        reason: Object = {"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI",
                  "message": "Eviction API: evicting",
                  "lastTransitionTime": objects.format_time(registry.now())}  # fmt: skip

        def change(live: Object) -> Object:
            meta = live["metadata"]
            if (uid and uid != meta["uid"]) or (asked and asked != meta["resourceVersion"]):
                raise status.conflict(PODS.group, PODS.plural, info.name, status.MODIFIED)
            reason["observedGeneration"] = meta.get("generation") or 0
            state = live.setdefault("status", {})
            others = [c for c in state.get("conditions") or () if c.get("type") != reason["type"]]
            state["conditions"] = [*others, reason]
            return live

        options = WriteOptions(dry_run=False, manager="kube-apiserver")
        update = Update(request, PODS, info.namespace, info.name, "status", options, change, admit=False)
        marked = await apply_update(registry, update)
        if asked and isinstance(marked, Cached):
            deletion.resource_version = str(marked.revision)
    # Admission is asked of the eviction; of the deletion that follows from it, it is not.
    await delete_object(registry, request, PODS, info.namespace, info.name, deletion, admit=False)


def _covers(budget: Object, pod: Object) -> bool:
    selector = (budget.get("spec") or {}).get("selector")
    if not selector:
        return False
    try:
        return bool(labels.from_label_selector(selector).matches(objects.labels(pod)))
    except ValueError:
        return False


def _unready_may_go(budget: Object, pod: Object) -> bool:
    """A Pod that is not ready does not count as healthy; unhealthyPodEvictionPolicy says when it may go."""
    if objects.condition_is_true(pod, "Ready"):
        return False
    if (budget.get("spec") or {}).get("unhealthyPodEvictionPolicy") == "AlwaysAllow":
        return True
    state = budget.get("status") or {}
    desired = state.get("desiredHealthy") or 0
    return (state.get("currentHealthy") or 0) >= desired > 0


def _busy(name: str) -> status.ApiError:
    return status.too_many_requests(
        _CANNOT_EVICT, 10,
        [{"reason": _BUDGET_CAUSE, "message": f"The disruption budget {name} is still being processed by the server."}],
    )


async def _take_from(registry: Registry, request: Request, budget: Object, pod: str, dry_run: bool) -> None:
    """Checks the budget and counts this disruption. Raises ApiError (403, 429)."""
    name = objects.name(budget)
    now = objects.format_time(registry.now())

    def change(live: Object) -> Object:
        state = live.setdefault("status", {})
        if (state.get("observedGeneration") or 0) < (live["metadata"].get("generation") or 0):
            raise _busy(name)
        allowed = state.get("disruptionsAllowed") or 0
        if allowed < 0:
            raise status.forbidden("policy", "poddisruptionbudget", name, "pdb disruptions allowed is negative")
        if len(state.get("disruptedPods") or {}) > _DISRUPTED_MAX:
            raise status.forbidden(
                "policy", "poddisruptionbudget", name,
                "DisruptedPods map too big - too many evictions not confirmed by PDB controller",
            )
        if allowed == 0:
            raise _refused(name, state)
        state["disruptionsAllowed"] = allowed - 1
        if allowed == 1:
            _no_more_allowed(live, now)
        state.setdefault("disruptedPods", {})[pod] = now
        return live

    options = WriteOptions(dry_run=dry_run, manager="kube-apiserver")
    update = Update(
        request, PODDISRUPTIONBUDGETS, objects.namespace(budget), name, "status", options, change, admit=False
    )
    await apply_update(registry, update)


def _refused(name: str, state: Object) -> status.ApiError:
    error = status.too_many_requests(
        _CANNOT_EVICT, 0,
        [
            {
                "reason": _BUDGET_CAUSE,
                "message": f"The disruption budget {name} needs {state.get('desiredHealthy') or 0} healthy pods "
                f"and has {state.get('currentHealthy') or 0} currently",
            }
        ],
    )
    error.status["details"].pop("retryAfterSeconds", None)
    return error


def _no_more_allowed(budget: Object, now: str) -> None:
    conditions = (budget.get("status") or {}).get("conditions") or []
    for condition in conditions:
        if condition.get("type") == "DisruptionAllowed" and condition.get("status") == "True":
            condition.update(
                status="False", reason="InsufficientPods", lastTransitionTime=now,
                observedGeneration=budget["metadata"].get("generation") or 0,
            )

