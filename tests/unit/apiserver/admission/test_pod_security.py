from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from apiserver_fakes import FakeObjects, namespace_object

from podwright.api.objects import Object, deepcopy
from podwright.api.resources import DEPLOYMENTS, NAMESPACES, PODS, Resource
from podwright.api.status import ApiError
from podwright.apiserver.admission import configuration
from podwright.apiserver.admission.chain import Chain
from podwright.apiserver.admission.pod_security import PodSecurity, violations
from podwright.apiserver.admission.pod_security_levels import Standard
from podwright.apiserver.requests import AdmissionRequest, UserInfo

PREFIX = "pod-security.kubernetes.io/"
GOOD = {
    "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
    "containers": [
        {
            "name": "a",
            "image": "i",
            "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        }
    ],
}


def pod(spec: Object, **metadata: Any) -> Object:
    return {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "ns", **metadata}, "spec": spec,
    }


def request(obj: Object, resource: Resource = PODS, old: Object | None = None) -> AdmissionRequest:
    return AdmissionRequest(
        user=UserInfo("u"), operation="UPDATE" if old else "CREATE", resource=resource, subresource="",
        namespace="ns", name=obj["metadata"]["name"], object=obj, old_object=old,
    )


async def ask(labels: dict[str, str], req: AdmissionRequest, *more: Object) -> AdmissionRequest:
    namespace = namespace_object("ns", {PREFIX + k: v for k, v in labels.items()})
    await Chain([PodSecurity(FakeObjects(namespace, *more))]).validate(req)
    return req


async def test_restricted_says_everything_that_is_wrong_in_upstreams_words() -> None:
    with pytest.raises(ApiError) as error:
        await ask({"enforce": "restricted"}, request(pod({"containers": [{"name": "a", "image": "i"}]})))
    assert str(error.value) == (
        'pods "p" is forbidden: violates PodSecurity "restricted:latest": allowPrivilegeEscalation != false (container'
        ' "a" must set securityContext.allowPrivilegeEscalation=false), unrestricted capabilities (container "a" must'
        ' set securityContext.capabilities.drop=["ALL"]), runAsNonRoot != true (pod or container "a" must set'
        ' securityContext.runAsNonRoot=true), seccompProfile (pod or container "a" must set'
        ' securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost")'
    )


async def test_a_good_pod_passes_and_a_plain_namespace_asks_nothing() -> None:
    await ask({"enforce": "restricted", "audit": "restricted", "warn": "restricted"}, request(pod(GOOD)))
    passed = await ask({}, request(pod({"hostPID": True, "containers": []})))
    assert not passed.warnings and not passed.audit


async def test_warn_and_audit_let_pass_and_workloads_are_warned_of() -> None:
    bad = pod({"hostNetwork": True, "containers": [{"name": "a"}]})
    done = await ask({"warn": "baseline", "audit": "baseline"}, request(bad))
    text = 'would violate PodSecurity "baseline:latest": host namespaces (hostNetwork=true)'
    assert done.warnings == [text]
    assert done.audit[PREFIX + "audit-violations"] == text
    deployment = {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d", "namespace": "ns"},
        "spec": {"template": {"spec": bad["spec"]}},
    }
    done = await ask({"enforce": "baseline"}, request(deployment, DEPLOYMENTS))
    assert done.warnings == [text]


async def test_namespaces_need_valid_labels_and_warn_of_pods_that_are_there() -> None:
    with pytest.raises(ApiError) as error:
        await ask({}, request(namespace_object("x", {PREFIX + "enforce": "bogus"}), NAMESPACES))
    assert error.value.code == 422
    assert error.value.status["details"]["causes"][0]["message"] == (
        'Invalid value: "bogus": must be one of privileged, baseline, restricted'
    )
    new, old = namespace_object("ns", {PREFIX + "enforce": "baseline"}), namespace_object("ns")
    bad = [pod({"hostPID": True, "containers": []}, name=n) for n in ("b", "a")]
    done = await ask({}, request(new, NAMESPACES, old), *bad)
    assert done.warnings == [
        'existing pods in namespace "ns" violate the new PodSecurity enforce level "baseline:latest"',
        "a (and 1 other pod): host namespaces",
    ]


