"""kubectl's rarer commands, as a stranger would try them; tests/e2e/test_kubectl.py has the daily ones."""

from __future__ import annotations

import base64
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.e2e.clients.widgets import (
    DEFINITION,
    FOO,
    NAME,
    OPEN_ROOT,
    OPEN_SPEC,
    WITHOUT_SCHEMA,
    published,
)
from tests.e2e.harness import Cluster, busybox, pod, until

SPACE = "stranger"


class Kubectl:
    """kubectl in one namespace."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster

    def __call__(self, *arguments: str, given: str | None = None) -> str:
        return self.cluster.kubectl("-n", SPACE, *arguments, given=given)

    def refused(self, *arguments: str, given: str | None = None) -> str:
        done = self.cluster.try_kubectl("-n", SPACE, *arguments, given=given)
        assert done.returncode != 0, done.stdout
        return done.stderr


@pytest.fixture(scope="module")
def kubectl(cluster: Cluster) -> Iterator[Kubectl]:
    cluster.kubectl("create", "namespace", SPACE)
    yield Kubectl(cluster)
    cluster.kubectl("delete", "namespace", SPACE, "--wait=false")


def listed(*items: dict[str, Any]) -> str:
    return yaml.safe_dump({"apiVersion": "v1", "kind": "List", "items": list(items)})


def config_map(name: str, **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def test_a_list_is_checked_by_the_second_openapi_document(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", given=listed(config_map("l1", a="1"), config_map("l2", a="1")))
    assert kubectl("apply", "-f", "-", given=listed(config_map("l1", a="1"))).strip() == "configmap/l1 unchanged"
    diff = kubectl.refused("diff", "-f", "-", given=listed(config_map("l1", a="2")))
    assert diff == ""
    kubectl("apply", "--server-side", "-f", "-", given=listed(config_map("l1", a="2")))
    assert kubectl("get", "cm", "l1", "-o", "jsonpath={.data.a}") == "2"
    unknown = {"apiVersion": "nope/v1", "kind": "Nope", "metadata": {"name": "x"}}
    said = kubectl.refused("apply", "-f", "-", given=listed(unknown))
    assert 'no matches for kind "Nope" in version "nope/v1"' in said
    kubectl.cluster.apply(DEFINITION)
    kubectl("wait", "--for=condition=Established", f"crd/{NAME}")
    widget: dict[str, Any] = {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "w"}}
    kubectl("apply", "-f", "-", given=listed({**widget, "spec": {"replicas": 1, "free": {"any": "thing"}}}))
    wrong = yaml.safe_dump({**widget, "spec": {"bogus": 1}})
    assert 'unknown field "spec.bogus"' in kubectl.refused("create", "--validate=strict", "-f", "-", given=wrong)
    assert "replicas\t<integer>" in kubectl("explain", "widgets.spec", "--output=plaintext-openapiv2")
    assert "initialDelaySeconds" in kubectl(
        "explain", "pods.spec.containers.livenessProbe", "--output=plaintext-openapiv2"
    )


@pytest.fixture(scope="module")
def definitions(kubectl: Kubectl) -> Iterator[None]:
    """Published with a schema, without one, open at the root, open below."""
    schemas = {"Foo": FOO, "Nothing": WITHOUT_SCHEMA, "Root": OPEN_ROOT, "Below": OPEN_SPEC}
    given = listed(*(published(kind, schema) for kind, schema in schemas.items()))
    kubectl("apply", "-f", "-", given=given)
    names = [f"crd/{kind.lower()}s.published.example.com" for kind in schemas]
    kubectl("wait", "--for=condition=Established", *names)
    yield
    kubectl("delete", *names, "--wait=false")


def custom(kind: str, **fields: Any) -> str:
    return yaml.safe_dump(
        {"apiVersion": "published.example.com/v1", "kind": kind, "metadata": {"name": "cr"}, **fields}
    )


@pytest.mark.usefixtures("definitions")
def test_a_published_schema_is_what_kubectl_checks_and_explains(kubectl: Kubectl) -> None:
    valid = custom("Foo", spec={"bars": [{"name": "test-bar"}]})
    kubectl("create", "-f", "-", given=valid)
    kubectl("delete", "foos", "cr")
    kubectl("apply", "-f", "-", given=valid)
    for command in ("create", "apply"):
        for spec, told in (
            ({"bars": [{"name": "b", "feeling": "NonExistentValue"}]}, 'Unsupported value: "NonExistentValue"'),
            ({"foo": True}, 'unknown field "spec.foo"'),
            ({"bars": [{"age": "10"}]}, "spec.bars[0].name: Required value"),
        ):
            assert told in kubectl.refused(command, "-f", "-", given=custom("Foo", spec=spec)), (command, spec)
    for path, pattern in (
        ("foos", "DESCRIPTION:.*Foo for testing.*FIELDS:.*apiVersion.*<string>.*APIVersion defines"
                 ".*spec.*<Object>.*Specification of Foo"),
        ("foos.metadata", "DESCRIPTION:.*Standard object's metadata.*FIELDS:.*creationTimestamp.*<string>"
                          ".*CreationTimestamp is a timestamp"),
        ("foos.spec", r"DESCRIPTION:.*Specification of Foo.*FIELDS:.*bars.*<\[\]Object>.*List of Bars and their specs"),
        ("foos.spec.bars", r"bars.*<\[\]Object>.*DESCRIPTION:.*List of Bars and their specs.*FIELDS:"
                           r".*bazs.*<\[\]string>.*List of Bazs.*name.*<string>.*Name of Bar"),
    ):
        shown = kubectl("explain", path)
        assert re.search(pattern, shown, re.DOTALL), shown
    assert 'field "bars2" does not exist' in kubectl.refused("explain", "foos.spec.bars2")


@pytest.mark.usefixtures("definitions")
@pytest.mark.parametrize(
    ("kind", "fields", "explained"),
    [
        ("Nothing", {"a": {"b": [{"c": "d"}]}}, "DESCRIPTION:.*<empty>"),
        ("Root", {"a": {"b": [{"c": "d"}]}}, "KIND:.*Root"),
        ("Below", {"spec": {"a": None, "b": [{"c": "d"}]}}, "DESCRIPTION:.*open below"),
    ],
)
def test_what_a_schema_leaves_open_kubectl_lets_through(
    kubectl: Kubectl, kind: str, fields: dict[str, Any], explained: str
) -> None:
    plural = kind.lower() + "s"
    kubectl("create", "-f", "-", given=custom(kind, **fields))
    kubectl("delete", plural, "cr")
    kubectl("apply", "-f", "-", given=custom(kind, **fields))
    assert re.search(explained, kubectl("explain", plural), re.DOTALL)
    assert json.loads(kubectl("get", plural, "cr", "-o", "json")).get("a") == fields.get("a")


def test_every_generator_of_create(kubectl: Kubectl) -> None:
    for command in (
        "configmap g --from-literal=a=b",
        "secret generic g --from-literal=a=b",
        "secret docker-registry gd --docker-server=x --docker-username=a --docker-password=b",
        "serviceaccount g",
        "role g --verb=get,list --resource=pods,deployments.apps",
        "rolebinding g --role=g --serviceaccount=stranger:g",
        "quota g --hard=pods=90",
        "poddisruptionbudget g --selector=app=g --min-available=1",
        "ingress g --rule=foo.com/bar*=svc:80,tls=cert",
        "service clusterip g --tcp=80:8080",
        "service nodeport gn --tcp=80",
        "service externalname ge --external-name=x.com",
        "service loadbalancer gl --tcp=80",
        "cronjob g --image=busybox:1.36 --schedule=*/5_*_*_*_* -- true",
        "job g --from=cronjob/g",
        "priorityclass stranger --value=10",
        "clusterrole stranger --verb=get --non-resource-url=/x",
        "clusterrolebinding stranger --clusterrole=stranger --user=bob",
    ):
        words = [word.replace("_", " ") for word in command.split()]
        assert kubectl("create", *words).rstrip().endswith(" created"), command
    for kind in ("priorityclass", "clusterrole", "clusterrolebinding"):
        kubectl("delete", kind, "stranger")
    assert kubectl("create", "token", "g").count(".") == 2
    assert kubectl("auth", "can-i", "list", "pods", "--as=system:serviceaccount:stranger:g").strip() == "yes"


def test_a_deployment_through_set_scale_and_rollout(kubectl: Kubectl) -> None:
    made = json.loads(kubectl("create", "deployment", "d", "--image=busybox:1.36", "--dry-run=client", "-o", "json",
                              "--", "sleep", "1000"))  # fmt: skip
    made["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = 0
    kubectl("create", "-f", "-", given=yaml.safe_dump(made))
    kubectl("expose", "deployment", "d", "--port=80")
    kubectl("autoscale", "deployment", "d", "--min=1", "--max=1", "--cpu=80%")
    kubectl("set", "env", "deployment/d", "A=B")
    kubectl("set", "resources", "deployment/d", "--limits=cpu=100m")
    kubectl("set", "serviceaccount", "deployment", "d", "default")
    kubectl("rollout", "status", "deployment/d", "--timeout=60s")
    history = kubectl("rollout", "history", "deployment/d").split()
    assert history[:3] == ["deployment.apps/d", "REVISION", "CHANGE-CAUSE"]
    assert "A:\tB" in kubectl("rollout", "history", "deployment/d", "--revision=4")
    kubectl("rollout", "undo", "deployment/d", "--to-revision=1")
    kubectl("rollout", "restart", "deployment/d")
    kubectl("rollout", "status", "deployment/d", "--timeout=60s")
    header, row = kubectl("get", "deployment", "d", "--subresource=scale").splitlines()
    assert (header.split(), row.split()[:2]) == (["NAME", "DESIRED", "AVAILABLE", "AGE"], ["d", "1"])
    kubectl("delete", "hpa", "d")
    scaled = kubectl("patch", "deployment", "d", "--subresource=scale", "--type=merge", "-p", '{"spec":{"replicas":0}}')
    assert scaled.strip() == "scale.autoscaling/d patched"
    kubectl("delete", "deployment", "d", "--cascade=orphan")
    assert kubectl("get", "rs", "-l", "app=d", "-o", "name")
    kubectl("delete", "rs", "-l", "app=d", "--cascade=foreground", "--timeout=60s")


def test_a_pod_is_labelled_copied_debugged_and_described(kubectl: Kubectl, tmp_path: Path) -> None:
    kubectl("apply", "-f", "-", given=yaml.safe_dump(pod("p", busybox("main", "sleep 1000"))))
    kubectl("wait", "--for=jsonpath={.status.phase}=Running", "pod/p", "--timeout=60s")
    kubectl("label", "pods", "--all", "x=y")
    kubectl("annotate", "pods", "--all", "note=1")
    assert "already has a value (y)" in kubectl.refused("label", "pod", "p", "x=z")
    kubectl("patch", "pod", "p", "--subresource=status", "--type=merge", "-p", '{"status":{"message":"m"}}')
    (tmp_path / "in").write_text("there and back\n")
    kubectl("cp", str(tmp_path / "in"), "p:/tmp/f")
    kubectl("cp", "p:/tmp/f", str(tmp_path / "out"))
    assert (tmp_path / "out").read_text() == "there and back\n"
    kubectl("debug", "p", "--image=busybox:1.36", "-c", "dbg", "--target=main", "--attach=false", "--", "sleep", "100")
    ephemeral = "jsonpath={.status.ephemeralContainerStatuses[0].state.running.startedAt}"
    until(lambda: kubectl("get", "pod", "p", "-o", ephemeral), "the debugger runs")
    assert "Started" in kubectl("events", "--for", "pod/p")
    assert kubectl("get", "pods", "--chunk-size=1", "--sort-by=.metadata.name", "-L", "x").splitlines()[0].endswith("X")
    kubectl("delete", "pod", "p", "--now")


def test_files_replaced_kustomized_and_reconciled(kubectl: Kubectl, tmp_path: Path) -> None:
    kubectl("create", "-f", "-", given=yaml.safe_dump(config_map("r", a="1")))
    before = kubectl("get", "cm", "r", "-o", "jsonpath={.metadata.uid}")
    kubectl("replace", "--force", "-f", "-", given=yaml.safe_dump(config_map("r", a="2")))
    assert kubectl("get", "cm", "r", "-o", "jsonpath={.metadata.uid}") != before
    (tmp_path / "cm.yaml").write_text(yaml.safe_dump(config_map("k", a="b")))
    (tmp_path / "kustomization.yaml").write_text("{resources: [cm.yaml], namePrefix: pre-}")
    kubectl("apply", "-k", str(tmp_path))
    assert kubectl("diff", "-k", str(tmp_path)) == ""
    assert yaml.safe_load(kubectl("apply", "view-last-applied", "cm/pre-k"))["data"] == {"a": "b"}
    kubectl("delete", "-k", str(tmp_path))
    role: dict[str, Any] = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": {"name": "rr", "namespace": SPACE},
        "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}],
    }
    kubectl("auth", "reconcile", "-f", "-", given=yaml.safe_dump(role))
    role["rules"][0]["verbs"] = ["list"]
    kubectl("auth", "reconcile", "-f", "-", given=yaml.safe_dump(role))
    assert json.loads(kubectl("get", "role", "rr", "-o", "json"))["rules"][0]["verbs"] == ["get"]


def test_a_certificate_is_approved_and_issued(kubectl: Kubectl) -> None:
    asked = subprocess.run(
        ["openssl", "req", "-new", "-newkey", "rsa:2048", "-nodes", "-keyout", "/dev/null", "-subj", "/CN=x/O=dev"],
        check=True, capture_output=True,
    ).stdout  # fmt: skip
    request = {
        "apiVersion": "certificates.k8s.io/v1",
        "kind": "CertificateSigningRequest",
        "metadata": {"name": "stranger"},
        "spec": {
            "request": base64.b64encode(asked).decode(),
            "signerName": "kubernetes.io/kube-apiserver-client",
            "usages": ["client auth"],
        },
    }
    kubectl("create", "-f", "-", given=yaml.safe_dump(request))
    kubectl("certificate", "approve", "stranger")
    until(lambda: "Approved,Issued" in kubectl("get", "csr", "stranger"), "the certificate")
    assert "is already Approved" in kubectl.refused("certificate", "deny", "stranger")
    kubectl("delete", "csr", "stranger")
