"""/healthz, /livez, /readyz, /version."""

from __future__ import annotations

import platform
from collections.abc import Callable
from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest

from podwright.api import status
from podwright.api.objects import Object
from podwright.apiserver.exchange import Bytes, Request
from podwright.apiserver.handlers import Handlers, Page
from podwright.apiserver.metrics import METRICS_TYPE

Check = Callable[[], bool]

VERSION: Object = {
    "major": "1",
    "minor": "37",
    "emulationMajor": "1",
    "emulationMinor": "37",
    "minCompatibilityMajor": "1",
    "minCompatibilityMinor": "36",
    "gitVersion": "v1.37.1",
    "gitCommit": "",
    "gitTreeState": "clean",
    "buildDate": "2026-10-15T00:00:00Z",
    "goVersion": f"python{platform.python_version()}",
    "compiler": platform.python_implementation(),
    "platform": f"linux/{ {'x86_64': 'amd64', 'aarch64': 'arm64'}.get(platform.machine(), platform.machine()) }",
}

_TEXT = "text/plain; charset=utf-8"
_HOOKS = (
    "start-apiserver-admission-initializer", "generic-apiserver-start-informers",
    "priority-and-fairness-config-consumer", "priority-and-fairness-filter", "storage-object-count-tracker-hook",
    "start-apiextensions-informers", "start-apiextensions-controllers", "crd-informer-synced",
    "start-system-namespaces-controller", "start-cluster-authentication-info-controller",
    "start-legacy-token-tracking-controller", "start-service-ip-repair-controllers", "rbac/bootstrap-roles",
    "scheduling/bootstrap-system-priority-classes", "priority-and-fairness-config-producer", "bootstrap-controller",
    "start-kubernetes-service-cidr-controller", "start-kube-aggregator-informers",
    "apiservice-status-local-available-controller", "apiservice-status-remote-available-controller",
    "apiservice-registration-controller", "apiservice-discovery-controller", "kube-apiserver-autoregistration",
    "apiservice-openapi-controller", "apiservice-openapiv3-controller",
)
"""Steps of the start that others look for by upstream's names, in upstream's order."""


class Health:
    """Checks by name, in order. A failing one answers 500, as upstream's do. `stored` says whether the store can be
    reached, `synced` whether the caches are filled, `registered` whether every group version has its APIService,
    `stopping` whether the server goes."""

    def __init__(self, stored: Check, synced: Check, registered: Check, stopping: Check) -> None:
        self._passed: set[str] = set()
        self._indicators = CollectorRegistry()
        labels = ("name", "type")
        self._state = Gauge(
            "kubernetes_healthcheck", "What the check said last.", labels, registry=self._indicators
        )
        self._said = Counter(
            "kubernetes_healthchecks", "What the check said.", (*labels, "status"), registry=self._indicators
        )
        first: dict[str, Check] = {"ping": lambda: True, "log": lambda: True, "etcd": stored}
        hooks: dict[str, Check] = {}
        for name in _HOOKS:
            hooks[f"poststarthook/{name}"] = partial(self._passed.__contains__, name)
            if name == "kube-apiserver-autoregistration":
                hooks["autoregister-completion"] = registered
        self.live = first | hooks
        self.ready = first | {"etcd-readiness": stored, "informer-sync": synced} | hooks
        self.ready["shutdown"] = lambda: not stopping()

    def passed(self, *hooks: str) -> None:
        """These steps of the start are done."""
        assert set(hooks) <= set(_HOOKS), hooks
        self._passed.update(hooks)

    def reloads_encryption(self) -> None:
        """By upstream's names. The providers that are not in this process (KMS) are none here."""
        for checks in (self.live, self.ready):
            checks["poststarthook/start-encryption-provider-config-automatic-reload"] = lambda: True
        self.ready["kms-providers"] = lambda: True

    def install(self, handlers: Handlers) -> None:
        for name, checks in (("healthz", self.live), ("livez", self.live), ("readyz", self.ready)):
            page = self._page(name, checks)
            handlers.pages[f"/{name}"] = page
            handlers.page_trees.append((f"/{name}/", page))
        handlers.pages["/metrics/slis"] = self._show_indicators

    async def _show_indicators(self, request: Request) -> Bytes:
        """KEP-3466: what the checks said whenever somebody asked."""
        return Bytes(generate_latest(self._indicators), METRICS_TYPE)

    def _asked(self, page: str, name: str, check: Check) -> bool:
        well = check()
        self._state.labels(name, page).set(well)
        self._said.labels(name, page, "success" if well else "error").inc()
        return well

    def _page(self, title: str, found: dict[str, Check]) -> Page:
        async def page(request: Request) -> Bytes:
            path = request.info.path.rstrip("/")
            single = path.removeprefix(f"/{title}").strip("/")
            if single:
                if single not in found:
                    raise status.path_not_found()
                return Bytes(b"ok", _TEXT) if found[single]() else _failed(f"internal server error: {single} failed")
            excluded = set(request.query.get_all("exclude"))
            lines, failed = [], []
            for name, check in found.items():
                if name in excluded:
                    lines.append(f"[+]{name} excluded: ok")
                elif self._asked(title, name, check):
                    lines.append(f"[+]{name} ok")
                else:
                    lines.append(f"[-]{name} failed: reason withheld")
                    failed.append(name)
            if unknown := sorted(excluded - found.keys()):
                named = ", ".join(f'"{name}"' for name in unknown)
                lines.append(f"warn: some health checks cannot be excluded: no matches for {named}")
            if failed:
                lines.append(f"{title} check failed")
                return _failed("\n".join(lines) + "\n")
            if request.query.has("verbose"):
                return Bytes(("\n".join([*lines, f"{title} check passed"]) + "\n").encode(), _TEXT)
            return Bytes(b"ok", _TEXT)

        return page


def _failed(text: str) -> Bytes:
    return Bytes(text.encode(), _TEXT, 500)
