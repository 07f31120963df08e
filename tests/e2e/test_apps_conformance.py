"""The rows of sig-apps in the conformance list, on two real nodes. All run at once; `test_row[…]` waits for one."""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any

import pytest
from tests.e2e.conformance import Api, Json, Refused, Rows, lifecycle
from tests.e2e.conftest import FAST_RESTARTS
from tests.e2e.harness import Cluster, busybox, has_condition, until

FLAGS = (*FAST_RESTARTS, "--nodes", "2")
STAY = "trap 'exit 0' TERM; sleep 3600 & wait"
NGINX = "docker.io/library/nginx:1.22"
MISSING = "registry.invalid/nothing:1"

row = Rows()


@pytest.fixture(scope="module")
def outcomes(cluster: Cluster) -> Iterator[dict[str, Future[None]]]:
    with row.start(cluster) as started:
        yield started


# -- what the rows are made of --------------------------------------------------------------------------------------


def template(app: str, command: str = STAY, *, container: Json | None = None, **spec: Any) -> Json:
    made = container or busybox("c", command)
    return {
        "metadata": {"labels": {"app": app}},
        "spec": {
            "terminationGracePeriodSeconds": 1, "containers": [made], "automountServiceAccountToken": False, **spec,
        },
    }


def workload(kind: str, name: str, replicas: int | None = 1, of: Json | None = None, **spec: Any) -> Json:
    made: Json = {"selector": {"matchLabels": {"app": name}}, "template": of or template(name), **spec}
    if kind == "ReplicationController":
        made["selector"] = {"app": name}
    if kind != "DaemonSet":
        made["replicas"] = replicas
    return {"kind": kind, "metadata": {"name": name, "labels": {"app": name}}, "spec": made}


def web(version: str = "1") -> Json:
    return {"name": "c", "image": NGINX, "env": [{"name": "V", "value": version}],
            "readinessProbe": {"httpGet": {"port": 80, "path": "/index.html"}, "periodSeconds": 1}}  # fmt: skip


def lone_pod(name: str, labels: dict[str, str], **spec: Any) -> Json:
    return {"kind": "Pod", "metadata": {"name": name, "labels": labels}, "spec": {**template(name)["spec"], **spec}}


def job(name: str, command: str, *, restart: str = "Never", of: Json | None = None, **spec: Any) -> Json:
    made = of or template(name, command)
    made["spec"]["restartPolicy"] = restart
    return {"kind": "Job", "metadata": {"name": name, "labels": {"app": name}}, "spec": {"template": made, **spec}}


def cron_job(name: str, schedule: str = "* * * * *", **spec: Any) -> Json:
    body = job(name, STAY)["spec"]
    return {"kind": "CronJob", "metadata": {"name": name}, "spec": {
        "schedule": schedule, "jobTemplate": {"metadata": {"labels": {"cron": name}}, "spec": body}, **spec,
    }}  # fmt: skip


def owner_of(obj: Json) -> str | None:
    return next((r["uid"] for r in obj["metadata"].get("ownerReferences", ()) if r.get("controller")), None)


def alive(pods: list[Json]) -> list[Json]:
    return [p for p in pods if "deletionTimestamp" not in p["metadata"]]


def ready(pods: list[Json]) -> list[Json]:
    return [p for p in alive(pods) if has_condition(p, "Ready")]


def all_ready(api: Api, kind: str, name: str, replicas: int) -> Json:
    return api.until(kind, name, lambda o: o["status"].get("readyReplicas", 0) == replicas, f"{replicas} ready")


def rolled_out(api: Api, name: str) -> Json:
    def complete(o: Json) -> bool:
        status, wanted = o["status"], o["spec"]["replicas"]
        return status.get("observedGeneration") == o["metadata"]["generation"] and (
            status.get("updatedReplicas") == status.get("availableReplicas") == status.get("replicas") == wanted
        )

    return api.until("Deployment", name, complete, "rolled out")


def sets_of(api: Api, name: str) -> list[Json]:
    """ReplicaSets of a Deployment, oldest revision first."""
    key = "deployment.kubernetes.io/revision"
    return sorted(api.list("ReplicaSet", f"app={name}"), key=lambda s: int(s["metadata"]["annotations"].get(key, 0)))


def scale_subresource(api: Api, kind: str) -> None:
    api.create(workload(kind, "web"))
    all_ready(api, kind, "web", 1)
    scale = api.get(kind, "web", "scale")
    assert scale["kind"] == "Scale" and scale["spec"]["replicas"] == 1 and scale["status"]["replicas"] == 1
    api.update(kind, "web", lambda s: s["spec"].update(replicas=2), "scale")
    assert api.get(kind, "web")["spec"]["replicas"] == 2
    api.until(kind, "web", lambda o: o["status"].get("replicas") == 2)
    if kind != "ReplicationController":
        api.patch(kind, "web", {"spec": {"replicas": 4}}, "scale")
        assert api.get(kind, "web")["spec"]["replicas"] == 4


def status_subresource(api: Api, kind: str, replicas: int = 1) -> None:
    api.create(workload(kind, "web", replicas))
    counts = ("numberReady", 2) if kind == "DaemonSet" else ("readyReplicas", replicas)
    api.until(kind, "web", lambda o: o["status"].get(counts[0]) == counts[1], "ready")
    assert api.get(kind, "web", "status")["status"][counts[0]] == counts[1]
    condition = {"type": "StatusUpdate", "status": "True", "reason": "E2E", "message": "Set from an e2e test"}

    def append(obj: Json) -> None:
        obj["status"]["conditions"] = [*obj["status"].get("conditions", ()), condition]

    api.update(kind, "web", append, "status")
    api.until(kind, "web", lambda o: has_condition(o, "StatusUpdate"), "the condition set by update")
    api.patch(kind, "web", {"status": {"conditions": [{"type": "StatusPatched", "status": "True"}]}}, "status")
    api.until(kind, "web", lambda o: has_condition(o, "StatusPatched"), "the condition set by patch")
    # It outlives what the controller writes.
    before = api.get(kind, "web")["status"]["observedGeneration"]
    api.patch(kind, "web", {"spec": {"minReadySeconds": 1}})
    done = api.until(kind, "web", lambda o: o["status"]["observedGeneration"] > before, "the controller wrote after it")
    assert has_condition(done, "StatusPatched")


