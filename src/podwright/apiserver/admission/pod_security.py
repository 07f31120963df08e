"""PodSecurity: a namespace's labels say which Pod Security Standard its Pods keep, and whether a violation is refused,
written to the audit log or warned of (Kubernetes documentation, "Pod Security Admission")."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence

from podwright.api.objects import Object, controller_of, name
from podwright.api.resources import NAMESPACES, PODS
from podwright.api.status import FieldError, internal, invalid
from podwright.apiserver.admission import pod_security_restricted
from podwright.apiserver.admission.chain import Plugin
from podwright.apiserver.admission.configuration import PodSecurityConfiguration
from podwright.apiserver.admission.pod_security_baseline import CHECKS, LATEST, Check
from podwright.apiserver.admission.pod_security_levels import LEVELS, PREFIX, Policy, Standard, policy_of
from podwright.apiserver.admission.refusals import forbidden
from podwright.apiserver.requests import AdmissionRequest, Objects

MAX_PODS_CHECKED = 3000
_IGNORED = frozenset({"exec", "attach", "binding", "eviction", "log", "portforward", "proxy", "status"})
_WORKLOADS: dict[tuple[str, str], tuple[str, ...]] = {
    ("", "podtemplates"): ("template",),
    ("", "replicationcontrollers"): ("spec", "template"),
    ("apps", "daemonsets"): ("spec", "template"),
    ("apps", "deployments"): ("spec", "template"),
    ("apps", "replicasets"): ("spec", "template"),
    ("apps", "statefulsets"): ("spec", "template"),
    ("batch", "cronjobs"): ("spec", "jobTemplate", "spec", "template"),
    ("batch", "jobs"): ("spec", "template"),
}


@functools.lru_cache(maxsize=128)
def _checks(level: str, minor: int) -> Sequence[Check]:
    minor = LATEST if minor < 0 else min(minor, LATEST)
    if level == "baseline":
        return [check for _, check in CHECKS]
    return pod_security_restricted.checks(minor)


def violations(standard: Standard, metadata: Object, spec: Object) -> list[tuple[str, str]]:
    """(reason, detail) for each check that a Pod fails."""
    if standard.level == "privileged":
        return []
    minor = LATEST if standard.minor < 0 else min(standard.minor, LATEST)
    results = (check(metadata, spec, minor) for check in _checks(standard.level, standard.minor))
    return [result for result in results if result is not None]


def _details(found: Iterable[tuple[str, str]]) -> str:
    return ", ".join(f"{reason} ({detail})" if detail else reason for reason, detail in found)


class PodSecurity(Plugin):
    name = "PodSecurity"

    def __init__(self, objects: Objects, settings: PodSecurityConfiguration | None = None) -> None:
        self._objects = objects
        self._settings = settings or PodSecurityConfiguration()
        self._defaults = tuple(sorted(self._settings.defaults.items()))

    def handles(self, request: AdmissionRequest) -> bool:
        if request.operation not in ("CREATE", "UPDATE"):
            return False
        kind = (request.resource.group, request.resource.plural)
        if kind == ("", "pods"):
            return request.subresource not in _IGNORED
        return not request.subresource and (kind == ("", "namespaces") or kind in _WORKLOADS)

    async def validate(self, request: AdmissionRequest) -> None:
        obj = request.object
        if obj is None:
            return
        if request.resource.plural == "namespaces":
            self._namespace(request, obj)
            return
        exempt = "namespace" if request.namespace in self._settings.namespaces else ""
        if exempt or request.user.name in self._settings.usernames:
            request.audit[f"{PREFIX}exempt"] = exempt or "user"
            return
        is_pod = request.resource.plural == "pods"
        namespace = self._objects.get(NAMESPACES, "", request.namespace)
        if namespace is None:
            if is_pod:
                raise internal(f'failed to lookup namespace "{request.namespace}"')
            return
        policy, errors = policy_of(namespace, self._defaults)
        if not errors and policy.is_privileged:
            return
        if is_pod:
            if request.operation == "UPDATE" and not _is_significant(obj, request.old_object or {}):
                return
            metadata, spec = obj["metadata"], obj["spec"]
        else:
            template: Object | None = obj
            for field in _WORKLOADS[request.resource.group, request.resource.plural]:
                template = (template or {}).get(field)
            if not template or not template.get("spec"):
                return
            metadata, spec = template.get("metadata") or {}, template["spec"]
        self._evaluate(request, policy, errors, metadata, spec, enforce=is_pod)

    def _evaluate(
        self, request: AdmissionRequest, policy: Policy, errors: Sequence[FieldError], metadata: Object, spec: Object,
        *, enforce: bool,
    ) -> None:
        audit = request.audit
        if spec.get("runtimeClassName") in self._settings.runtime_classes:
            audit[f"{PREFIX}exempt"] = "runtimeClass"
            return
        if errors:
            audit["pod-security.kubernetes.io/error"] = "Failed to parse policy: " + ", ".join(
                f"{e.field}: {e.message}" for e in errors
            )
        refused = ""
        if enforce:
            audit["pod-security.kubernetes.io/enforce-policy"] = str(policy.enforce)
            if found := violations(policy.enforce, metadata, spec):
                refused = f'violates PodSecurity "{policy.enforce}": {_details(found)}'
        if found := violations(policy.audit, metadata, spec):
            audit["pod-security.kubernetes.io/audit-violations"] = (
                f'would violate PodSecurity "{policy.audit}": {_details(found)}'
            )
        if refused:
            raise forbidden(request, refused)
        if found := violations(policy.warn, metadata, spec):
            request.warnings.append(f'would violate PodSecurity "{policy.warn}": {_details(found)}')

    def _namespace(self, request: AdmissionRequest, namespace: Object) -> None:
        policy, errors = policy_of(namespace, self._defaults)
        old = request.old_object
        if request.operation == "CREATE" or old is None:
            if errors:
                raise invalid("", "Namespace", name(namespace), errors)
            return
        old_policy, old_errors = policy_of(old, self._defaults)
        if errors and errors != old_errors:
            raise invalid("", "Namespace", name(namespace), errors)
        new, before = policy.enforce, old_policy.enforce
        if new == before or new.level == "privileged":
            return
        if new.minor == before.minor and LEVELS.index(new.level) < LEVELS.index(before.level):
            return
        if name(namespace) not in self._settings.namespaces:
            request.warnings.extend(self._existing(name(namespace), new))

    def _existing(self, namespace: str, standard: Standard) -> list[str]:
        """Warnings for Pods that are there already and would be refused now."""
        pods = _first_of_each_controller(self._objects.list(PODS, namespace))
        warnings = []
        if len(pods) > MAX_PODS_CHECKED:
            warnings.append(
                f"new PodSecurity enforce level only checked against the first {MAX_PODS_CHECKED} of {len(pods)}"
                " existing pods"
            )
        by_reason: dict[str, list[str]] = {}
        for pod in pods[:MAX_PODS_CHECKED]:
            if found := violations(standard, pod["metadata"], pod["spec"]):
                by_reason.setdefault(", ".join(reason for reason, _ in found), []).append(name(pod))
        if by_reason:
            warnings.append(
                f'existing pods in namespace "{namespace}" violate the new PodSecurity enforce level "{standard}"'
            )
        lines = []
        for reason, names in by_reason.items():
            more = len(names) - 1
            others = f" (and {more} other pod{'s' if more > 1 else ''})" if more else ""
            lines.append(f"{min(names)}{others}: {reason}")
        return warnings + sorted(lines)


def _first_of_each_controller(pods: Iterable[Object]) -> list[Object]:
    first, more = [], []
    seen: set[str] = set()
    for pod in pods:
        owner = controller_of(pod)
        if owner is None:
            first.append(pod)
        elif owner.get("uid") in seen:
            more.append(pod)
        else:
            seen.add(str(owner.get("uid")))
            first.append(pod)
    return first + more


def _is_significant(pod: Object, old: Object) -> bool:
    """Whether an update of a Pod changes images or adds containers: all that can change what was checked."""

    def images(of: Object) -> list[tuple[str, str | None]]:
        spec = of.get("spec") or {}
        return [
            (c.get("name"), c.get("image"))
            for part in ("containers", "initContainers", "ephemeralContainers")
            for c in spec.get(part) or ()
        ]

    return images(pod) != images(old)