async def test_updates_that_change_no_image_are_not_checked() -> None:
    bad = pod({"hostPID": True, "containers": [{"name": "a", "image": "i"}]})
    await ask({"enforce": "baseline"}, request(deepcopy(bad), old=bad))
    changed = deepcopy(bad)
    changed["spec"]["containers"][0]["image"] = "j"
    with pytest.raises(ApiError):
        await ask({"enforce": "baseline"}, request(changed, old=bad))


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"containers": [{"name": "a", "securityContext": {"privileged": True}}]},
         ("privileged", 'container "a" must not set securityContext.privileged=true')),
        ({"volumes": [{"name": "v", "hostPath": {"path": "/"}}]}, ("hostPath volumes", 'volume "v"')),
        ({"containers": [{"name": "a", "ports": [{"hostPort": 80}, {"hostPort": 81}]}]},
         ("hostPort", 'container "a" uses hostPorts 80, 81')),
        ({"containers": [{"name": "a", "securityContext": {"capabilities": {"add": ["SYS_ADMIN"]}}}]},
         ("non-default capabilities",
          'container "a" must not include "SYS_ADMIN" in securityContext.capabilities.add')),
        ({"securityContext": {"seLinuxOptions": {"type": "x", "user": "u"}}},
         ("seLinuxOptions", 'pod set forbidden securityContext.seLinuxOptions: type "x"; user may not be set')),
        ({"securityContext": {"sysctls": [{"name": "kernel.x"}]}}, ("forbidden sysctls", "kernel.x")),
        ({"securityContext": {"seccompProfile": {"type": "Unconfined"}}},
         ("seccompProfile", 'pod must not set securityContext.seccompProfile.type to "Unconfined"')),
        ({"containers": [{"name": "a", "securityContext": {"procMount": "Unmasked"}}]},
         ("procMount", 'container "a" must not set securityContext.procMount to "Unmasked"')),
        ({"containers": [{"name": "a", "livenessProbe": {"httpGet": {"host": "h"}}}]},
         ("probe or lifecycle host", 'container "a" uses probe or lifecycle host "h"')),
        ({"securityContext": {"windowsOptions": {"hostProcess": True}}},
         ("hostProcess", "pod must not set securityContext.windowsOptions.hostProcess=true")),
        ({"securityContext": {"appArmorProfile": {"type": "Unconfined"}}},
         ("forbidden AppArmor profile", 'pod must not set AppArmor profile type to "Unconfined"')),
    ],
)
def test_baseline_checks(spec: Object, expected: tuple[str, str]) -> None:
    assert violations(Standard("baseline"), {}, spec) == [expected]


def test_versions_and_user_namespaces() -> None:
    sysctl = {"securityContext": {"sysctls": [{"name": "net.ipv4.tcp_rmem"}]}}
    assert violations(Standard("baseline", 31), {}, sysctl)
    assert not violations(Standard("baseline", 32), {}, sysctl)
    root = deepcopy(GOOD)
    root["securityContext"]["runAsNonRoot"] = False
    assert violations(Standard("restricted"), {}, root)
    root["hostUsers"] = False
    assert not violations(Standard("restricted"), {}, root)
    assert violations(Standard("restricted", 34), {}, root)


def test_restricted_volumes() -> None:
    spec = {**GOOD, "volumes": [{"name": "ok", "emptyDir": {}}, {"name": "n", "nfs": {}}]}
    assert violations(Standard("restricted"), {}, spec) == [
        ("restricted volume types", 'volume "n" uses restricted volume type "nfs"')
    ]


CONFIGURATION = """
apiVersion: apiserver.config.k8s.io/v1
kind: AdmissionConfiguration
plugins:
- name: PodSecurity
  configuration:
    apiVersion: pod-security.admission.config.k8s.io/v1
    kind: PodSecurityConfiguration
    defaults: {defaults}
    exemptions: {exemptions}
"""


async def test_a_configuration_gives_defaults_and_exemptions(tmp_path: Path) -> None:
    path = tmp_path / "admission.yaml"

    async def judged(exemptions: str = "{}", labels: dict[str, str] | None = None) -> AdmissionRequest:
        path.write_text(CONFIGURATION.format(defaults="{enforce: baseline, warn: restricted}", exemptions=exemptions))
        asked = request(pod({"containers": [], "hostNetwork": True, "runtimeClassName": "kata"}))
        namespace = namespace_object("ns", {PREFIX + k: v for k, v in (labels or {}).items()})
        settings = configuration.pod_security_settings(configuration.Settings(path, {"PodSecurity"}))
        await Chain([PodSecurity(FakeObjects(namespace), settings)]).validate(asked)
        return asked

    with pytest.raises(ApiError, match=r'violates PodSecurity "baseline:latest": host namespaces \(hostNetwork=true\)'):
        await judged()
    assert (await judged(labels={"enforce": "privileged"})).warnings
    for exemption, why in (("namespaces: [ns]", "namespace"), ("usernames: [u]", "user"),
                           ("runtimeClasses: [kata]", "runtimeClass")):
        asked = await judged("{" + exemption + "}")
        assert asked.audit == {f"{PREFIX}exempt": why} and not asked.warnings


def test_configurations_that_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "admission.yaml"
    exemptions = "{usernames: ['', a, a]}"
    path.write_text(CONFIGURATION.format(defaults="{warn: high, audit-version: x}", exemptions=exemptions))
    with pytest.raises(ValueError, match=r"defaults\.warn") as refused:
        configuration.pod_security_settings(configuration.Settings(path, {"PodSecurity"}))
    assert [line.split(": ")[1] for line in str(refused.value).splitlines()] == [
        "defaults.warn", "defaults.audit-version", "exemptions.usernames[0]", "exemptions.usernames[2]",
    ]
    path.write_text(path.read_text().replace("name: PodSecurity", "name: EventRateLimit"))
    with pytest.raises(ValueError, match="there is no plugin 'EventRateLimit'"):
        configuration.pod_security_settings(configuration.Settings(path, {"PodSecurity"}))
