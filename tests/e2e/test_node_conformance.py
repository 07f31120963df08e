"""The rows of sig-node in the conformance list, on one real node. Rows that need only a Pod which says what it sees are
in `LOOKS`; the others are functions. All of them run at once; each test then waits for one."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest
from tests.e2e.conformance import STRATEGIC, Api, Json, Rows, lifecycle
from tests.e2e.conftest import FAST_RESTARTS
from tests.e2e.harness import Cluster, busybox, has_condition, until
from tests.e2e.node_pods import (
    STAY,
    Listener,
    ended,
    env,
    execute,
    fetch,
    field_env,
    health_service,
    listening,
    log_of,
    make,
    message,
    ready,
    refused,
    restarted,
    spoken,
    status_of,
    stay,
    untouched,
    web,
)
from tests.e2e.node_walk import walk

FLAGS = FAST_RESTARTS
SAY = "/dev/termination-log"
NGINX = "docker.io/library/nginx:1.22"

row = Rows()
Outcomes = dict[str, Future[None]]


# -- Pods that look around ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Look:
    """A row: what the container does (its output is what it says), and the pattern that this must match. `container` is
    merged into the container, `spec` into the Pod. Without a script the image's own command runs, as far as
    `container` says, and its log is what it says."""

    script: str | None
    expect: str
    container: Json = field(default_factory=dict)
    spec: Json = field(default_factory=dict)
    phase: str = "Succeeded"

    def pod(self, name: str) -> Json:
        container: Json = {"name": "main", "image": "busybox:1.36", **self.container}
        if self.script is not None:
            container["command"] = ["sh", "-c", f"{{ {self.script}; }} > {SAY} 2>&1"]
        spec = {"restartPolicy": "Never", "containers": [container], "automountServiceAccountToken": False, **self.spec}
        return {"kind": "Pod", "metadata": {"name": name}, "spec": spec}


def resource_env(resources: Json | None = None) -> Json:
    names = {"CL": "limits.cpu", "ML": "limits.memory", "CR": "requests.cpu", "MR": "requests.memory"}
    found = env(**{name: {"resourceFieldRef": {"resource": resource}} for name, resource in names.items()})
    return {**found, "resources": resources or {}}


def as_user(**context: Any) -> Json:
    return {"securityContext": context}


def sub_path(expression: str, **more: Any) -> Json:
    return {
        **env(**more), "volumeMounts": [
            {"name": "v", "mountPath": "/whole"}, {"name": "v", "mountPath": "/part", "subPathExpr": expression},
        ],
    }  # fmt: skip


EMPTY_DIR = {"volumes": [{"name": "v", "emptyDir": {}}]}
SIZES = {"requests": {"cpu": "250m", "memory": "32Mi"}, "limits": {"cpu": "1250m", "memory": "64Mi"}}
CGI = "/w/cgi-bin/record"
SAY_SIZES = 'echo "$CL $ML $CR $MR"'
STATUS = "grep -E 'NoNewPrivs|CapEff' /proc/self/status"

LOOKS: dict[str, Look] = {
    "ConfigMap, from environment field": Look(
        "echo $V", "^value-1$", env(V={"configMapKeyRef": {"name": "one", "key": "data-1"}})
    ),
    "ConfigMap, from environment variables": Look(
        "echo $p_one $p_two", "^1 2$", {"envFrom": [{"prefix": "p_", "configMapRef": {"name": "plain"}}]}
    ),
    "Secrets, pod environment field": Look(
        "echo $V", "^value-1$", env(V={"secretKeyRef": {"name": "one", "key": "data-1"}})
    ),
    "Secrets, pod environment from source": Look(
        "echo $p_one $p_two", "^1 2$", {"envFrom": [{"prefix": "p_", "secretRef": {"name": "plain"}}]}
    ),
    "Container Runtime, TerminationMessage, from file of succeeding container": Look(
        None, "^OK$",
        {"command": ["sh", "-c", f"printf OK > {SAY}; echo DONE"], "terminationMessagePolicy": "FallbackToLogsOnError"},
    ),
    "Container Runtime, TerminationMessagePath, non-root user and non-default path": Look(
        None, "^by 10000$",
        {**as_user(runAsUser=10000), "terminationMessagePath": "/dev/custom",
         "command": ["sh", "-c", "printf 'by %s' $(id -u) > /dev/custom"]},
    ),
    "Containers, with arguments": Look(None, "nginx version: nginx/1.22", {"image": NGINX, "args": ["-V"]}),
    "Containers, with command": Look(None, "^[0-9]+$", {"image": NGINX, "command": ["id", "-u"]}),
    "Containers, with command and arguments": Look(
        None, "^of the Pod$", {"image": NGINX, "command": ["echo"], "args": ["of", "the", "Pod"]}
    ),
    "DownwardAPI, environment for CPU and memory limits and requests": Look(
        SAY_SIZES, "^2 67108864 1 33554432$", resource_env(SIZES)
    ),
    "DownwardAPI, environment for default CPU and memory limits and requests": Look(
        SAY_SIZES, "^CPU MEMORY 0 0$", resource_env()
    ),
    "DownwardAPI, environment for Pod UID": Look("echo $V", "^UID$", field_env(V="metadata.uid")),
    "DownwardAPI, environment for host ip": Look(
        "echo $V $ALL", "^HOSTIP HOSTIP$", field_env(V="status.hostIP", ALL="status.hostIPs")
    ),
    "DownwardAPI, environment for name, namespace and ip": Look(
        "echo $N $S $IP", "^NAME looks PODIP$",
        field_env(N="metadata.name", S="metadata.namespace", IP="status.podIP"),
    ),
    "Environment variables, command argument expansion": Look(
        None, "^value-1;;value-1$", {"command": ["echo"], "args": ["$(A);;$(A)"], **env(A="value-1")}
    ),
    "Environment variables, command expansion": Look(
        None, "^value-1$", {"command": ["sh", "-c", "echo $(A)"], **env(A="value-1")}
    ),
    "Environment variables, expansion": Look(
        "echo $C", "^foo;;bar;;\\$\\(A\\);;\\$\\(NONE\\)$", env(A="foo", B="bar", C="$(A);;$(B);;$$(A);;$(NONE)")
    ),
    "Kubelet, failed pod, terminated reason": Look(
        "false; exit 1", "^$", phase="Failed", spec={"terminationGracePeriodSeconds": 0}
    ),
    "Kubelet, hostAliases": Look(
        "cat /etc/hosts", "123.45.67.89\tfoo\tbar",
        spec={"hostAliases": [{"ip": "123.45.67.89", "hostnames": ["foo", "bar"]}]},
    ),
    "Kubelet, log output, default": Look(None, "^out\nerr$", {"command": ["sh", "-c", "echo out; echo err >&2"]}),
    "Kubelet, pod with read only root file system": Look(
        None, "^/bin/sh: can't create /file: Read-only file system$",
        {**as_user(readOnlyRootFilesystem=True), "command": ["/bin/sh", "-c", "echo test > /file; true"]},
    ),
    "Security Context, readOnlyRootFilesystem=false.": Look(
        "echo yes > /file; cat /file", "^yes$", as_user(readOnlyRootFilesystem=False)
    ),
    "Security Context, allowPrivilegeEscalation=false.": Look(
        f"id -u; {STATUS}", "^1000\nCapEff:\t0000000000000000\nNoNewPrivs:\t1$",
        as_user(runAsUser=1000, allowPrivilegeEscalation=False),
    ),
    "Security Context, privileged=false.": Look(
        None, "Operation not permitted",
        {**as_user(privileged=False), "command": ["sh", "-c", "ip link add dummy0 type dummy || true"]},
    ),
    "Security Context, runAsUser=65534": Look("id -u", "^65534$", as_user(runAsUser=65534)),
    "Security Context, test RunAsGroup at container level": Look(
        "id", "uid=1001 gid=2002", as_user(runAsUser=1001, runAsGroup=2002)
    ),
    "Security Context, test RunAsGroup at pod level": Look(
        "id", "uid=1001 gid=2002", spec=as_user(runAsUser=1001, runAsGroup=2002)
    ),
    "Sysctl, test sysctls": Look(
        "cat /proc/sys/kernel/shm_rmid_forced", "^1$",
        spec=as_user(sysctls=[{"name": "kernel.shm_rmid_forced", "value": "1"}]),
    ),
    "VolumeSubpathEnvExpansion, subpath expansion": Look(
        "test -d /whole/NAME && mount | grep -c ' /part '", "^1$",
        sub_path("$(N)", N={"fieldRef": {"fieldPath": "metadata.name"}}), EMPTY_DIR,
    ),
    "Pods, service environment variables": Look(
        "echo $FOOSERVICE_SERVICE_HOST $FOOSERVICE_SERVICE_PORT $FOOSERVICE_PORT; "
        "echo $FOOSERVICE_PORT_8765_TCP_PORT $FOOSERVICE_PORT_8765_TCP_PROTO $FOOSERVICE_PORT_8765_TCP "
        "$FOOSERVICE_PORT_8765_TCP_ADDR",
        r"^(IP) 8765 tcp://\1:8765\n8765 tcp tcp://\1:8765 \1$".replace("IP", r"[0-9.]+"),
    ),
}


def _name(key: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", key.lower()).strip("-")[:60].strip("-")


def _looks(cluster: Cluster) -> Api:
    """All of them under way."""
    api = Api(cluster, "looks")
    api.create({"kind": "Namespace", "metadata": {"name": "looks"}})
    for kind, field_name in (("ConfigMap", "data"), ("Secret", "stringData")):
        for name, data in (("plain", {"one": "1", "two": "2"}), ("one", {"data-1": "value-1"})):
            api.create({"kind": kind, "metadata": {"name": name}, field_name: data})
    api.create({"kind": "Service", "metadata": {"name": "fooservice"},
                "spec": {"ports": [{"port": 8765, "targetPort": 8080}], "selector": {"name": "server"}}})  # fmt: skip
    until(lambda: api.answer("GET", "/api/v1/namespaces/looks/serviceaccounts/default").ok, "the account")
    for key, look in LOOKS.items():
        made = json.loads(json.dumps(look.pod(_name(key))).replace("/NAME", f"/{_name(key)}"))
        api.create(made)
    return api


@pytest.fixture(scope="module")
def looks(cluster: Cluster) -> Api:
    return _looks(cluster)


@pytest.mark.parametrize("key", sorted(LOOKS))
def test_look(cluster: Cluster, looks: Api, outcomes: Outcomes, walked: Outcomes, key: str) -> None:
    look, name = LOOKS[key], _name(key)
    done = looks.until("Pod", name, lambda p: p["status"]["phase"] in ("Succeeded", "Failed"))
    status = done["status"]["containerStatuses"][0]["state"]["terminated"]
    assert done["status"]["phase"] == look.phase, status
    assert status["reason"] == ("Completed" if look.phase == "Succeeded" else "Error")
    said = status.get("message", "")
    if look.script is None and not said:
        said = looks.answer("GET", looks.path("Pod", name, "log")).text
    allocatable = cluster.get("node", "node-1")["status"]["allocatable"]
    facts = {
        "UID": done["metadata"]["uid"], "HOSTIP": done["status"]["hostIP"], "NAME": name,
        "PODIP": done["status"].get("podIP", ""), "CPU": allocatable["cpu"],
        "MEMORY": str(int(allocatable["memory"].removesuffix("Ki")) * 1024),
    }  # fmt: skip
    expect = re.sub(r"\b(" + "|".join(facts) + r")\b", lambda m: facts[m[1]], look.expect)
    assert re.search(expect, said.strip(), re.DOTALL), said


# -- the API alone --------------------------------------------------------------------------------------------------


@row("ConfigMap lifecycle")
def config_map_lifecycle(api: Api) -> None:
    lifecycle(api, {"kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"a": "1"}}, {"data": {"a": "2", "b": "3"}})


@row("Secret patching")
def secret_patching(api: Api) -> None:
    lifecycle(api, {"kind": "Secret", "metadata": {"name": "s"}, "data": {"a": "MQ=="}}, {"data": {"a": "Mg=="}})
    api.create({"kind": "Secret", "metadata": {"name": "patched", "labels": {"l": "1"}}, "data": {"key": "dmFsdWU="}})
    new = base64.b64encode(b"value1").decode()
    api.patch("Secret", "patched", {"metadata": {"labels": {"l": "2"}}, "data": {"key": new}}, content_type=STRATEGIC)
    (found,) = [s for s in api.list("Secret", "l=2", everywhere=True) if s["metadata"]["namespace"] == api.namespace]
    assert found["data"] == {"key": new}
    api.delete_all("Secret", "l=2")
    assert not api.list("Secret", "l=2")


@row("ConfigMap, with empty-key")
def config_map_empty_key(api: Api) -> None:
    made = {"kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"": "value"}}
    assert "data[]" in refused(422, lambda: api.create(made))


@row("Secrets, with empty-key")
def secret_empty_key(api: Api) -> None:
    made = {"kind": "Secret", "metadata": {"name": "c"}, "data": {"": "dmFsdWU="}}
    assert "data[]" in refused(422, lambda: api.create(made))


def template(name: str, value: str = "1") -> Json:
    inside = {"metadata": {"labels": {"value": value}}, "spec": {"containers": [{"name": "c", "image": "x"}]}}
    return {"kind": "PodTemplate", "metadata": {"name": name, "labels": {"set": "yes"}}, "template": inside}


@row("PodTemplate lifecycle")
def pod_template_lifecycle(api: Api) -> None:
    lifecycle(api, template("t"), {"template": {"metadata": {"labels": {"value": "2"}}}})


@row("PodTemplate, delete a collection")
def pod_template_collection(api: Api) -> None:
    for name in ("a", "b", "c"):
        api.create(template(name))
    assert len(api.list("PodTemplate", "set=yes")) == 3
    api.delete_all("PodTemplate", "set=yes")
    assert not api.list("PodTemplate", "set=yes")


@row("PodTemplate, replace")
def pod_template_replace(api: Api) -> None:
    api.create(template("a"))
    api.update("PodTemplate", "a", lambda t: t["metadata"].update(annotations={"updated": "true"}))
    assert api.get("PodTemplate", "a")["metadata"]["annotations"] == {"updated": "true"}


@row("lease API should be available")
def leases(api: Api) -> None:
    """Upstream's times lie in the year 1."""

    def spec(holder: str, seconds: int) -> Json:
        acquired, renewed = (f"0001-01-01T00:0{minute}:{seconds}.000000Z" for minute in (0, 1))
        times = {"acquireTime": acquired, "renewTime": renewed}
        return {"holderIdentity": holder, "leaseDurationSeconds": seconds, "leaseTransitions": seconds, **times}

    made = {"kind": "Lease", "metadata": {"name": "l"}, "spec": spec("holder", 10)}
    lifecycle(api, made, {"spec": {"holderIdentity": "other"}})
    api.create({**made, "metadata": {"name": "kept"}})
    assert api.get("Lease", "kept")["spec"] == spec("holder", 10)
    api.update("Lease", "kept", lambda lease: lease.update(spec=spec("holder2", 20)))
    assert api.get("Lease", "kept")["spec"] == spec("holder2", 20)
    api.patch("Lease", "kept", {"spec": spec("holder3", 30)}, content_type=STRATEGIC)
    assert api.get("Lease", "kept")["spec"] == spec("holder3", 30)
    api.create({**made, "metadata": {"name": "taken", "labels": {"deletecollection": "true"}}})
    assert len(api.list("Lease")) == 2
    api.delete_all("Lease", "deletecollection=true")
    assert [lease["metadata"]["name"] for lease in api.list("Lease")] == ["kept"]


