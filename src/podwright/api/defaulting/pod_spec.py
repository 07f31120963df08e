"""Defaults of a Pod spec, wherever it stands: in a Pod or in the template of a workload."""

from __future__ import annotations

from podwright.api.defaulting import pod_volumes, quantities
from podwright.api.defaulting.images import pull_policy
from podwright.api.objects import Object


def pod_spec(spec: Object) -> None:
    if not spec.get("restartPolicy"):
        spec["restartPolicy"] = "Always"
    if not spec.get("dnsPolicy"):
        spec["dnsPolicy"] = "ClusterFirst"
    if not spec.get("schedulerName"):
        spec["schedulerName"] = "default-scheduler"
    if spec.get("terminationGracePeriodSeconds") is None:
        spec["terminationGracePeriodSeconds"] = 30
    if spec.get("securityContext") is None:
        spec["securityContext"] = {}
    account = spec.get("serviceAccountName") or spec.get("serviceAccount")
    if account:
        # serviceAccount is the name that older clients know; both always read back.
        spec["serviceAccountName"] = spec["serviceAccount"] = account
    if spec.get("volumes"):
        pod_volumes.volumes(spec)
    for ctr in spec.get("containers") or ():
        container(ctr)
    for ctr in spec.get("initContainers") or ():
        container(ctr)
    for ctr in spec.get("ephemeralContainers") or ():
        container(ctr)
    quantities.resource_list(spec, "overhead")
    quantities.requirements(spec.get("resources"))


def container(ctr: Object) -> None:
    if not ctr.get("imagePullPolicy"):
        ctr["imagePullPolicy"] = pull_policy(ctr.get("image") or "")
    if not ctr.get("terminationMessagePath"):
        ctr["terminationMessagePath"] = "/dev/termination-log"
    if not ctr.get("terminationMessagePolicy"):
        ctr["terminationMessagePolicy"] = "File"
    resources = ctr.get("resources")
    if resources:
        quantities.requirements(resources)
    elif resources is None:
        ctr["resources"] = {}
    for port in ctr.get("ports") or ():
        if not port.get("protocol"):
            port["protocol"] = "TCP"
    for env in ctr.get("env") or ():
        source = env.get("valueFrom")
        if source:
            pod_volumes.field_selectors(source)
            if (ref := source.get("fileKeyRef")) is not None:
                ref.setdefault("optional", False)
    if (check := ctr.get("livenessProbe")) is not None:
        probe(check)
    if (check := ctr.get("readinessProbe")) is not None:
        probe(check)
    if (check := ctr.get("startupProbe")) is not None:
        probe(check)
    if lifecycle := ctr.get("lifecycle"):
        for hook in (lifecycle.get("postStart"), lifecycle.get("preStop")):
            if hook and (get := hook.get("httpGet")) is not None:
                _http_get(get)


def probe(check: Object) -> None:
    """A zero means "not said", as it does upstream."""
    if not check.get("timeoutSeconds"):
        check["timeoutSeconds"] = 1
    if not check.get("periodSeconds"):
        check["periodSeconds"] = 10
    if not check.get("successThreshold"):
        check["successThreshold"] = 1
    if not check.get("failureThreshold"):
        check["failureThreshold"] = 3
    if (get := check.get("httpGet")) is not None:
        _http_get(get)
    if (grpc := check.get("grpc")) is not None and grpc.get("service") is None:
        grpc["service"] = ""


def _http_get(get: Object) -> None:
    if not get.get("path"):
        get["path"] = "/"
    if not get.get("scheme"):
        get["scheme"] = "HTTP"


def pod_template(template: Object | None) -> None:
    """A template gets what every Pod spec gets; what only Pods get (requests from limits, host ports) waits for the
    Pod."""
    if template is not None:
        template.setdefault("metadata", {})
        pod_spec(template.setdefault("spec", {}))
