"""HTTP extenders: filters, scores, preemption and binding by somebody else's server (Kubernetes documentation:
"Scheduler extender"; the wire is k8s.io/kube-scheduler/extender/v1)."""

from __future__ import annotations

import json
import logging
import os
import ssl
import tempfile
import urllib.error
import urllib.request
from base64 import b64decode
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from podwright.api import objects
from podwright.api.objects import Object
from podwright.scheduler.config import ExtenderConfig
from podwright.scheduler.framework.apart import in_thread
from podwright.scheduler.framework.verdicts import SKIP, Reason, SkipType

if TYPE_CHECKING:
    from podwright.scheduler.state.nodes import Ints, Mask, NodeTable, Rows
    from podwright.scheduler.state.pods import PodInfo

log = logging.getLogger(__name__)

_SCALE = 10
"""Extenders score from 0 to 10, plugins from 0 to 100."""


class ExtenderFailed(Exception):
    """An extender did not answer, or answered with an error."""


class Extender:
    """Calls block: they belong into a thread. An extender with managed resources is asked only about Pods that request
    or limit one of them."""

    row_local = False

    def __init__(self, config: ExtenderConfig, nodes: NodeTable) -> None:
        """Raises:
        ValueError: the TLS settings cannot be used.
        """
        self.config = config
        self.name = config.url_prefix
        self._nodes = nodes
        self._tls = _tls_context(config)

    def call(self, verb: str, body: Object) -> Any:
        """Raises:
        ExtenderFailed: see there.
        """
        request = urllib.request.Request(
            f"{self.config.url_prefix.rstrip('/')}/{verb}", orjson.dumps(body), {"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=self.config.timeout, context=self._tls) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as refused:
            refused.close()
            said = f"failed {verb} with extender at URL {request.full_url}, code {refused.code}"
            raise ExtenderFailed(said) from refused
        except (OSError, ValueError) as failed:
            raise ExtenderFailed(f'Post "{request.full_url}": {failed}') from failed

    def cares_for(self, pod: Object) -> bool:
        managed = {name for name, _ in self.config.managed_resources}
        if not managed:
            return True
        spec = pod.get("spec") or {}
        containers = (*(spec.get("containers") or ()), *(spec.get("initContainers") or ()))
        sets = ((c.get("resources") or {}).get(kind) or {} for c in containers for kind in ("requests", "limits"))
        return any(not managed.isdisjoint(each) for each in sets)

    def _about(self, pod: PodInfo, rows: Sequence[int]) -> Object:
        if self.config.node_cache_capable:
            return {"Pod": pod.pod, "Nodes": None, "NodeNames": [self._nodes.name_of(r) for r in rows]}
        found = [self._nodes.node_at(r).node for r in rows]
        return {"Pod": pod.pod, "Nodes": {"apiVersion": "v1", "kind": "NodeList", "metadata": {}, "items": found},
                "NodeNames": None}  # fmt: skip

    # Filter

    def filter(self, pod: PodInfo, rows: Rows) -> Mask:
        numbers = [int(r) for r in np.arange(self._nodes.size)[rows]]
        if not self.cares_for(pod.pod):
            return np.ones(len(numbers), np.bool_)
        try:
            answer = _fields(self.call(self.config.filter_verb, self._about(pod, numbers)))
            if answer.get("error"):
                raise ExtenderFailed(answer["error"])
        except ExtenderFailed as failed:
            if not self.config.ignorable:
                raise
            log.warning("extender %s passed over: %s", self.name, failed)
            return np.ones(len(numbers), np.bool_)
        listed = answer.get("nodenames")
        if listed is None or not self.config.node_cache_capable:
            listed = [objects.name(n) for n in (answer.get("nodes") or {}).get("items") or ()]
        asked = [self._nodes.name_of(r) for r in numbers]
        for name in listed:
            if name not in asked:
                raise ExtenderFailed(f'extender "{self.name}" claims a filtered node "{name}" which is not found in '
                                     "the input node list")  # fmt: skip
        kept = set(listed)
        pod.state[self.name] = answer.get("failednodes") or {}, answer.get("failedandunresolvablenodes") or {}
        return np.array([name in kept for name in asked], np.bool_)

    def reasons(self, pod: PodInfo, rows: Rows) -> Sequence[Reason]:
        """As the extender said when it was asked."""
        answered: tuple[dict[str, str], dict[str, str]] = pod.state.get(self.name) or ({}, {})
        failed, never = answered
        asked = [self._nodes.name_of(int(r)) for r in np.arange(self._nodes.size)[rows]]
        found = []
        for said, resolvable in ((failed, True), (never, False)):
            for message in sorted(set(said.values())):
                mask = np.array([said.get(name) == message for name in asked], np.bool_)
                found.append(Reason(str(message), mask, resolvable))
        silent = np.array([name not in failed and name not in never for name in asked], np.bool_)
        return (*found, Reason(f"node(s) were refused by the extender {self.name}", silent))

    # Score

    def pre_score(self, pod: PodInfo, feasible: Ints) -> SkipType | None:
        return None if self.cares_for(pod.pod) else SKIP

    def score(self, pod: PodInfo, rows: Rows) -> Ints:
        numbers = [int(r) for r in np.arange(self._nodes.size)[rows]]
        try:
            answer = self.call(self.config.prioritize_verb, self._about(pod, numbers))
        except ExtenderFailed as failed:
            # As upstream: whoever cannot say what it prefers prefers nothing.
            log.warning("extender %s gives no scores: %s", self.name, failed)
            answer = []
        scores = {e.get("host"): int(e.get("score") or 0) * _SCALE for e in map(_fields, answer or ())}
        return np.array([scores.get(self._nodes.name_of(r), 0) for r in numbers], np.int64)

    # Bind

    async def bind(self, pod: PodInfo, node: str) -> bool:
        if not self.cares_for(pod.pod):
            return False
        body = {"PodName": objects.name(pod.pod), "PodNamespace": pod.namespace, "PodUID": pod.uid, "Node": node}
        answer = _fields(await in_thread(lambda: self.call(self.config.bind_verb, body), self.config.timeout))
        if answer.get("error"):
            raise ExtenderFailed(answer["error"])
        return True

    # Preemption

    def preempt(self, pod: PodInfo, victims: Mapping[str, tuple[Sequence[Object], int]]) -> dict[str, list[str]]:
        """Given nodes with the Pods that would go and how many budgets that breaks, the nodes that the extender leaves
        with the uids of those to go.

        Raises:
            ExtenderFailed: see there.
        """
        meta = self.config.node_cache_capable
        listed = {
            node: {"Pods": [{"UID": objects.uid(p)} if meta else p for p in pods], "NumPDBViolations": violations}
            for node, (pods, violations) in victims.items()
        }
        body = {"Pod": pod.pod, "NodeNameToMetaVictims" if meta else "NodeNameToVictims": listed}
        answer = _fields(self.call(self.config.preempt_verb, body)).get("nodenametometavictims") or {}
        return {
            node: [str(_fields(p).get("uid")) for p in _fields(left).get("pods") or ()] for node, left in answer.items()
        }


def _fields(answer: Any) -> dict[str, Any]:
    """Go reads field names in any case, so extenders write them in any."""
    return {str(k).lower(): v for k, v in answer.items()} if isinstance(answer, dict) else {}


def _tls_context(config: ExtenderConfig) -> ssl.SSLContext | None:
    tls = config.tls
    if not (config.enable_https or config.url_prefix.startswith("https:")):
        return None
    try:
        authorities = b64decode(tls["caData"]).decode() if tls.get("caData") else None
        context = ssl.create_default_context(cafile=tls.get("caFile") or None, cadata=authorities)
        if tls.get("insecure") or (config.enable_https and not tls.get("caFile") and not authorities):
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        if tls.get("certFile"):
            context.load_cert_chain(tls["certFile"], tls.get("keyFile") or None)
        elif tls.get("certData"):
            with tempfile.TemporaryDirectory() as directory:
                path = os.path.join(directory, "pair.pem")
                with open(path, "wb") as pair:
                    pair.write(b64decode(tls["certData"]) + b"\n" + b64decode(tls.get("keyData") or ""))
                context.load_cert_chain(path)
    except (OSError, ValueError) as wrong:
        raise ValueError(f"extender {config.url_prefix}: tlsConfig: {wrong}") from wrong
    return context