@row("RuntimeClass API")
def runtime_class_api(api: Api) -> None:
    made = {"kind": "RuntimeClass", "metadata": {"name": "rc"}, "handler": "h"}
    lifecycle(api, made, {"metadata": {"annotations": {"more": "1"}}})
    twice = {"kind": "RuntimeClass", "metadata": {"name": "twice"}, "handler": "h"}
    api.create(twice)
    refused(409, lambda: api.create(twice))
    api.delete("RuntimeClass", "twice")
    invalid = {"kind": "RuntimeClass", "metadata": {"name": "rc2"}, "handler": "NOT A HANDLER"}
    refused(422, lambda: api.create(invalid))


@row("Node, resource lifecycle")
def node_lifecycle(api: Api) -> None:
    made = {"kind": "Node", "metadata": {"name": "fake-node", "labels": {"fake": "1"}}, "spec": {"unschedulable": True},
            "status": {"phase": "Running"}}  # fmt: skip
    api.create(made)
    assert api.get("Node", "fake-node")["metadata"]["uid"]
    api.patch("Node", "fake-node", {"metadata": {"labels": {"fake": "patched"}}}, content_type=STRATEGIC)
    (found,) = api.list("Node", "fake=patched")
    assert found["metadata"]["name"] == "fake-node"
    api.update("Node", "fake-node", lambda n: n["metadata"]["labels"].update(fake="updated"))
    assert api.list("Node", "fake=updated")
    api.delete_all("Node", "fake=updated")
    api.gone("Node", "fake-node")