def collection(api: Api, kind: str, *, patched: bool = False) -> None:
    for name in ("one", "two", "three") if kind != "DaemonSet" else ("one",):
        obj = workload(kind, name)
        obj["metadata"]["labels"]["test"] = kind
        api.create(obj)
    names = {o["metadata"]["name"] for o in api.list(kind, f"test={kind}")}
    assert names == ({"one"} if kind == "DaemonSet" else {"one", "two", "three"})
    if patched:
        change = {"metadata": {"labels": {"patched": "yes"}}, "spec": {"replicas": 2}}
        assert api.patch(kind, "one", change)["spec"]["replicas"] == 2
        all_ready(api, kind, "one", 2)
    api.delete_all(kind, f"test={kind}")
    api.until_list(kind, f"test={kind}", lambda items: not items, "gone")
    api.until_list("Pod", "", lambda items: not items, "their Pods went with them")


# -- ControllerRevision, CronJob ------------------------------------------------------------------------------------


@row("ControllerRevision, resource lifecycle")
def controller_revisions(api: Api) -> None:
    api.create(workload("DaemonSet", "web"))
    (first,) = api.until_list("ControllerRevision", "app=web", lambda found: len(found) == 1)
    name = first["metadata"]["name"]
    assert owner_of(first) == api.get("DaemonSet", "web")["metadata"]["uid"]
    labelled = api.patch("ControllerRevision", name, {"metadata": {"labels": {name: "patched"}}})
    assert labelled["metadata"]["labels"][name] == "patched"
    second = {"kind": "ControllerRevision", **copy.deepcopy(first)}
    second["metadata"] = {"name": "copy", "labels": {"app": "web", "copy": "yes"},
                          "ownerReferences": first["metadata"]["ownerReferences"]}  # fmt: skip
    second["revision"] = first["revision"] + 1
    api.create(second)
    assert {r["metadata"]["name"] for r in api.list("ControllerRevision", "app=web")} >= {"copy"}
    api.update("ControllerRevision", "copy", lambda r: r["metadata"]["labels"].update(copy="updated"))
    api.delete("ControllerRevision", "copy")
    api.gone("ControllerRevision", "copy")
    api.delete_all("ControllerRevision", f"{name}=patched")
    old = first["metadata"]["uid"]
    api.until_list("ControllerRevision", "app=web", lambda found: [r for r in found if r["metadata"]["uid"] != old],
                   "the controller makes it anew")  # fmt: skip


@row("CronJob API Operations")
def cron_job_api(api: Api) -> None:
    lifecycle(api, cron_job("cj", "0 0 1 1 *", suspend=True), {"spec": {"successfulJobsHistoryLimit": 7}},
              status={"lastScheduleTime": "2020-01-02T03:04:05Z"})  # fmt: skip


def running_since_long(api: Api, name: str, policy: str) -> Json:
    """A CronJob that has a Job running and another one due now: upstream's test waits two minutes for that."""
    made = api.create(cron_job(name, concurrencyPolicy=policy, suspend=True))
    old = job(f"{name}-old", STAY)
    old["metadata"]["ownerReferences"] = [{
        "apiVersion": "batch/v1", "kind": "CronJob", "name": name, "uid": made["metadata"]["uid"], "controller": True,
    }]  # fmt: skip
    old = api.create(old)
    api.until("Job", f"{name}-old", lambda o: o["status"].get("active") == 1)
    reference = {"apiVersion": "batch/v1", "kind": "Job", "name": f"{name}-old", "namespace": api.namespace,
                 "uid": old["metadata"]["uid"]}  # fmt: skip
    api.patch("CronJob", name, {"status": {"active": [reference], "lastScheduleTime": minutes_ago(2)}}, "status")
    api.patch("CronJob", name, {"spec": {"suspend": False}})
    return old


