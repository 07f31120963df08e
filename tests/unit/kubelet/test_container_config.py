"""Environment, command, DNS, hosts, resources and security of containers: pure parts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from podwright.api.objects import Object
from podwright.api.resources import CONFIGMAPS, Resource
from podwright.kubelet import qos
from podwright.kubelet.containers import env_files, hosts_file, resolv_conf
from podwright.kubelet.containers.command import command_and_args
from podwright.kubelet.containers.downward import DownwardFacts, field_value, resource_value
from podwright.kubelet.containers.env import EnvSources, environment
from podwright.kubelet.containers.expansion import expand, missing
from podwright.kubelet.containers.failures import ContainerFailure
from podwright.kubelet.containers.host_identity import hostname_and_domain, kernel_hostname
from podwright.kubelet.containers.resources import CgroupPolicy, container_resources, pod_resources, qos_cgroup
from podwright.kubelet.containers.security import security_context
from podwright.runtime.protocol import DnsConfig, Image, NamespaceOptions, ProfileType

from .conftest import make_container, make_pod


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("$(A)", "1"),
        ("x$(A)y$(B)", "x1y2"),
        ("$(NONE)", "$(NONE)"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$1"),
        ("$A", "$A"),
        ("$(A", "$(A"),
        ("$", "$"),
        ("a$", "a$"),
        ("$(", "$("),
    ],
)
def test_expansion(text: str, expected: str) -> None:
    assert expand(text, {"A": "1"}, {"B": "2", "A": "no"}) == expected


def test_missing_names() -> None:
    assert missing("$(A)/$(B)", {"A": "1"}) == ["B"]


def test_command_replaces_the_images() -> None:
    assert command_and_args({"command": ["$(A)"]}, {"A": "x"}) == (["x"], [])
    assert command_and_args({"args": ["y"]}, {}) == (None, ["y"])
    assert command_and_args({}, {}) == (None, None)


async def _env(
    ctr: Object, pod: Object | None = None, found: dict[str, Object] | None = None, **more: Any
) -> dict[str, str]:
    async def find(resource: Resource, namespace: str, name: str) -> Object | None:
        return (found or {}).get(f"{resource.plural}/{name}")

    return await environment(pod or make_pod("web", ctr), ctr, EnvSources(find, DownwardFacts(), **more))


async def test_a_secret_that_is_no_text_is_given_as_far_as_it_is() -> None:
    found: dict[str, Object] = {"secrets/s": {"data": {"k": "Qf/+Qg=="}}}
    ref = {"secretKeyRef": {"name": "s", "key": "k"}}
    given = await _env(make_container("main", env=[{"name": "A", "valueFrom": ref}]), found=found)
    assert given == {"A": "A\ufffd\ufffdB"}


async def test_env_from_is_under_env() -> None:
    objects = {"configmaps/c": {"data": {"A": "low", "B": "low"}}, "secrets/s": {"data": {"B": "aGlnaA=="}}}
    ctr = make_container(
        "main",
        env=[{"name": "A", "value": "own"}],
        envFrom=[{"configMapRef": {"name": "c"}}, {"secretRef": {"name": "s"}}],
    )
    assert await _env(ctr, found=objects) == {"A": "own", "B": "high"}


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ({"configMapKeyRef": {"name": "none", "key": "k"}}, 'configmap "none" not found'),
        ({"secretKeyRef": {"name": "none", "key": "k"}}, 'secret "none" not found'),
        ({"configMapKeyRef": {"name": "c", "key": "k"}}, "couldn't find key k in ConfigMap default/c"),
        ({"resourceFieldRef": {"resource": "limits.cpu", "containerName": "no"}}, "container no not found"),
    ],
)
async def test_missing_references(source: Object, complaint: str) -> None:
    ctr = make_container("main", env=[{"name": "A", "valueFrom": source}])
    with pytest.raises(ContainerFailure) as failed:
        await _env(ctr, found={"configmaps/c": {"data": {}}})
    assert str(failed.value) == complaint and failed.value.reason == "CreateContainerConfigError"
    kind, ref = next(iter(source.items()))
    if kind.endswith("KeyRef"):
        ctr["env"][0]["valueFrom"] = {kind: {**ref, "optional": True}}
        assert await _env(ctr, found={"configmaps/c": {"data": {}}}) == {}
    assert CONFIGMAPS.plural == "configmaps"


async def test_service_variables() -> None:
    services = [
        {"metadata": {"name": "kubernetes", "namespace": "default"},
         "spec": {"clusterIP": "10.96.0.1", "ports": [{"name": "https", "port": 443, "protocol": "TCP"}]}},
        {"metadata": {"name": "db", "namespace": "default"},
         "spec": {"clusterIP": "None", "ports": [{"port": 1}]}},
        {"metadata": {"name": "web", "namespace": "default"},
         "spec": {"clusterIP": "10.96.0.9", "ports": [{"port": 80, "protocol": "TCP"}]}},
    ]  # fmt: skip
    ctr = make_container("main")
    found = await _env(ctr, services=services)
    assert found["KUBERNETES_SERVICE_HOST"] == "10.96.0.1" and found["KUBERNETES_SERVICE_PORT_HTTPS"] == "443"
    assert found["WEB_PORT"] == "tcp://10.96.0.9:80" and not any(k.startswith("DB_") for k in found)
    found = await _env(ctr, make_pod("web", ctr, enableServiceLinks=False), services=services)
    assert "WEB_PORT" not in found and "KUBERNETES_SERVICE_HOST" in found


async def test_file_key(tmp_path: Path) -> None:
    (tmp_path / "f.env").write_text("# comment\nA='one'\n\nB='two\nlines'\n")
    ref = {"volumeName": "v", "path": "f.env", "key": "B"}
    ctr = make_container("main", env=[{"name": "X", "valueFrom": {"fileKeyRef": ref}}])
    assert await _env(ctr, volumes={"v": tmp_path}) == {"X": "two\nlines"}
    ref["path"] = "../x"
    with pytest.raises(ContainerFailure):
        await _env(ctr, volumes={"v": tmp_path})
    with pytest.raises(ValueError, match="invalid environment variable format"):
        env_files.parse("A=unquoted")


def test_downward_fields() -> None:
    pod = make_pod("web")
    pod["metadata"]["labels"] = {"b": "2", "a": 'say "hi"'}
    facts = DownwardFacts("node-1", ("10.0.0.1",), ("192.0.2.7",), {"memory": "1Gi", "cpu": "2"})
    assert field_value(pod, "metadata.labels", facts) == 'a="say \\"hi\\""\nb="2"'
    assert field_value(pod, "metadata.labels['b']", facts) == "2"
    assert field_value(pod, "status.podIP", facts) == "10.0.0.1"
    with pytest.raises(ValueError, match="unsupported fieldPath"):
        field_value(pod, "spec.dnsPolicy", facts)
    pod["spec"]["containers"][0]["resources"] = {"requests": {"cpu": "1500m"}}
    assert resource_value(pod, {"resource": "requests.cpu"}, facts, "main") == "2"
    assert resource_value(pod, {"resource": "requests.cpu", "divisor": "1m"}, facts, "main") == "1500"
    assert resource_value(pod, {"resource": "limits.memory", "divisor": "1Mi"}, facts, "main") == "1024"


def test_host_names() -> None:
    pod = make_pod("web", hostname="h", subdomain="sub")
    assert hostname_and_domain(pod, "cluster.local") == ("h", "sub.default.svc.cluster.local")
    assert kernel_hostname(pod, "cluster.local") == "h"
    pod["spec"]["setHostnameAsFQDN"] = True
    assert kernel_hostname(pod, "cluster.local") == "h.sub.default.svc.cluster.local"
    pod["spec"]["subdomain"] = "s" * 60
    with pytest.raises(ValueError, match="is too long"):
        kernel_hostname(pod, "cluster.local")
    text = hosts_file.content(
        make_pod("web", hostAliases=[{"ip": "1.2.3.4", "hostnames": ["x", "y"]}]), ["10.0.0.1"], "h", "d"
    )
    assert "10.0.0.1\th.d\th\n" in text and "1.2.3.4\tx\ty\n" in text


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({}, DnsConfig(["10.96.0.10"], ["default.svc.c", "svc.c", "c", "host"], ["ndots:5"])),
        ({"dnsPolicy": "Default"}, DnsConfig(["9.9.9.9"], ["host"], ["rotate"])),
        ({"hostNetwork": True}, DnsConfig(["9.9.9.9"], ["host"], ["rotate"])),
        (
            {"dnsPolicy": "None", "dnsConfig": {"nameservers": ["1.1.1.1"], "options": [{"name": "edns0"}]}},
            DnsConfig(["1.1.1.1"], [], ["edns0"]),
        ),
        (
            {"dnsConfig": {"searches": ["mine"], "options": [{"name": "ndots", "value": "2"}]}},
            DnsConfig(["10.96.0.10"], ["default.svc.c", "svc.c", "c", "host", "mine"], ["ndots:2"]),
        ),
    ],
)  # fmt: skip
def test_dns(spec: dict[str, Any], expected: DnsConfig) -> None:
    host = DnsConfig(["9.9.9.9"], ["host"], ["rotate"])
    found, complaints = resolv_conf.dns_config(make_pod("web", **spec), host, ["10.96.0.10"], "c")
    assert (list(found.servers), list(found.searches), list(found.options)) == (
        list(expected.servers), list(expected.searches), list(expected.options),
    )  # fmt: skip
    assert not complaints


def test_cgroup_settings() -> None:
    policy = CgroupPolicy(memory_capacity=1 << 30)
    resources = {
        "requests": {"cpu": "250m", "memory": "64Mi"},
        "limits": {"cpu": "500m", "memory": "128Mi", "podwright.io/disk-read-bps": "20Mi"},
    }
    pod = make_pod("web", make_container("main", resources=resources))
    pod["metadata"]["uid"] = "u"
    made = container_resources(pod, pod["spec"]["containers"][0], policy)
    assert (made.cpu_shares, made.cpu_quota, made.cpu_period) == (256, 50000, 100000)
    assert made.memory_limit == 128 << 20 and made.disk.read_bps == 20 << 20
    assert made.oom_score_adj == 1000 - 1000 * 64 // 1024
    whole = pod_resources(pod, policy)
    assert (whole.cpu_shares, whole.cpu_quota, whole.memory_limit) == (256, 50000, 128 << 20)
    assert qos_cgroup(pod, "/r/kubepods") == "/r/kubepods/burstable/podu"
    lone = make_pod("web")
    assert qos.oom_score_adj(lone, lone["spec"]["containers"][0], 1 << 30) == 1000
    made = container_resources(lone, lone["spec"]["containers"][0], policy)
    assert (made.cpu_quota, made.memory_limit, made.cpu_shares) == (0, 0, 2)
    made = container_resources(lone, lone["spec"]["containers"][0], policy, lift=True)
    assert (made.cpu_quota, made.memory_limit) == (-1, -1)


def _security(pod: Object, user: str = "") -> Any:
    image = Image("sha256:0", [], [], 1, user=user)
    return security_context(
        pod, pod["spec"]["containers"][0], image, NamespaceOptions(), seccomp_dir=Path("/nowhere"), seccomp_default=True
    )


def test_security_context_of_the_container_wins() -> None:
    pod = make_pod(
        "web",
        make_container("main", securityContext={"runAsUser": 5, "capabilities": {"add": ["CAP_NET_ADMIN"]}}),
        securityContext={"runAsUser": 4, "runAsGroup": 6, "fsGroup": 7, "supplementalGroups": [8]},
    )
    made = _security(pod)
    assert (made.run_as_user, made.run_as_group, list(made.supplemental_groups)) == (5, 6, [8, 7])
    assert list(made.capabilities_add) == ["NET_ADMIN"] and made.seccomp.type is ProfileType.RUNTIME_DEFAULT


@pytest.mark.parametrize(
    ("context", "user", "complaint"),
    [
        ({"runAsUser": 0}, "", "container's runAsUser breaks non-root policy"),
        ({}, "", "image will run as root"),
        ({}, "0:0", "image will run as root"),
        ({}, "www", r"image has non-numeric user \(www\), cannot verify user is non-root"),
        ({}, "1000", ""),
        ({"runAsUser": 3}, "", ""),
    ],
)
def test_run_as_non_root(context: Object, user: str, complaint: str) -> None:
    pod = make_pod("web", make_container("main", securityContext={**context, "runAsNonRoot": True}))
    if not complaint:
        _security(pod, user)
        return
    with pytest.raises(ContainerFailure, match=complaint):
        _security(pod, user)


@pytest.mark.parametrize(("share", "expected"), [(4096, "ä" * 2048), (3, "ä"), (2, "ä"), (1, "")])
def test_last_words_are_cut_to_their_share_but_not_within_a_letter(tmp_path: Path, share: int, expected: str) -> None:
    from podwright.kubelet import labels
    from podwright.kubelet.containers import termination_message
    from podwright.runtime.protocol import Container, ContainerState, Mount

    words = tmp_path / "words"
    words.write_text("ä" * 3000)
    container = Container(
        "c", "s", "main", 0, "i", "i", ContainerState.EXITED, 0.0,
        mounts=(Mount("/dev/termination-log", str(words)),), annotations={labels.MESSAGE_PATH: "/dev/termination-log"},
    )  # fmt: skip
    assert termination_message.read(container, share) == expected