# -- RuntimeClass and what is refused -------------------------------------------------------------------------------


def runtime_class(api: Api, name: str, **more: Any) -> str:
    api.create({"kind": "RuntimeClass", "metadata": {"name": name}, "handler": "test-handler", **more})
    return name


@row("Pod with the non-existing RuntimeClass is rejected.")
def no_runtime_class(api: Api) -> None:
    said = refused(403, lambda: api.create(make("p", stay(), runtimeClassName="never-was")))
    assert 'RuntimeClass "never-was" not found' in said


@row("Pod with the deleted RuntimeClass is rejected.")
def deleted_runtime_class(api: Api) -> None:
    api.delete("RuntimeClass", runtime_class(api, "deleted-class"))
    made = {"apiVersion": "v1", **make("p", stay(), runtimeClassName="deleted-class")}
    until(lambda: api.answer("POST", api.path("Pod"), made, params={"dryRun": "All"}).status_code == 403)


@row("Can schedule a pod requesting existing RuntimeClass.")
def existing_runtime_class(api: Api) -> None:
    name = runtime_class(api, "no-such-handler")
    until(lambda: api.create(make("p", stay(), runtimeClassName=name)))
    scheduled = api.until("Pod", "p", lambda p: has_condition(p, "PodScheduled"))
    assert scheduled["spec"]["nodeName"] == "node-1" and not scheduled["spec"].get("overhead")

    def told() -> bool:
        events = [e for e in api.list("Event") if e["reason"] == "FailedCreatePodSandBox"]
        assert 'no runtime for "test-handler" is configured' in events[0]["message"]
        return True

    until(told, "the missing handler is told")
    assert api.get("Pod", "p")["status"]["phase"] == "Pending"
    api.delete("RuntimeClass", name)