def minutes_ago(minutes: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:00Z", time.gmtime(time.time() - 60 * minutes))


@row("CronJob AllowConcurrent")
def allow_concurrent(api: Api) -> None:
    running_since_long(api, "cj", "Allow")
    done = api.until("CronJob", "cj", lambda o: len(o["status"].get("active", ())) == 2, "two run side by side")
    names = {r["name"] for r in done["status"]["active"]}
    assert "cj-old" in names
    for name in names:
        api.until("Job", name, lambda o: o["status"].get("active") == 1)


@row("CronJob ForbidConcurrent")
def forbid_concurrent(api: Api) -> None:
    running_since_long(api, "cj", "Forbid")
    until(lambda: "JobAlreadyActive" in api.reasons("cj"), "the next one is held back")
    assert [j["metadata"]["name"] for j in api.list("Job")] == ["cj-old"]
    api.delete("Job", "cj-old", propagationPolicy="Background")
    api.until_list("Job", "cron=cj", lambda jobs: jobs, "it starts once the old one is gone")


@row("CronJob ReplaceConcurrent")
def replace_concurrent(api: Api) -> None:
    running_since_long(api, "cj", "Replace")
    api.gone("Job", "cj-old")

    def is_active() -> bool:
        """The one new Job; each minute there is another one."""
        jobs, active = api.list("Job", "cron=cj"), api.get("CronJob", "cj")["status"].get("active", ())
        return len(jobs) == 1 and [j["metadata"]["uid"] for j in jobs] == [reference["uid"] for reference in active]

    until(is_active, "the new Job is the CronJob's")


@row("CronJob Suspend")
def suspended_cron_job(api: Api) -> None:
    for name, suspend in (("held", True), ("free", False)):
        api.create(cron_job(name, suspend=suspend))
        api.patch("CronJob", name, {"status": {"lastScheduleTime": minutes_ago(2)}}, "status")
    api.until_list("Job", "cron=free", lambda jobs: jobs, "the other one starts")
    assert not api.list("Job", "cron=held")


# -- DaemonSet ------------------------------------------------------------------------------------------------------


def daemons(api: Api, name: str = "web", count: int = 2) -> list[Json]:
    return api.until_list("Pod", f"app={name}", lambda all_: len(ready(all_)) == count == len(all_), f"{count} ready")


row("DaemonSet, list and delete a collection of DaemonSets")(lambda api: collection(api, "DaemonSet"))
row("DaemonSet, status sub-resource")(lambda api: status_subresource(api, "DaemonSet"))


@row("DaemonSet-Creation")
def daemon_set_creation(api: Api) -> None:
    api.create(workload("DaemonSet", "web"))
    first = daemons(api)
    assert {p["spec"]["nodeName"] for p in first} == {"node-1", "node-2"}
    api.delete("Pod", first[0]["metadata"]["name"])
    api.gone("Pod", first[0]["metadata"]["name"])
    assert {p["spec"]["nodeName"] for p in daemons(api)} == {"node-1", "node-2"}


@row("DaemonSet-FailedPodCreation")
def failed_daemon(api: Api) -> None:
    api.create(workload("DaemonSet", "web"))
    victim = daemons(api)[0]
    # The kubelet would write Running over it; a Pod that has ended never runs again.
    api.patch("Pod", victim["metadata"]["name"], {"status": {"phase": "Failed"}}, "status")
    api.gone("Pod", victim["metadata"]["name"])
    daemons(api)
    until(lambda: "FailedDaemonPod" in api.reasons("web"), "an event says so")


@row("DaemonSet-NodeSelection")
def daemon_node_selection(api: Api) -> None:
    api.create(workload("DaemonSet", "web", of=template("web", nodeSelector={"conformance/color": "blue"})))
    done = api.until("DaemonSet", "web", lambda o: o["status"].get("observedGeneration") == 1)
    assert done["status"]["desiredNumberScheduled"] == 0
    api.patch("Node", "node-1", {"metadata": {"labels": {"conformance/color": "blue"}}})
    assert daemons(api, count=1)[0]["spec"]["nodeName"] == "node-1"
    api.patch("Node", "node-1", {"metadata": {"labels": {"conformance/color": "green"}}})
    api.until_list("Pod", "app=web", lambda found: not found, "none is left")
    change = {"spec": {"updateStrategy": {"type": "RollingUpdate"},
                       "template": {"spec": {"nodeSelector": {"conformance/color": "green"}}}}}  # fmt: skip
    api.patch("DaemonSet", "web", change)
    assert daemons(api, count=1)[0]["spec"]["nodeName"] == "node-1"
    api.patch("Node", "node-1", {"metadata": {"labels": {"conformance/color": None}}})


@row("DaemonSet-RollingUpdate")
def daemon_rolling_update(api: Api) -> None:
    api.create(workload("DaemonSet", "web"))
    old = {p["metadata"]["uid"] for p in daemons(api)}
    api.patch("DaemonSet", "web", {"spec": {"template": {"metadata": {"annotations": {"v": "2"}}}}})
    api.until("DaemonSet", "web", lambda o: o["status"]["observedGeneration"] == o["metadata"]["generation"]
              and o["status"].get("updatedNumberScheduled") == 2 == o["status"].get("numberAvailable"))  # fmt: skip
    new = daemons(api)
    assert not old & {p["metadata"]["uid"] for p in new}
    revisions = api.until_list("ControllerRevision", "app=web", lambda found: len(found) == 2)
    newest = max(revisions, key=lambda r: int(r["revision"]))
    key = "controller-revision-hash"
    assert {p["metadata"]["labels"][key] for p in new} == {newest["metadata"]["labels"][key]}


@row("DaemonSet-Rollback")
def daemon_rollback(api: Api) -> None:
    api.create(workload("DaemonSet", "web"))
    daemons(api)
    api.patch("DaemonSet", "web", {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": MISSING}]}}}},
              content_type="application/strategic-merge-patch+json")  # fmt: skip
    pods = api.until_list("Pod", "app=web", lambda found: any(
        p["spec"]["containers"][0]["image"] == MISSING for p in alive(found)), "one waits for the image")  # fmt: skip
    spared = {p["metadata"]["uid"] for p in ready(pods)}
    assert len(spared) == 1
    api.cluster.kubectl("rollout", "undo", "daemonset/web", "-n", api.namespace)
    after = daemons(api)
    assert spared < {p["metadata"]["uid"] for p in after}, "what ran on was not restarted"
    assert all(p["status"]["containerStatuses"][0]["restartCount"] == 0 for p in after)


# -- Deployment -----------------------------------------------------------------------------------------------------

row("Deployment, completes the scaling of a Deployment subresource")(lambda api: scale_subresource(api, "Deployment"))
row("Deployment, status sub-resource")(lambda api: status_subresource(api, "Deployment"))


@row("Deployment RollingUpdate")
def deployment_rolling_update(api: Api) -> None:
    replica_set = workload("ReplicaSet", "web")
    replica_set["metadata"]["annotations"] = {"deployment.kubernetes.io/revision": "3546343826724305832"}
    api.create(replica_set)
    all_ready(api, "ReplicaSet", "web", 1)
    api.create(workload("Deployment", "web", of=template("web", container=web())))
    done = rolled_out(api, "web")
    assert done["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "3546343826724305833"
    old, new = sets_of(api, "web")
    assert old["metadata"]["name"] == "web" and owner_of(old) == done["metadata"]["uid"], "the ReplicaSet is adopted"
    assert (old["spec"]["replicas"], new["spec"]["replicas"]) == (0, 1)


@row("Deployment Recreate")
def deployment_recreate(api: Api) -> None:
    api.create(workload("Deployment", "web", 2, strategy={"type": "Recreate"}))
    rolled_out(api, "web")
    old = {p["metadata"]["name"] for p in api.list("Pod", "app=web")}
    since = api.call("GET", api.path("Pod"))["metadata"]["resourceVersion"]
    with api.watch("Pod", "app=web", since) as following:
        api.patch("Deployment", "web", {"spec": {"template": {"metadata": {"annotations": {"v": "2"}}}}})
        first = following("ADDED")
        # The first new Pod comes after the last old one has ended, though that may still be listed.
        left = [p["status"]["phase"] for p in api.list("Pod", "app=web") if p["metadata"]["name"] in old]
        assert set(left) <= {"Succeeded", "Failed"}
    assert first["metadata"]["annotations"]["v"] == "2"
    rolled_out(api, "web")


@row("Deployment RevisionHistoryLimit")
def revision_history(api: Api) -> None:
    api.create(workload("ReplicaSet", "web"))
    all_ready(api, "ReplicaSet", "web", 1)
    api.create(workload("Deployment", "web", of=template("web", container=web()), revisionHistoryLimit=0))
    api.gone("ReplicaSet", "web")
    assert len(sets_of(api, "web")) == 1


@row("Deployment Rollover")
def deployment_rollover(api: Api) -> None:
    api.create(workload("ReplicaSet", "web"))
    all_ready(api, "ReplicaSet", "web", 1)
    strategy = {"rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}
    api.create(workload("Deployment", "web", of=template("web", container={"name": "c", "image": MISSING}),
                        strategy=strategy))  # fmt: skip
    api.until_list("ReplicaSet", "app=web", lambda found: len(found) == 2 and all(s["spec"]["replicas"] for s in found))
    api.patch("Deployment", "web", {"spec": {"minReadySeconds": 1, "template": {"spec": {"containers": [web()]}}}})
    rolled_out(api, "web")
    first, second, third = sets_of(api, "web")
    assert [s["spec"]["replicas"] for s in (first, second, third)] == [0, 0, 1]
    assert second["spec"]["template"]["spec"]["containers"][0]["image"] == MISSING


@row("Deployment Proportional Scaling")
def proportional_scaling(api: Api) -> None:
    strategy = {"rollingUpdate": {"maxUnavailable": 2, "maxSurge": 3}}
    api.create(workload("Deployment", "web", 10, strategy=strategy))
    rolled_out(api, "web")
    # Nobody has this image: the rollout stops half way.
    api.patch("Deployment", "web", {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": MISSING}]}}}},
              content_type="application/strategic-merge-patch+json")  # fmt: skip

    def sizes(*wanted: int) -> None:
        until(lambda: [s["spec"]["replicas"] for s in sets_of(api, "web")] == list(wanted), f"sizes {wanted}")

    sizes(8, 5)
    all_ready(api, "Deployment", "web", 8)
    api.patch("Deployment", "web", {"spec": {"replicas": 30}}, "scale")
    sizes(20, 13)


@row("Deployment, completes the lifecycle of a Deployment")
def deployment_lifecycle(api: Api) -> None:
    since = api.call("GET", api.path("Deployment"))["metadata"]["resourceVersion"]
    with api.watch("Deployment", "app=web", since) as following:
        api.create(workload("Deployment", "web", 2))
        assert following("ADDED")["metadata"]["name"] == "web"
        all_ready(api, "Deployment", "web", 2)
        change = {"metadata": {"labels": {"patched": "yes"}}, "spec": {"replicas": 1, "template": {"spec": {
            "containers": [web()]}}}}  # fmt: skip
        api.patch("Deployment", "web", change)
        rolled_out(api, "web")
        assert {d["metadata"]["name"] for d in api.list("Deployment", "patched=yes", everywhere=True)} == {"web"}
        api.update("Deployment", "web", lambda o: o["spec"].update(replicas=2))
        all_ready(api, "Deployment", "web", 2)
        api.patch("Deployment", "web", {"status": {"conditions": [{"type": "Patched", "status": "True"}]}}, "status")
        assert has_condition(api.get("Deployment", "web", "status"), "Patched")
        api.delete_all("Deployment", "app=web")
        assert following("DELETED")["metadata"]["name"] == "web"


# -- Job ------------------------------------------------------------------------------------------------------------


def completed(api: Api, name: str = "work") -> Json:
    return api.until("Job", name, lambda o: has_condition(o, "Complete"), "complete")


@row("Ensure Pods of an Indexed Job get a unique index.")
def indexed_job(api: Api) -> None:
    of = template("work", "echo $JOB_COMPLETION_INDEX > /dev/termination-log")
    api.create(job("work", "", of=of, completionMode="Indexed", completions=4, parallelism=2))
    assert completed(api)["status"]["completedIndexes"] == "0-3"
    seen = {}
    for made in api.list("Pod", "app=work"):
        key = "batch.kubernetes.io/job-completion-index"
        index = made["metadata"]["annotations"][key]
        seen[index] = made["status"]["containerStatuses"][0]["state"]["terminated"]["message"].strip()
        assert made["metadata"]["labels"][key] == index and made["spec"]["hostname"] == f"work-{index}"
    assert seen == {str(i): str(i) for i in range(4)}


@row("Ensure pod failure policy allows to ignore failure matching on the DisruptionTarget condition")
def ignored_disruptions(api: Api) -> None:
    policy = {"rules": [{"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}]}
    # The first Pod of each index waits to be evicted; the second finds what the test has written meanwhile.
    source = {"configMapKeyRef": {"name": "go", "key": "on", "optional": True}}
    of = template("work", "trap 'exit 1' TERM; test -n \"$ON\" && exit 0; touch /tmp/up; sleep 100 & wait")
    of["spec"]["containers"][0] |= {"env": [{"name": "ON", "valueFrom": source}],
                                    "readinessProbe": {"exec": {"command": ["ls", "/tmp/up"]}}}  # fmt: skip
    api.create(job("work", "", of=of, completionMode="Indexed", completions=2, parallelism=2, backoffLimit=0,
                   podFailurePolicy=policy))  # fmt: skip
    waiting = api.until_list("Pod", "app=work", lambda found: len(ready(found)) == 2)
    api.create({"kind": "ConfigMap", "metadata": {"name": "go"}, "data": {"on": "yes"}})
    for made in waiting:
        name = made["metadata"]["name"]
        api.call("POST", api.path("Pod", name, "eviction"),
                 {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}})  # fmt: skip
    done = completed(api)
    assert done["status"]["succeeded"] == 2 and not done["status"].get("failed")


@row("Jobs, active pods, graceful termination")
def active_pods(api: Api) -> None:
    api.create(job("work", STAY, parallelism=2, completions=2))
    api.until_list("Pod", "app=work", lambda found: len(ready(found)) == 2)
    api.delete("Job", "work", propagationPolicy="Foreground")
    api.gone("Job", "work")
    assert not api.list("Pod", "app=work")


@row("Jobs, apply changes to status")
def job_status(api: Api) -> None:
    api.create(job("work", STAY, parallelism=1))
    api.until("Job", "work", lambda o: o["status"].get("active") == 1 == o["status"].get("ready"))
    condition = {"type": "CustomConditionType", "status": "True"}
    done = api.patch("Job", "work", {"metadata": {"annotations": {"patched": "yes"}},
                                     "status": {"conditions": [condition]}}, "status")  # fmt: skip
    assert has_condition(done, "CustomConditionType") and done["metadata"]["annotations"]["patched"] == "yes"
    start = api.get("Job", "work")["status"]["startTime"]
    second = {"type": "Second", "status": "True"}
    api.update("Job", "work", lambda o: o["status"]["conditions"].append(second), "status")
    done = api.get("Job", "work", "status")
    assert has_condition(done, "Second") and done["status"]["startTime"] == start


@row("Jobs, completion after task failure")
def local_restarts(api: Api) -> None:
    of = template("work", "test -e /d/mark && exit 0; touch /d/mark; exit 1", volumes=[{"name": "d", "emptyDir": {}}])
    of["spec"]["containers"][0]["volumeMounts"] = [{"name": "d", "mountPath": "/d"}]
    api.create(job("work", "", of=of, restart="OnFailure", parallelism=2, completions=4))
    assert completed(api)["status"]["succeeded"] == 4
    pods = api.list("Pod", "app=work")
    assert len(pods) == 4 and all(p["status"]["containerStatuses"][0]["restartCount"] == 1 for p in pods)


@row("Jobs, manage lifecycle")
def job_lifecycle(api: Api) -> None:
    api.create(job("work", "true", suspend=True))
    api.until("Job", "work", lambda o: has_condition(o, "Suspended"))
    api.patch("Job", "work", {"metadata": {"labels": {"test": "yes"}}})
    api.update("Job", "work", lambda o: o["metadata"].update(annotations={"updated": "yes"}))
    api.update("Job", "work", lambda o: o["spec"].update(suspend=False))
    completed(api)
    assert [j["metadata"]["name"] for j in api.list("Job", "test=yes", everywhere=True)] == ["work"]
    api.delete_all("Job", "test=yes")
    api.gone("Job", "work")


@row("Jobs, orphan pods, re-adoption")
def job_readoption(api: Api) -> None:
    made = api.create(job("work", STAY, parallelism=2))
    pods = api.until_list("Pod", "app=work", lambda found: len(ready(found)) == 2)
    name = pods[0]["metadata"]["name"]
    api.patch("Pod", name, {"metadata": {"ownerReferences": None}})
    api.until("Pod", name, lambda o: owner_of(o) == made["metadata"]["uid"], "adopted again")
    api.patch("Pod", name, {"metadata": {"labels": None}})
    api.until("Pod", name, lambda o: owner_of(o) is None, "released")
    api.until_list("Pod", "app=work", lambda found: len(ready(found)) == 2, "another took its place")


@row("Verify Pod Failure policy allows to fail job early on exit code.")
def fail_job_on_exit_code(api: Api) -> None:
    policy = {"rules": [{"action": "FailJob", "onExitCodes": {"operator": "In", "values": [42]}}]}
    api.create(job("work", "exit 42", parallelism=2, completions=4, backoffLimit=6, podFailurePolicy=policy))
    done = api.until("Job", "work", lambda o: has_condition(o, "Failed"))
    assert next(c for c in done["status"]["conditions"] if c["type"] == "Failed")["reason"] == "PodFailurePolicy"
    assert not done["status"].get("succeeded") and done["status"].get("failed", 0) <= 2


# -- PodDisruptionBudget --------------------------------------------------------------------------------------------


def budget(name: str = "pdb", app: str = "web", **spec: Any) -> Json:
    return {"kind": "PodDisruptionBudget", "metadata": {"name": name, "labels": {"test": "yes"}},
            "spec": {"selector": {"matchLabels": {"app": app}}, **spec}}  # fmt: skip


@row("PodDisruptionBudget: Status updates")
def budget_status(api: Api) -> None:
    api.create(budget(minAvailable=1))
    api.create(workload("ReplicaSet", "web", 3))
    done = api.until("PodDisruptionBudget", "pdb", lambda o: o["status"].get("disruptionsAllowed") == 2)
    status = done["status"]
    assert (status["currentHealthy"], status["desiredHealthy"], status["expectedPods"]) == (3, 1, 3)
    assert has_condition(done, "DisruptionAllowed")


@row("PodDisruptionBudget: block an eviction until the PDB is updated to allow it")
def blocked_eviction(api: Api) -> None:
    api.create(workload("ReplicaSet", "web", 3))
    name = api.until_list("Pod", "app=web", lambda found: len(ready(found)) == 3)[0]["metadata"]["name"]
    api.create(budget(minAvailable=3))
    api.until("PodDisruptionBudget", "pdb", lambda o: o["status"].get("currentHealthy") == 3)
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}}
    with pytest.raises(Refused) as refused:
        api.call("POST", api.path("Pod", name, "eviction"), eviction)
    assert refused.value.code == 429
    assert refused.value.status["details"]["causes"][0]["reason"] == "DisruptionBudget"
    api.patch("PodDisruptionBudget", "pdb", {"spec": {"minAvailable": 2}})
    api.until("PodDisruptionBudget", "pdb", lambda o: o["status"].get("disruptionsAllowed") == 1)
    api.call("POST", api.path("Pod", name, "eviction"), eviction)
    api.gone("Pod", name)
    api.patch("PodDisruptionBudget", "pdb", {"spec": {"minAvailable": "100%"}})
    api.until("PodDisruptionBudget", "pdb", lambda o: o["status"].get("desiredHealthy") == 3)
    api.delete("PodDisruptionBudget", "pdb")
    name = api.until_list("Pod", "app=web", lambda found: len(ready(found)) == 3)[0]["metadata"]["name"]
    api.call("POST", api.path("Pod", name, "eviction"), {**eviction, "metadata": {"name": name}})


@row("PodDisruptionBudget: create, update, patch, and delete object")
def budget_lifecycle(api: Api) -> None:
    api.create(budget(minAvailable="1%"))
    api.until("PodDisruptionBudget", "pdb", lambda o: "status" in o and o["status"].get("observedGeneration") == 1)
    api.update("PodDisruptionBudget", "pdb", lambda o: o["spec"].update(minAvailable="2%"))
    assert api.patch("PodDisruptionBudget", "pdb", {"spec": {"minAvailable": "3%"}})["spec"]["minAvailable"] == "3%"
    api.until("PodDisruptionBudget", "pdb", lambda o: o["status"].get("observedGeneration") == 3)
    api.delete("PodDisruptionBudget", "pdb")
    api.gone("PodDisruptionBudget", "pdb")


@row("PodDisruptionBudget: list and delete collection")
def budget_collection(api: Api) -> None:
    for name in ("a", "b", "c"):
        api.create(budget(name, minAvailable=1))
    assert len(api.list("PodDisruptionBudget", "test=yes")) == 3
    assert len(api.list("PodDisruptionBudget", everywhere=True)) >= 3
    api.delete_all("PodDisruptionBudget", "test=yes")
    assert not api.list("PodDisruptionBudget")


@row("PodDisruptionBudget: update and patch status")
def budget_status_written(api: Api) -> None:
    api.create(budget(minAvailable=1))
    api.create(workload("ReplicaSet", "web", 1))
    api.until("PodDisruptionBudget", "pdb", lambda o: o["status"].get("currentHealthy") == 1)
    api.update("PodDisruptionBudget", "pdb",
               lambda o: o["status"].update(disruptedPods={"gone": "2020-01-02T03:04:05Z"}), "status")  # fmt: skip
    api.patch("PodDisruptionBudget", "pdb", {"status": {"disruptedPods": {"gone": None}}}, "status")
    assert "gone" not in (api.get("PodDisruptionBudget", "pdb", "status")["status"].get("disruptedPods") or {})


# -- ReplicaSet, ReplicationController ------------------------------------------------------------------------------

row("ReplicaSet, completes the scaling of a ReplicaSet subresource")(lambda api: scale_subresource(api, "ReplicaSet"))
row("ReplicaSet, status sub-resource")(lambda api: status_subresource(api, "ReplicaSet"))
row("ReplicaSet, list and delete a collection of ReplicaSets")(lambda api: collection(api, "ReplicaSet"))
row("Replication Controller, get and update ReplicationController scale")(
    lambda api: scale_subresource(api, "ReplicationController")
)


def adopt_and_release(api: Api, kind: str, *, releases: bool = True) -> None:
    api.create(lone_pod("lone", {"app": "web"}))
    uid = api.create(workload(kind, "web"))["metadata"]["uid"]
    api.until("Pod", "lone", lambda o: owner_of(o) == uid, "adopted")
    all_ready(api, kind, "web", 1)
    assert len(api.list("Pod", "app=web")) == 1, "it counts"
    if releases:
        api.patch("Pod", "lone", {"metadata": {"labels": {"app": "other"}}})
        api.until("Pod", "lone", lambda o: owner_of(o) is None, "released")
        api.until_list("Pod", "app=web", lambda found: len(ready(found)) == 1, "replaced")


row("Replica Set, adopt matching pods and release non matching pods")(lambda api: adopt_and_release(api, "ReplicaSet"))
row("Replication Controller, adopt matching pods")(
    lambda api: adopt_and_release(api, "ReplicationController", releases=False)
)
row("Replication Controller, release pods")(lambda api: adopt_and_release(api, "ReplicationController"))


def basic_image(api: Api, kind: str) -> None:
    api.create(workload(kind, "web", 1, of=template("web", container={**web(), "ports": [{"containerPort": 80}]})))
    (made,) = api.until_list("Pod", "app=web", lambda found: len(ready(found)) == 1)
    answer = api.answer("GET", api.path("Pod", made["metadata"]["name"], "proxy/index.html"))
    assert answer.ok and "nginx" in answer.text


row("Replica Set, run basic image")(lambda api: basic_image(api, "ReplicaSet"))
row("Replication Controller, run basic image")(lambda api: basic_image(api, "ReplicationController"))


@row("ReplicaSet, is created, Replaced and Patched")
def replica_set_replaced(api: Api) -> None:
    api.create(workload("ReplicaSet", "web"))
    all_ready(api, "ReplicaSet", "web", 1)
    api.update("ReplicaSet", "web", lambda o: o["spec"].update(replicas=2))
    all_ready(api, "ReplicaSet", "web", 2)
    change = {"metadata": {"labels": {"patched": "yes"}}, "spec": {"replicas": 3, "template": {"spec": {
        "containers": [{"name": "c", "image": NGINX}]}}}}  # fmt: skip
    done = api.patch("ReplicaSet", "web", change, content_type="application/strategic-merge-patch+json")
    assert done["metadata"]["labels"]["patched"] == "yes"
    all_ready(api, "ReplicaSet", "web", 3)
    images = [p["spec"]["containers"][0]["image"] for p in api.list("Pod", "app=web")]
    assert sorted(images) == ["busybox:1.36", "busybox:1.36", NGINX], "only new Pods have the new template"


@row("Replication Controller, check for issues like exceeding allocated quota")
def over_quota(api: Api) -> None:
    api.create({"kind": "ResourceQuota", "metadata": {"name": "q"}, "spec": {"hard": {"pods": "2"}}})
    api.until("ResourceQuota", "q", lambda o: o.get("status", {}).get("hard"))
    api.create(workload("ReplicationController", "web", 3))
    api.until("ReplicationController", "web", lambda o: has_condition(o, "ReplicaFailure"), "says that it fails")
    api.update("ReplicationController", "web", lambda o: o["spec"].update(replicas=2))
    api.until("ReplicationController", "web", lambda o: not has_condition(o, "ReplicaFailure"), "and that it is well")


@row("Replication Controller, lifecycle")
def replication_controller_lifecycle(api: Api) -> None:
    kind = "ReplicationController"
    since = api.call("GET", api.path(kind))["metadata"]["resourceVersion"]
    with api.watch(kind, "app=web", since) as following:
        api.create(workload(kind, "web", 1))
        assert following("ADDED")["metadata"]["name"] == "web"
        all_ready(api, kind, "web", 1)
        api.patch(kind, "web", {"metadata": {"labels": {"test": "patched"}}})
        api.patch(kind, "web", {"status": {"readyReplicas": 0, "availableReplicas": 0}}, "status")
        all_ready(api, kind, "web", 1)
        assert api.get(kind, "web", "status")["metadata"]["labels"]["test"] == "patched"
        api.patch(kind, "web", {"spec": {"replicas": 2}}, "scale")
        all_ready(api, kind, "web", 2)
        assert [c["metadata"]["name"] for c in api.list(kind, "test=patched", everywhere=True)] == ["web"]
        api.update(kind, "web", lambda o: o["metadata"].update(annotations={"updated": "yes"}))
        api.delete_all(kind, "test=patched")
        assert following("DELETED")["metadata"]["name"] == "web"


# -- StatefulSet ----------------------------------------------------------------------------------------------------

row("StatefulSet resource Replica scaling")(lambda api: scale_subresource(api, "StatefulSet"))
row("StatefulSet, status sub-resource")(lambda api: status_subresource(api, "StatefulSet"))
row("StatefulSet, list, patch and delete a collection of StatefulSets")(
    lambda api: collection(api, "StatefulSet", patched=True)
)


def stateful(replicas: int, version: str = "1", **spec: Any) -> Json:
    return workload("StatefulSet", "ss", replicas, of=template("ss", container=web(version)), serviceName="ss", **spec)


def break_pod(api: Api, name: str, *, broken: bool) -> None:
    """Its readiness probe fails from now on, or passes again."""
    page, away = "/usr/share/nginx/html/index.html", "/tmp/index.html"
    paths = (page, away) if broken else (away, page)
    api.cluster.kubectl("exec", "-n", api.namespace, name, "--", "mv", *paths)
    api.until("Pod", name, lambda o: has_condition(o, "Ready") != broken, f"broken: {broken}")


@row("StatefulSet, Scaling")
def stateful_scaling(api: Api) -> None:
    since = api.call("GET", api.path("Pod"))["metadata"]["resourceVersion"]
    with api.watch("Pod", "app=ss", since) as following:
        api.create(stateful(2))
        assert [following("ADDED")["metadata"]["name"] for _ in range(2)] == ["ss-0", "ss-1"]
        all_ready(api, "StatefulSet", "ss", 2)
        break_pod(api, "ss-0", broken=True)
        api.patch("StatefulSet", "ss", {"spec": {"replicas": 3}})
        api.until("StatefulSet", "ss", lambda o: o["status"]["observedGeneration"] == o["metadata"]["generation"])
        assert len(api.list("Pod", "app=ss")) == 2, "it waits for the unhealthy Pod"
        break_pod(api, "ss-0", broken=False)
        all_ready(api, "StatefulSet", "ss", 3)
        break_pod(api, "ss-0", broken=True)
        api.patch("StatefulSet", "ss", {"spec": {"replicas": 0}})
        api.until("StatefulSet", "ss", lambda o: o["status"]["observedGeneration"] == o["metadata"]["generation"])
        # Going down too it waits until all below are healthy.
        break_pod(api, "ss-0", broken=False)
        assert [following("DELETED")["metadata"]["name"] for _ in range(3)] == ["ss-2", "ss-1", "ss-0"]


@row("StatefulSet, Burst Scaling")
def stateful_burst(api: Api) -> None:
    api.create(stateful(1, podManagementPolicy="Parallel"))
    all_ready(api, "StatefulSet", "ss", 1)
    break_pod(api, "ss-0", broken=True)
    api.patch("StatefulSet", "ss", {"spec": {"replicas": 3}})
    api.until("StatefulSet", "ss", lambda o: o["status"]["replicas"] == 3)
    all_ready(api, "StatefulSet", "ss", 2)
    api.patch("StatefulSet", "ss", {"spec": {"replicas": 0}})
    api.until_list("Pod", "app=ss", lambda found: not found)


@row("StatefulSet, Recreate Failed Pod")
def stateful_recreates(api: Api) -> None:
    port = {"ports": [{"containerPort": 80, "hostPort": 21017}]}
    hog = lone_pod("hog", {"app": "hog"}, nodeName="node-1")
    hog["spec"]["containers"][0].update(port)
    api.create(hog)
    api.until("Pod", "hog", lambda o: has_condition(o, "Ready"))
    of = template("ss", container={**busybox("c", STAY), **port}, nodeName="node-1")
    since = api.call("GET", api.path("Pod"))["metadata"]["resourceVersion"]
    with api.watch("Pod", "app=ss", since) as following:
        api.create(workload("StatefulSet", "ss", 1, of=of, serviceName="ss"))
        first = following("DELETED")
        assert first["status"]["phase"] == "Failed", "the kubelet refuses a port that is taken"
    api.delete("Pod", "hog", gracePeriodSeconds=0)
    done = api.until("Pod", "ss-0", lambda o: has_condition(o, "Ready"), "runs once the port is free")
    assert done["metadata"]["uid"] != first["metadata"]["uid"]


def hashes(api: Api) -> dict[str, str]:
    key = "controller-revision-hash"
    return {p["metadata"]["name"]: p["metadata"]["labels"][key] for p in api.list("Pod", "app=ss")}


def stateful_rolled(api: Api, name: str = "ss") -> Json:
    def done(o: Json) -> bool:
        status, count = o["status"], o["spec"]["replicas"]
        return status.get("observedGeneration") == o["metadata"]["generation"] and (
            status.get("currentRevision") == status.get("updateRevision")
            and status.get("updatedReplicas") == count == status.get("readyReplicas")
        )

    return api.until("StatefulSet", name, done, "rolled")


@row("StatefulSet, Rolling Update")
def stateful_rolling_update(api: Api) -> None:
    api.create(stateful(3))
    first = stateful_rolled(api)["status"]["currentRevision"]
    since = api.call("GET", api.path("Pod"))["metadata"]["resourceVersion"]
    with api.watch("Pod", "app=ss", since) as following:
        api.patch("StatefulSet", "ss", {"spec": {"template": {"spec": {"containers": [web("2")]}}}})
        assert [following("DELETED")["metadata"]["name"] for _ in range(3)] == ["ss-2", "ss-1", "ss-0"]
    second = stateful_rolled(api)["status"]["currentRevision"]
    assert second != first and set(hashes(api).values()) == {second.rpartition("-")[2]}
    api.patch("StatefulSet", "ss", {"spec": {"template": {"spec": {"containers": [web("1")]}}}})
    api.until("StatefulSet", "ss", lambda o: o["status"]["updateRevision"] == first, "back to the revision it had")
    stateful_rolled(api)
    assert set(hashes(api).values()) == {first.rpartition("-")[2]}


@row("StatefulSet, Rolling Update with Partition")
def stateful_partition(api: Api) -> None:
    api.create(stateful(3, updateStrategy={"type": "RollingUpdate", "rollingUpdate": {"partition": 3}}))
    old = stateful_rolled(api)["status"]["currentRevision"].rpartition("-")[2]
    api.patch("StatefulSet", "ss", {"spec": {"template": {"spec": {"containers": [web("2")]}}}})
    done = api.until("StatefulSet", "ss", lambda o: o["status"]["updateRevision"] != o["status"]["currentRevision"])
    new = done["status"]["updateRevision"].rpartition("-")[2]
    assert set(hashes(api).values()) == {old}, "a partition above all ordinals holds every Pod"

    def partition(number: int, *wanted: str) -> None:
        api.patch("StatefulSet", "ss", {"spec": {"updateStrategy": {"rollingUpdate": {"partition": number}}}})
        until(lambda: list(dict(sorted(hashes(api).items())).values()) == list(wanted), f"partition {number}")
        all_ready(api, "StatefulSet", "ss", 3)

    partition(2, old, old, new)
    for name in ("ss-0", "ss-2"):
        api.delete("Pod", name)
    api.until_list("Pod", "app=ss", lambda found: len(ready(found)) == 3 == len(found))
    assert list(dict(sorted(hashes(api).items())).values()) == [old, old, new], "a Pod made anew keeps its revision"
    partition(0, new, new, new)
    stateful_rolled(api)


@pytest.mark.parametrize("name", row.functions)
def test_row(outcomes: dict[str, Future[None]], name: str) -> None:
    outcomes[name].result(timeout=280)


def test_all_rows_are_here() -> None:
    assert len(row.functions) == 54, json.dumps(sorted(row.functions))