@row("RuntimeClass Overhead field must be respected.")
def overhead(api: Api) -> None:
    fixed = {"cpu": "10m", "memory": "1Mi"}
    name = runtime_class(api, "with-overhead", overhead={"podFixed": fixed})
    api.create(make("p", stay(), runtimeClassName=name))
    assert api.until("Pod", "p", lambda p: has_condition(p, "PodScheduled"))["spec"]["overhead"] == fixed
    api.delete("RuntimeClass", name)


@row("Sysctls, reject invalid sysctls")
def invalid_sysctls(api: Api) -> None:
    names = ("foo-", "kernel.shmmax", "safe-and-unsafe", "bar..")
    context = {"sysctls": [{"name": n, "value": "1"} for n in names]}
    said = refused(422, lambda: api.create(make("p", stay(), securityContext=context)))
    assert 'Invalid value: "foo-"' in said and 'Invalid value: "bar.."' in said
    assert "kernel.shmmax" not in said and "safe-and-unsafe" not in said


# -- restarts, last words -------------------------------------------------------------------------------------------


@row("Container Runtime, Restart Policy, Pod Phases")
def restart_policies(api: Api) -> None:
    count = "n=$(cat /v/n 2>/dev/null || echo 0); echo $((n+1)) > /v/n;"
    mount = {"volumeMounts": [{"name": "v", "mountPath": "/v"}]}
    cases = {
        "always": ("Always", f"{count} [ $n -ge 2 ] && {{ {STAY}; }}; exit $n"),
        "on-failure": ("OnFailure", f"{count} [ $n -ge 1 ]"),
        "never": ("Never", f"{count} exit 1"),
    }
    volumes = [{"name": "v", "emptyDir": {"medium": "Memory"}}]
    for name, (policy, script) in cases.items():
        api.create(make(name, stay(command=script, **mount), restartPolicy=policy, volumes=volumes))
    running = api.until("Pod", "always", lambda p: has_condition(p, "Ready") and status_of(p)["restartCount"] == 2)
    assert running["status"]["phase"] == "Running" and "running" in status_of(running)["state"]
    succeeded = ended(api, "on-failure")
    assert status_of(succeeded)["restartCount"] == 1 and not has_condition(succeeded, "Ready")
    failed = ended(api, "never", "Failed")
    assert status_of(failed)["restartCount"] == 0
    assert status_of(failed)["state"]["terminated"]["exitCode"] == 1 and not has_condition(failed, "Ready")
    for name in cases:
        api.delete("Pod", name), api.gone("Pod", name)


@row("Container Runtime, TerminationMessage, from container's log output of failing container")
def words_of_failure(api: Api) -> None:
    fallback = {"terminationMessagePolicy": "FallbackToLogsOnError"}
    api.create(make("p", stay(command="echo TO; echo -n DONE; exit 1", **fallback), restartPolicy="Never"))
    assert message(ended(api, "p", "Failed")) == "TO\nDONE"


@row("Container Runtime, TerminationMessage, from log output of succeeding container")
def words_of_success(api: Api) -> None:
    fallback = {"terminationMessagePolicy": "FallbackToLogsOnError"}
    api.create(make("p", stay(command="echo -n DONE", **fallback), restartPolicy="Never"))
    assert message(ended(api, "p")) == ""


@row("Containers, without command and arguments")
def image_defaults(api: Api) -> None:
    probe = {"httpGet": {"port": 80, "path": "/"}, "periodSeconds": 1}
    api.create(make("p", {"name": "main", "image": NGINX, "readinessProbe": probe}))
    ready(api, "p")


@row("Kubelet, failed pod, delete")
def failed_pod_delete(api: Api) -> None:
    api.create(make("p", stay(command="false")))
    restarted(api, "p")
    api.delete("Pod", "p")
    api.gone("Pod", "p")


@row("Kubelet, managed etc hosts")
def managed_hosts(api: Api) -> None:
    look = f"{{ head -1 /etc/hosts; cmp -s /etc/hosts /original && echo same; }} > {SAY}; true"
    original, own = ({"name": "h", "mountPath": path} for path in ("/original", "/etc/hosts"))
    mounts = {"volumeMounts": [original]}
    pod = {"volumes": [{"name": "h", "hostPath": {"path": "/etc/hosts", "type": "File"}}], "restartPolicy": "Never"}
    api.create(make("own", stay("one", look, **mounts), stay("two", look, **mounts),
                    stay("three", look, volumeMounts=[original, own]), **pod))  # fmt: skip
    api.create(make("host", stay("one", look, **mounts), hostNetwork=True, **pod))
    managed = "# Kubernetes-managed hosts file.\n"
    done = ended(api, "own")
    assert message(done, "one") == message(done, "two") == managed
    assert message(done, "three").endswith("same\n")
    assert message(ended(api, "host"), "one") == "# Kubernetes-managed hosts file (host network).\n"


@row("VolumeSubpathEnvExpansion, subpath ready from failed state")
def sub_path_heals(api: Api) -> None:
    look = sub_path("$(A)/$(N)", A={"fieldRef": {"fieldPath": "metadata.annotations['mysubpath']"}},
                    N={"fieldRef": {"fieldPath": "metadata.name"}})  # fmt: skip
    api.create(make("p", stay(**look), **EMPTY_DIR))
    api.until("Pod", "p", lambda p: "waiting" in status_of(p)["state"]
              and status_of(p)["state"]["waiting"]["reason"] == "CreateContainerConfigError")  # fmt: skip
    api.patch("Pod", "p", {"metadata": {"annotations": {"mysubpath": "mypath"}}})
    ready(api, "p")


@row("VolumeSubpathEnvExpansion, subpath test writes")
def sub_path_writes(api: Api) -> None:
    """What the path is made of may change: the volume is cleared away all the same."""
    look = sub_path("$(A)/$(N)", A={"fieldRef": {"fieldPath": "metadata.annotations['mysubpath']"}}, N="foo")
    made = make("p", stay(**look), **EMPTY_DIR)
    made["metadata"]["annotations"] = {"mysubpath": "mypath"}
    api.create(made)
    ready(api, "p")
    execute(api, "p", "touch", "/whole/mypath/foo/test.log")
    assert execute(api, "p", "ls", "/part") == "test.log\n"
    api.update("Pod", "p", lambda p: p["metadata"]["annotations"].update(mysubpath="mynewpath"))
    untouched(api, "p", 0.5)
    ready(api, "p"), api.delete("Pod", "p"), api.gone("Pod", "p")


def stays_out(api: Api, value: str) -> None:
    api.create(make("p", stay(**sub_path("$(N)", N=value)), **EMPTY_DIR))
    found = api.until("Pod", "p", lambda p: "message" in status_of(p)["state"].get("waiting", {}))
    assert status_of(found)["state"]["waiting"]["reason"] == "CreateContainerConfigError"
    assert found["status"]["phase"] == "Pending"


@row("VolumeSubpathEnvExpansion, subpath with absolute path")
def sub_path_absolute(api: Api) -> None:
    stays_out(api, "/tmp")


@row("VolumeSubpathEnvExpansion, subpath with backticks")
def sub_path_backticks(api: Api) -> None:
    stays_out(api, "..")


# -- probes and hooks -----------------------------------------------------------------------------------------------


def probe(handler: Json, **more: Any) -> Json:
    return {**handler, "periodSeconds": 1, "failureThreshold": 1, **more}


HEALTHZ = {"httpGet": {"path": "/healthz", "port": 8080}}
CAT = {"exec": {"command": ["cat", "/tmp/health"]}}


def alive(command: str, handler: Json, **more: Any) -> Json:
    return make("p", stay(command=command, livenessProbe=probe(handler, **more)))


@row("Pod liveness probe, using local file, restart")
def liveness_file(api: Api) -> None:
    api.create(alive(f"touch /tmp/health; sleep 1; rm /tmp/health; {STAY}", CAT, initialDelaySeconds=1))
    restarted(api, "p")


@row("Pod liveness probe, using local file, no restart")
def liveness_file_stays(api: Api) -> None:
    api.create(alive(f"touch /tmp/health; {STAY}", CAT, initialDelaySeconds=1))
    ready(api, "p"), untouched(api, "p")


@row("Pod liveness probe, using http endpoint, restart")
def liveness_http(api: Api) -> None:
    api.create(alive(web(2), HEALTHZ, initialDelaySeconds=1))
    restarted(api, "p")
    assert "Unhealthy" in until(lambda: (r := api.reasons("p")) & {"Unhealthy"} and r)


@row("Pod liveness probe, using http endpoint, failure")
def liveness_http_stays(api: Api) -> None:
    api.create(alive(web(), HEALTHZ, initialDelaySeconds=1))
    ready(api, "p"), untouched(api, "p")


@row("Pod liveness probe, using http endpoint, multiple restarts (slow)")
def liveness_again(api: Api) -> None:
    api.create(alive(web(), {"httpGet": {"path": "/missing", "port": 8080}}))
    seen = [0]

    def five(pod: Json) -> bool:
        count = status_of(pod)["restartCount"]
        assert count >= seen[0]
        seen[0] = count
        return bool(count >= 5)

    api.until("Pod", "p", five, "five restarts, counted upwards")


@row("Pod liveness probe, using tcp socket, no restart")
def liveness_tcp(api: Api) -> None:
    api.create(alive(web(1), {"tcpSocket": {"port": 8080}}, initialDelaySeconds=1))
    ready(api, "p"), untouched(api, "p", 4)


@row("Pod liveness probe, using grpc call, success")
def liveness_grpc(api: Api) -> None:
    with health_service() as port:
        made = alive(STAY, {"grpc": {"port": port}})
        made["spec"]["hostNetwork"] = True
        api.create(made)
        ready(api, "p"), untouched(api, "p")


@row("Pod liveness probe, using grpc call, failure")
def liveness_grpc_fails(api: Api) -> None:
    api.create(alive(web(), {"grpc": {"port": 2333}}))
    restarted(api, "p")


@row("Pod readiness probe, failure")
def readiness_fails(api: Api) -> None:
    api.create(make("p", stay(readinessProbe=probe({"exec": {"command": ["false"]}}))))
    api.until("Pod", "p", lambda p: "running" in status_of(p)["state"])
    untouched(api, "p")
    found = api.get("Pod", "p")
    assert has_condition(found, "Ready", "False") and not status_of(found)["ready"]


@row("Pod readiness probe, with initial delay")
def readiness_delay(api: Api) -> None:
    api.create(make("p", stay(readinessProbe=probe({"exec": {"command": ["true"]}}, initialDelaySeconds=3))))
    api.until("Pod", "p", lambda p: "running" in status_of(p)["state"])
    found = ready(api, "p")
    started = datetime.fromisoformat(status_of(found)["state"]["running"]["startedAt"])
    turned = next(c["lastTransitionTime"] for c in found["status"]["conditions"] if c["type"] == "Ready")
    assert datetime.fromisoformat(turned) - started >= timedelta(seconds=2)  # Both are cut to whole seconds.
    assert status_of(found)["restartCount"] == 0


@row("Pod Lifecycle, post start exec hook")
def post_start_exec(api: Api) -> None:
    with listening() as listener:
        api.create(make("p", stay(lifecycle={"postStart": {"exec": {"command": fetch(listener, "/post-start")}}},
                                  **field_env(HOST="status.hostIP"))))  # fmt: skip
        listener.heard("/post-start")
        ready(api, "p")


def hooked(listener: Listener, when: str) -> Json:
    """A Pod with a hook by HTTP at its own address, where a sidecar tells the listener of it."""
    serve = (
        f"mkdir -p /w/cgi-bin; echo up > /w/up; cat > {CGI} << 'END'\n"
        f"#!/bin/sh\nwget -qO- http://$HOST:{listener.port}/$QUERY_STRING; echo; echo ok\nEND\n"
        f"chmod +x {CGI}; httpd -p 8080 -h /w; {STAY}"
    )
    probe = {"httpGet": {"path": "/up", "port": 8080}, "periodSeconds": 1}
    redirect = stay("redirect", serve, restartPolicy="Always", startupProbe=probe, **field_env(HOST="status.hostIP"))
    hook = {when: {"httpGet": {"path": f"/cgi-bin/record?{when}", "port": 8080}}}
    return make("p", stay(lifecycle=hook), initContainers=[redirect], terminationGracePeriodSeconds=15)


@row("Pod Lifecycle, post start http hook")
def post_start_http(api: Api) -> None:
    with listening() as listener:
        api.create(hooked(listener, "postStart"))
        listener.heard("/postStart")
        ready(api, "p")


@row("Pod Lifecycle, prestop exec hook")
def pre_stop_exec(api: Api) -> None:
    with listening() as listener:
        command = fetch(listener, "/pre-stop")
        hooks = {"preStop": {"exec": {"command": command}}}
        main = stay(lifecycle=hooks, **field_env(HOST="status.hostIP"))
        api.create(make("p", main, terminationGracePeriodSeconds=15))
        ready(api, "p")
        api.delete("Pod", "p")
        listener.heard("/pre-stop")
        api.gone("Pod", "p")


@row("Pod Lifecycle, prestop http hook")
def pre_stop_http(api: Api) -> None:
    with listening() as listener:
        api.create(hooked(listener, "preStop"))
        ready(api, "p")
        api.delete("Pod", "p")
        listener.heard("/preStop")
        api.gone("Pod", "p")


@row("Pods, prestop hook")
def pre_stop_between_pods(api: Api) -> None:
    """A server Pod keeps a record of the calls; the other Pod's hook is one."""
    script = "#!/bin/sh\\necho called >> /calls; echo; echo ok\\n"
    serve = f"mkdir -p /w/cgi-bin; printf '{script}' > {CGI}; chmod +x {CGI}; httpd -p 8080 -h /w; {STAY}"
    api.create(make("server", stay(command=serve)))
    ip = ready(api, "server")["status"]["podIP"]
    hooks = {"preStop": {"exec": {"command": ["wget", "-qO-", f"http://{ip}:8080/cgi-bin/record"]}}}
    api.create(make("tester", stay(lifecycle=hooks), terminationGracePeriodSeconds=15))
    ready(api, "tester")
    api.delete("Pod", "tester")
    api.gone("Pod", "tester")
    assert execute(api, "server", "cat", "/calls") == "called\n"


# -- init and ephemeral containers ----------------------------------------------------------------------------------


def with_inits(policy: str, *inits: str, main: str = STAY) -> Json:
    made = [busybox(f"init{i}", script) for i, script in enumerate(inits, 1)]
    return make("p", stay(command=main), initContainers=made, restartPolicy=policy)


def observed(api: Api, made: Json, reached: Callable[[Json], bool], *waiting: str) -> Json:
    """The Pod, made and watched until that. At no moment were these containers anything but waiting for the
    initialization, as others are until it is over, which the condition says then and no earlier."""
    with api.watch("Pod", "name=p", api.create(made)["metadata"]["resourceVersion"]) as following:
        while True:
            pod = following("MODIFIED")
            if not (inits := pod["status"].get("initContainerStatuses")):
                continue
            succeeded = [s["ready"] for s in inits if s["state"].get("terminated", {}).get("exitCode") == 0]
            over = succeeded == [True] * len(inits)
            assert has_condition(pod, "Initialized", str(over)), pod["status"]
            for name in waiting if over else (*waiting, "main"):
                status = status_of(pod, name)
                assert status["state"] == {"waiting": {"reason": "PodInitializing"}} and not status["restartCount"]
            if reached(pod):
                return pod


def not_initialized(pod: Json, *names: str) -> None:
    condition = next(c for c in pod["status"]["conditions"] if c["type"] == "Initialized")
    assert condition["status"] == "False" and condition["reason"] == "ContainersNotInitialized"
    assert condition["message"] == f"containers with incomplete status: [{' '.join(names)}]"


def inits_done(pod: Json) -> None:
    assert has_condition(pod, "Initialized") and len(pod["status"]["initContainerStatuses"]) == 2
    for status in pod["status"]["initContainerStatuses"]:
        assert status["ready"] and status["state"]["terminated"]["reason"] == "Completed"


@row("init-container-starts-app-restartalways-pod")
def inits_then_app(api: Api) -> None:
    made = with_inits("Always", "true", "true")
    inits_done(observed(api, made, lambda p: p["status"]["phase"] == "Running" and has_condition(p, "Ready")))


@row("init-container-starts-app-restartnever-pod")
def inits_then_app_once(api: Api) -> None:
    made = with_inits("Never", "true", "true", main="true")
    done = observed(api, made, lambda p: p["status"]["phase"] == "Succeeded")
    inits_done(done)
    assert status_of(done)["state"]["terminated"]["exitCode"] == 0 == status_of(done)["restartCount"]


@row("init-container-fails-stops-app-restartalways-pod")
def init_fails_again_and_again(api: Api) -> None:
    made = with_inits("Always", "false", "true")
    found = observed(api, made, lambda p: status_of(p, "init1")["restartCount"] >= 3, "init2", "main")
    assert found["status"]["phase"] == "Pending"
    not_initialized(found, "init1", "init2")
    assert status_of(found, "init1")["lastState"]["terminated"]["exitCode"] == 1
    assert not status_of(found, "init2").get("lastState")


@row("init-container-fails-stops-app-restartnever-pod")
def init_fails_once(api: Api) -> None:
    made = with_inits("Never", "true", "false")
    found = observed(api, made, lambda p: p["status"]["phase"] == "Failed", "main")
    assert status_of(found, "init1")["state"]["terminated"]["exitCode"] == 0
    assert status_of(found, "init2")["state"]["terminated"]["exitCode"] == 1
    not_initialized(found, "init2")


def debugger(name: str) -> Json:
    return {**busybox(name, f"echo polo from {name}; {STAY}"), "stdin": True, "tty": True}


def debugged(api: Api, name: str) -> None:
    api.until("Pod", "p", lambda p: "running" in status_of(p, name)["state"])
    until(lambda: f"polo from {name}" in log_of(api, "p", name))
    assert execute(api, "p", "echo", "marco", container=name) == "marco\n"


@row("Ephemeral Container Creation")
def ephemeral(api: Api) -> None:
    api.create(make("p", stay()))
    assert ready(api, "p")["metadata"]["generation"] == 1
    change = {"spec": {"ephemeralContainers": [debugger("debugger")]}}
    assert api.patch("Pod", "p", change, "ephemeralcontainers", STRATEGIC)["metadata"]["generation"] == 2
    debugged(api, "debugger")
    api.until("Pod", "p", lambda p: p["status"]["observedGeneration"] == 2)


@row("Ephemeral Container, update ephemeral containers")
def ephemeral_update(api: Api) -> None:
    api.create(make("p", stay()))
    ready(api, "p")
    for number, name in enumerate(("debugger", "debugger2"), 1):

        def add(pod: Json, name: str = name) -> None:
            pod["spec"].setdefault("ephemeralContainers", []).append(debugger(name))

        api.update("Pod", "p", add, "ephemeralcontainers")
        debugged(api, name)
        assert len(api.get("Pod", "p", "ephemeralcontainers")["spec"]["ephemeralContainers"]) == number
    found = api.get("Pod", "p")
    assert {s["name"] for s in found["status"]["ephemeralContainerStatuses"]} == {"debugger", "debugger2"}
    assert found["metadata"]["generation"] == 3 and status_of(found)["restartCount"] == 0


# -- Pods -----------------------------------------------------------------------------------------------------------


@row("Pods, remote command execution over websocket")
def exec_websocket(api: Api) -> None:
    api.create(make("p", stay()))
    ready(api, "p")
    path = f"{api.path('Pod', 'p', 'exec')}?stderr=1&stdout=1&container=main&command=echo&command=remote+execution+test"
    assert asyncio.run(spoken(api, path, "channel.k8s.io")) == b"remote execution test\n"


@row("Pods, logs from websockets")
def logs_websocket(api: Api) -> None:
    api.create(make("p", stay(command=f"echo container is alive; {STAY}")))
    ready(api, "p")
    path = f"{api.path('Pod', 'p', 'log')}?container=main"
    until(lambda: asyncio.run(spoken(api, path, "binary.k8s.io")) == b"container is alive\n")


@row("Pods, ActiveDeadlineSeconds")
def active_deadline(api: Api) -> None:
    api.create(make("p", stay()))
    ready(api, "p")
    api.update("Pod", "p", lambda p: p["spec"].update(activeDeadlineSeconds=1))
    found = ended(api, "p", "Failed")
    assert found["status"]["reason"] == "DeadlineExceeded"
    assert found["status"]["message"] == "Pod was active on the node longer than the specified deadline"


@row("Pods, QOS")
def quality(api: Api) -> None:
    same = {"cpu": "100m", "memory": "100Mi"}
    api.create(make("p", stay(resources={"requests": same, "limits": same})))
    assert api.get("Pod", "p")["status"]["qosClass"] == "Guaranteed"


@row("Pods, assigned hostip")
def host_ip(api: Api) -> None:
    api.create(make("p", stay()))
    found = api.until("Pod", "p", lambda p: p["status"].get("hostIP"))
    addresses = api.get("Node", "node-1")["status"]["addresses"]
    assert {"type": "InternalIP", "address": found["status"]["hostIP"]} in addresses
    assert found["status"]["hostIPs"] == [{"ip": found["status"]["hostIP"]}]


@row("Pods, delete a collection")
def pod_collection(api: Api) -> None:
    for number in range(3):
        made = make(f"p-{number}", stay())
        made["metadata"]["labels"] = {"type": "Testing"}
        api.create(made)
    found = api.until_list("Pod", "type=Testing", lambda pods: all(has_condition(p, "Ready") for p in pods))
    assert len(found) == 3
    api.delete_all("Pod", "type=Testing")
    api.until_list("Pod", "type=Testing", lambda pods: not pods)


@row("Pods, lifecycle")
def pod_lifecycle(api: Api) -> None:
    begin = api.call("GET", api.path("Pod"))["metadata"]["resourceVersion"]
    with api.watch("Pod", "name=p", begin) as following:
        api.create(make("p", stay(), terminationGracePeriodSeconds=30))
        assert following("ADDED")["metadata"]["name"] == "p"
        ready(api, "p")
        assert len(api.list("Pod", "name=p")) == 1
        answer = api.delete("Pod", "p", gracePeriodSeconds=30)
        assert answer["metadata"]["deletionTimestamp"] and answer["metadata"]["deletionGracePeriodSeconds"] == 30
        gone = following("DELETED")
        assert gone["metadata"]["deletionTimestamp"] and gone["spec"]["terminationGracePeriodSeconds"] == 30
    assert not api.list("Pod", "name=p")


@row("Pods, completes the lifecycle of a Pod and the PodStatus")
def pod_and_its_status(api: Api) -> None:
    begin = api.call("GET", api.path("Pod"))["metadata"]["resourceVersion"]
    with api.watch("Pod", "name=p", begin) as following:
        api.create(make("p", stay()))
        following("ADDED")
        ready(api, "p")
        image = "docker.io/library/busybox:1.36"
        spec = {"terminationGracePeriodSeconds": 1, "containers": [{"name": "main", "image": image}]}
        change = {"metadata": {"labels": {"test-pod": "patched"}}, "spec": spec}
        patched = api.patch("Pod", "p", change, content_type=STRATEGIC)
        assert patched["spec"]["containers"][0]["image"] == image
        assert patched["metadata"]["labels"] == {"name": "p", "test-pod": "patched"}
        while following("MODIFIED")["metadata"]["labels"].get("test-pod") != "patched":
            continue

        api.until("Pod", "p", lambda p: has_condition(p, "Ready") and status_of(p)["restartCount"] == 1)

        def not_ready(pod: Json) -> None:
            for condition in pod["status"]["conditions"]:
                condition["status"] = "False" if condition["type"].endswith("Ready") else condition["status"]

        replaced = api.update("Pod", "p", not_ready, "status")
        assert has_condition(replaced, "Ready", "False") and has_condition(replaced, "ContainersReady", "False")
        ready(api, "p")  # The kubelet knows better.
        api.delete_all("Pod", "name=p")
        following("DELETED")
    api.gone("Pod", "p")


@row("Pods, patching status")
def pod_status_patch(api: Api) -> None:
    api.create(make("p", stay()))
    ready(api, "p")
    words = {"message": "Patched by e2e test", "reason": "E2E"}
    patched = api.patch("Pod", "p", {"status": words}, "status", STRATEGIC)
    assert words == {k: patched["status"].get(k) for k in words}
    api.patch("Pod", "p", {"metadata": {"labels": {"a": "1"}}})
    untouched(api, "p", 0.5)
    assert words == {k: api.get("Pod", "p")["status"].get(k) for k in words}


@row("Pods, update")
def pod_update(api: Api) -> None:
    api.create(make("p", stay()))
    ready(api, "p")
    api.update("Pod", "p", lambda p: p["metadata"]["labels"].update(time="new"))
    assert len(api.list("Pod", "time=new")) == 1


@pytest.fixture(scope="module")
def walked(cluster: Cluster, looks: Api) -> Iterator[Outcomes]:
    with walk.start(cluster) as started:
        yield started


@pytest.fixture(scope="module")
def outcomes(cluster: Cluster, looks: Api) -> Iterator[Outcomes]:
    with row.start(cluster) as started:
        yield started


@pytest.mark.parametrize("name", sorted(row.functions))
def test_row(outcomes: Outcomes, name: str) -> None:
    outcomes[name].result(280)


@pytest.mark.parametrize("name", sorted(walk.functions))
def test_walk(walked: Outcomes, name: str) -> None:
    """What the documentation says beyond the list."""
    walked[name].result(280)


# -- eviction by taints, which nothing else on the node outlives ----------------------------------------------------

TAINT = {"key": "kubernetes.io/e2e-evict-taint-key", "value": "evictTaintVal", "effect": "NoExecute"}


def tolerant(name: str, seconds: int | None) -> Json:
    toleration = {**TAINT, "operator": "Equal", **({} if seconds is None else {"tolerationSeconds": seconds})}
    return make(name, stay(), tolerations=[toleration])


def taint(api: Api, *taints: Json) -> None:
    api.update("Node", "node-1", lambda n: n["spec"].update(taints=list(taints)))


@pytest.fixture
def after_the_rows(cluster: Cluster, outcomes: Outcomes, walked: Outcomes) -> Iterator[Api]:
    for outcome in (*outcomes.values(), *walked.values()):
        outcome.exception(280)
    api = Api(cluster, "default")
    yield api
    taint(api)
    api.delete_all("Pod")


def test_pod_eviction_toleration_limits(after_the_rows: Api) -> None:
    api = after_the_rows
    seconds = {"first": 1, "second": 3}
    for name, limit in seconds.items():
        api.create(tolerant(name, limit))
    for name in seconds:
        ready(api, name)
    begin = time.monotonic()
    taint(api, TAINT)
    for name, limit in seconds.items():
        api.until("Pod", name, lambda p: "deletionTimestamp" in p["metadata"], "evicted")
        assert time.monotonic() - begin >= limit
        api.gone("Pod", name)


def test_pod_eviction_on_taint_removal(after_the_rows: Api) -> None:
    api = after_the_rows
    api.create(tolerant("spared", 6))
    api.create(tolerant("for-ever", None))
    ready(api, "spared"), ready(api, "for-ever")
    taint(api, TAINT)
    begin = time.monotonic()
    until(lambda: time.monotonic() - begin > 0.2, "the eviction is planned")
    taint(api)
    until(lambda: time.monotonic() - begin > 7, "the eviction's time is over")
    for name in ("spared", "for-ever"):
        assert "deletionTimestamp" not in api.get("Pod", name)["metadata"]
