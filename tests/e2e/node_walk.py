"""What the documentation says of a Pod's life on a node beyond the rows of the conformance list, each as a function
that runs beside all the others."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import aiohttp
import requests
from tests.e2e.conformance import STRATEGIC, Api, Json, Rows
from tests.e2e.harness import busybox, container_status, has_condition, until
from tests.e2e.node_pods import (
    STAY,
    connection,
    ended,
    execute,
    log_of,
    make,
    message,
    ready,
    refused,
    restarted,
    status_of,
    stay,
    untouched,
)

walk = Rows()

# -- probes ---------------------------------------------------------------------------------------------------------


@contextmanager
def secure(answer: str) -> Iterator[int]:
    """The port of an HTTPS server with a certificate that nobody trusts. `answer` is "ok" or where to go instead."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if answer == "ok" or self.path == "/there" else 302)
            self.send_header("Location", answer)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            return

    with tempfile.TemporaryDirectory() as directory:
        key, certificate = Path(directory, "key"), Path(directory, "certificate")
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
             "-subj", "/CN=nobody", "-keyout", key, "-out", certificate],
            check=True, capture_output=True,
        )  # fmt: skip
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(certificate, key)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.socket = tls.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()


def https_probe(port: int, path: str = "/") -> Json:
    get = {"scheme": "HTTPS", "host": "127.0.0.1", "port": port, "path": path}
    return {"httpGet": get, "periodSeconds": 1, "failureThreshold": 1}


@walk("readiness over HTTPS, of a certificate that nobody trusts")
def https(api: Api) -> None:
    with secure("ok") as port:
        api.create(make("p", stay(readinessProbe=https_probe(port))))
        ready(api, "p")


@walk("a probe follows a redirect on its host, and takes one to another host for a success with a warning")
def redirects(api: Api) -> None:
    with secure("/there") as near, secure("https://192.0.2.7/elsewhere") as far:
        api.create(make("near", stay(readinessProbe=https_probe(near))))
        api.create(make("far", stay(readinessProbe=https_probe(far))))
        ready(api, "near"), ready(api, "far")
        until(lambda: "ProbeWarning" in api.reasons("far"), "the redirect is told")
        assert "ProbeWarning" not in api.reasons("near")


@walk("a probe by the port's name, with a header")
def named_port(api: Api) -> None:
    serve = (
        "while :; do { printf 'HTTP/1.0 200 OK\\r\\nContent-Length: 0\\r\\n\\r\\n'; } | nc -l -p 8080 > /seen; "
        "cp /seen /last; done & wait"
    )
    get = {"port": "web", "path": "/x?y=z", "httpHeaders": [{"name": "X-Mine", "value": "yes"}]}
    probe = {"httpGet": get, "periodSeconds": 1}
    api.create(make("p", stay(command=serve, readinessProbe=probe, ports=[{"name": "web", "containerPort": 8080}])))
    ready(api, "p")
    seen = until(lambda: (t := execute(api, "p", "cat", "/last")) and "GET" in t and t)
    assert "GET /x?y=z HTTP/1.1" in seen and "X-Mine: yes" in seen and "User-Agent: kube-probe/1.37" in seen


@walk("no other probe runs before the startup probe has succeeded")
def startup_first(api: Api) -> None:
    file = {"exec": {"command": ["cat", "/started"]}, "periodSeconds": 1, "failureThreshold": 30}
    never = {"exec": {"command": ["false"]}, "periodSeconds": 1, "failureThreshold": 1}
    script = f"echo life >> /v/lives; (sleep 2; touch /started) & {STAY}"
    main = stay(command=script, startupProbe=file, livenessProbe=never, volumeMounts=[{"name": "v", "mountPath": "/v"}])
    begin = time.monotonic()
    api.create(make("p", main, volumes=[{"name": "v", "emptyDir": {}}]))
    api.until("Pod", "p", lambda p: status_of(p)["started"])
    assert time.monotonic() - begin >= 2
    found = restarted(api, "p")
    assert time.monotonic() - begin >= 2 and found["status"]["phase"] == "Running"


@walk("a probe's own grace period overrides the Pod's")
def grace_of_a_probe(api: Api) -> None:
    bad = {"exec": {"command": ["false"]}, "periodSeconds": 1, "failureThreshold": 1}
    main = stay(command="trap '' TERM; sleep 3600", livenessProbe={**bad, "terminationGracePeriodSeconds": 1})
    api.create(make("p", main, terminationGracePeriodSeconds=600))
    restarted(api, "p")
    api.delete("Pod", "p", gracePeriodSeconds=1)


@walk("the startup probe's end counts too: a sidecar that has started lets the next one start")
def sidecars(api: Api) -> None:
    probe = {"exec": {"command": ["cat", "/v/one"]}, "periodSeconds": 1}
    mounts = {"volumeMounts": [{"name": "v", "mountPath": "/v"}]}
    note = "trap 'date +%s%N >> /v/ends; echo NAME >> /v/order; exit 0' TERM;"
    one = stay("one", f"{note.replace('NAME', 'one')} touch /v/one; sleep 3600 & wait", startupProbe=probe,
               restartPolicy="Always", **mounts)  # fmt: skip
    two = stay("two", f"test -e /v/one || exit 1; {note.replace('NAME', 'two')} sleep 3600 & wait",
               restartPolicy="Always", **mounts)  # fmt: skip
    main = stay("main", f"{note.replace('NAME', 'main')} sleep 3600 & wait", **mounts)
    volume = {"name": "v", "hostPath": {"path": f"/tmp/{api.namespace}", "type": "DirectoryOrCreate"}}
    api.create(make("p", main, initContainers=[one, two], volumes=[volume], terminationGracePeriodSeconds=20))
    found = ready(api, "p")
    assert all(s["ready"] and s["started"] for s in found["status"]["initContainerStatuses"])
    directory = Path("/tmp", api.namespace)
    try:
        api.delete("Pod", "p")
        api.gone("Pod", "p")
        assert (directory / "order").read_text().split() == ["main", "two", "one"]
    finally:
        subprocess.run(["rm", "-rf", directory], check=True)


# -- hooks, restarts, ends ------------------------------------------------------------------------------------------


@walk("a preStop hook that sleeps, and a stop signal of the container's own")
def stop_signal(api: Api) -> None:
    script = "trap 'echo usr1 > /dev/termination-log; exit 7' USR1; echo up; while :; do sleep 0.1; done"
    lifecycle = {"stopSignal": "SIGUSR1", "preStop": {"sleep": {"seconds": 1}}}
    made = make("p", stay(command=script, lifecycle=lifecycle), os={"name": "linux"}, terminationGracePeriodSeconds=20)
    made["metadata"]["finalizers"] = ["example.com/look"]
    api.create(made)
    assert status_of(ready(api, "p"))["stopSignal"] == "SIGUSR1"
    begin = time.monotonic()
    api.delete("Pod", "p")
    over = api.until("Pod", "p", lambda p: "terminated" in status_of(p)["state"])
    assert time.monotonic() - begin >= 1
    assert (message(over), status_of(over)["state"]["terminated"]["exitCode"]) == ("usr1\n", 7)
    api.patch("Pod", "p", {"metadata": {"finalizers": None}})


@walk("a hook that fails ends the container, and says so")
def failing_hook(api: Api) -> None:
    hook = {"postStart": {"exec": {"command": ["sh", "-c", "echo no; exit 3"]}}}
    api.create(make("p", stay(lifecycle=hook)))
    until(lambda: {"FailedPostStartHook", "Killing"} <= api.reasons("p"))
    api.until("Pod", "p", lambda p: not status_of(p)["ready"] and status_of(p)["restartCount"] >= 1)


@walk("a Pod that ends tells of each container that has ended, and of readiness lost, at once")
def ends_one_by_one(api: Api) -> None:
    script = "trap 'rm /ready; sleep 3600' TERM; touch /ready; sleep 3600 & wait"
    probe = {"exec": {"command": ["cat", "/ready"]}, "periodSeconds": 1, "failureThreshold": 1}
    asleep = {"preStop": {"sleep": {"seconds": 3600}}}
    api.create(make("p", stay("quick"), stay("slow", lifecycle=asleep), stay("probed", script, readinessProbe=probe),
                    terminationGracePeriodSeconds=3600))  # fmt: skip
    ready(api, "p")
    api.delete("Pod", "p")
    found = api.until("Pod", "p", lambda p: [status_of(p, n)["ready"] for n in ("quick", "slow", "probed")]
                      == [False, True, False])  # fmt: skip
    assert "terminated" in status_of(found, "quick")["state"] and "running" in status_of(found, "probed")["state"]
    assert has_condition(found, "Ready", "False")
    api.delete("Pod", "p", gracePeriodSeconds=0)
    api.gone("Pod", "p")
    counted = api.answer("GET", "/api/v1/nodes/node-1/proxy/metrics").text
    assert 'kubelet_terminated_containers_total{container_type="container",exit_code="0",reason="Completed"}' in counted


@walk("a Pod that is bound to a node without room for it is rejected, and one in a workingDir that is a file ends")
def rejected(api: Api) -> None:
    api.create(make("large", stay(resources={"requests": {"cpu": "1000000"}})))
    waits = api.until("Pod", "large", lambda p: p["status"].get("conditions"))
    (condition,) = waits["status"]["conditions"]
    assert (condition["type"], condition["status"], condition["observedGeneration"]) == ("PodScheduled", "False", 1)
    target = {"kind": "Node", "name": "node-1"}
    api.call("POST", api.path("Pod", "large", "binding"),
             {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "large"}, "target": target})  # fmt: skip
    status = ended(api, "large", "Failed")["status"]
    assert (status["reason"], status["observedGeneration"], status["qosClass"]) == ("OutOfcpu", 1, "Burstable")
    api.create(make("lost", stay(workingDir="/etc/passwd/below"), restartPolicy="Never"))
    over = status_of(ended(api, "lost", "Failed"))["state"]["terminated"]
    assert (over["reason"], over["exitCode"]) == ("StartError", 128)
    assert over["message"].endswith("mkdir /etc/passwd: not a directory")


@walk("rules restart a container by its exit code, and all containers of a Pod")
def restart_rules(api: Api) -> None:
    count = "n=$(cat /v/NAME 2>/dev/null || echo 0); echo $((n+1)) > /v/NAME;"
    mounts = {"volumeMounts": [{"name": "v", "mountPath": "/v"}]}

    def rule(action: str) -> Json:
        rules = [{"action": action, "exitCodes": {"operator": "In", "values": [42]}}]
        return {"restartPolicy": "Never", "restartPolicyRules": rules}

    again = stay("again", f"{count.replace('NAME', 'a')} [ $n -ge 2 ] && exit 0; exit 42", **rule("Restart"), **mounts)
    once = stay("once", "exit 41", **rule("Restart"))
    api.create(make("one", again, once, restartPolicy="Never", volumes=[{"name": "v", "emptyDir": {}}]))
    whole = stay("whole", f"{count.replace('NAME', 'b')} sleep 1; [ $n -ge 1 ] && exit 0; exit 42",
                 **rule("RestartAllContainers"), **mounts)  # fmt: skip
    other = stay("other", f"{count.replace('NAME', 'c')} {STAY}", **mounts)
    init = busybox("init", count.replace("NAME", "d"), **mounts)
    api.create(make("all", whole, other, initContainers=[init], restartPolicy="Never",
                    volumes=[{"name": "v", "emptyDir": {}}]))  # fmt: skip
    done = ended(api, "one", "Failed")
    assert (status_of(done, "again")["restartCount"], status_of(done, "once")["restartCount"]) == (2, 0)
    found = api.until("Pod", "all", lambda p: status_of(p, "whole")["state"].get("terminated", {}).get("exitCode") == 0)
    assert [status_of(found, n)["restartCount"] for n in ("init", "whole", "other")] == [1, 1, 1]
    assert execute(api, "all", "sh", "-c", "cat /v/b /v/c /v/d", container="other").split() == ["2", "2", "2"]


# -- what a container sees of its Pod -------------------------------------------------------------------------------


@walk("names and files")
def names_and_files(api: Api) -> None:
    """A variable from a file that an init container wrote; host names. (The kernel knows 64 characters of a name.)"""
    mount = {"volumeMounts": [{"name": "v", "mountPath": "/v"}]}
    init = busybox("init", "printf \"A='one'\\nB='two words'\\n\" > /v/env", **mount)
    ref = {"volumeName": "v", "path": "env", "key": "B"}
    main = stay(command="echo \"$V\"; hostname; hostname -f; grep -c example /etc/hosts",
                env=[{"name": "V", "valueFrom": {"fileKeyRef": ref}}])  # fmt: skip
    api.create(make("file", main, initContainers=[init], volumes=[{"name": "v", "emptyDir": {}}],
                    hostnameOverride="my.example.org", restartPolicy="Never"))  # fmt: skip
    fqdn = stay(command="hostname; cat /etc/hosts")
    api.create(make("fqdn", fqdn, hostname="h", subdomain="sub", setHostnameAsFQDN=True, restartPolicy="Never"))
    ended(api, "file"), ended(api, "fqdn")
    assert log_of(api, "file").split("\n")[:2] == ["two words", "my.example.org"]
    full = f"h.sub.{api.namespace}.svc.cluster.local"
    first, _, rest = log_of(api, "fqdn").partition("\n")
    assert first == full and f"\t{full}\th\n" in rest


@walk("what the status tells of a container")
def container_details(api: Api) -> None:
    same = {"cpu": "100m", "memory": "32Mi"}
    mounts = [{"name": "v", "mountPath": "/v", "readOnly": True, "recursiveReadOnly": "IfPossible"}]
    context = {"runAsUser": 1000, "runAsGroup": 3000, "supplementalGroups": [4000]}
    api.create(make("p", stay(resources={"requests": same, "limits": same}, volumeMounts=mounts),
                    volumes=[{"name": "v", "emptyDir": {}}], securityContext=context))  # fmt: skip
    found = ready(api, "p")
    status = status_of(found)
    assert status["user"] == {"linux": {"uid": 1000, "gid": 3000, "supplementalGroups": [3000, 4000]}}
    (mounted,) = status["volumeMounts"]
    assert mounted["mountPath"] == "/v" and mounted["recursiveReadOnly"] in ("Enabled", "Disabled")
    assert status["allocatedResources"] == same and status["resources"] == {"requests": same, "limits": same}
    assert status["stopSignal"] == "SIGTERM" and status["imageID"] and status["containerID"].partition("://")[2]
    assert found["status"]["observedGeneration"] == found["metadata"]["generation"] == 1
    assert all(c["observedGeneration"] == 1 for c in found["status"]["conditions"] if c["type"] != "PodScheduled")


# -- resize ---------------------------------------------------------------------------------------------------------

CGROUP = "cd /sys/fs/cgroup; cat cpu.max 2>/dev/null || echo $(cat cpu/cpu.cfs_quota_us)"


def resize(api: Api, name: str, **resources: Json) -> Json:
    containers = [{"name": n, "resources": r} for n, r in resources.items()]
    return api.patch("Pod", name, {"spec": {"containers": containers}}, "resize", STRATEGIC)


@walk("resize in place, by a restart where the policy says so, and what stands against it")
def resizes(api: Api) -> None:
    small = {"requests": {"cpu": "100m", "memory": "32Mi"}, "limits": {"cpu": "200m", "memory": "64Mi"}}
    policy = [{"resourceName": "memory", "restartPolicy": "RestartContainer"}]
    api.create(make("p", stay("one", resources=small), stay("two", resources=small, resizePolicy=policy)))
    ready(api, "p")
    assert execute(api, "p", "sh", "-c", CGROUP, container="one").split()[0] == "20000"
    more = {"requests": {"cpu": "150m", "memory": "32Mi"}, "limits": {"cpu": "300m", "memory": "64Mi"}}
    changed = resize(api, "p", one=more)
    assert changed["metadata"]["generation"] == 2
    found = api.until("Pod", "p", lambda p: status_of(p, "one")["resources"] == more
                      and p["status"]["observedGeneration"] == 2)  # fmt: skip
    assert status_of(found, "one")["allocatedResources"] == more["requests"]
    assert execute(api, "p", "sh", "-c", CGROUP, container="one").split()[0] == "30000"
    bigger = {"requests": {"cpu": "100m", "memory": "48Mi"}, "limits": {"cpu": "300m", "memory": "96Mi"}}
    for restarts, wanted in enumerate((bigger, small), 1):  # What ended keeps no Pod from shrinking.
        resize(api, "p", two=wanted)
        found = api.until("Pod", "p", lambda p: status_of(p, "two")["resources"] == wanted  # noqa: B023
                          and status_of(p, "two")["restartCount"] == restarts  # noqa: B023
                          and not any("PodResize" in c["type"] for c in p["status"]["conditions"]))  # fmt: skip
    assert status_of(found, "one")["restartCount"] == 0
    resize(api, "p", one={"requests": {"cpu": "1000", "memory": "32Mi"}, "limits": {"cpu": "1000", "memory": "64Mi"}})
    found = api.until("Pod", "p", lambda p: has_condition(p, "PodResizePending"))
    pending = next(c for c in found["status"]["conditions"] if c["type"] == "PodResizePending")
    assert pending["reason"] == "Infeasible" and "Node didn't have enough capacity: cpu" in pending["message"]
    assert pending["observedGeneration"] == found["metadata"]["generation"]
    assert status_of(found, "one")["resources"] == more
    resize(api, "p", one=more)
    api.until("Pod", "p", lambda p: not has_condition(p, "PodResizePending"))


@walk("resources of the whole Pod")
def pod_level(api: Api) -> None:
    whole = {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"cpu": "200m", "memory": "128Mi"}}
    api.create(make("p", stay("one"), stay("two"), resources=whole))
    found = ready(api, "p")
    assert found["status"]["resources"] == whole and found["status"]["allocatedResources"] == whole["requests"]
    assert found["status"]["qosClass"] == "Burstable"


# -- logs and streams -----------------------------------------------------------------------------------------------


@walk("logs by their end, by bytes, by time, by stream")
def logs(api: Api) -> None:
    script = "echo one; echo two; sleep 2.1; echo three; sleep 0.1; echo four >&2; sleep 0.1; echo five"
    api.create(make("p", stay(command=script), restartPolicy="Never"))
    ended(api, "p")
    assert log_of(api, "p", tailLines=2) == "four\nfive\n"
    assert log_of(api, "p", tailLines=0) == ""
    assert log_of(api, "p", limitBytes=6) == "one\ntw"
    assert log_of(api, "p", stream="Stderr") == "four\n"
    stamped = log_of(api, "p", timestamps="true").splitlines()
    since = stamped[2].split()[0]
    assert log_of(api, "p", sinceTime=since[:19] + "Z").split()[-3:] == ["three", "four", "five"]
    assert log_of(api, "p", sinceTime=since[:19] + "Z", tailLines=9).split()[0] != "one"
    for wrong in ({"tailLines": -1}, {"limitBytes": 0}, {"sinceSeconds": 1, "sinceTime": since}):
        assert api.answer("GET", api.path("Pod", "p", "log"), params=wrong).status_code == 422


@walk("a log followed over a WebSocket, in base64 for those who can read nothing else")
def followed(api: Api) -> None:
    api.create(make("p", stay(command=f"echo first; sleep 1; echo second; {STAY}")))
    ready(api, "p")
    path = f"{api.path('Pod', 'p', 'log')}?follow=true"

    async def listen() -> None:
        said = b""
        async with aiohttp.ClientSession() as session, asyncio.timeout(60):
            async with session.ws_connect(
                api.server + path, protocols=("base64.binary.k8s.io",), ssl=connection(api)
            ) as socket:
                while said != b"first\nsecond\n":
                    said += base64.b64decode(await socket.receive_str())

    asyncio.run(listen())


@walk("a hundred commands at once, each with its own input")
def many_sessions(api: Api) -> None:
    api.create(make("p", stay()))
    ready(api, "p")
    path = f"{api.path('Pod', 'p', 'exec')}?command=cat&stdin=1&stdout=1&stderr=1"

    async def one(session: aiohttp.ClientSession, tls: ssl.SSLContext, number: int) -> bytes:
        async with session.ws_connect(api.server + path, protocols=("v5.channel.k8s.io",), ssl=tls) as socket:
            await socket.send_bytes(b"\x00" + f"{number}\n".encode() * 100)
            await socket.send_bytes(b"\xff\x00")  # the end of the input
            said, status = b"", b""
            async for frame in socket:
                said += frame.data[1:] if frame.data[0] == 1 else b""
                status += frame.data[1:] if frame.data[0] == 3 else b""
            assert json.loads(status)["status"] == "Success"
            return said

    async def everybody() -> list[bytes]:
        tls = connection(api)
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session, asyncio.timeout(60):
            return await asyncio.gather(*(one(session, tls, n) for n in range(100)))

    assert asyncio.run(everybody()) == [f"{n}\n".encode() * 100 for n in range(100)]


@walk("a terminal that is attached to and changes its size")
def terminal(api: Api) -> None:
    script = "trap 'stty size' WINCH; echo up; while read line; do echo got $line; done"
    api.create(make("p", stay(command=script, stdin=True, tty=True)))
    ready(api, "p")
    path = f"{api.path('Pod', 'p', 'attach')}?stdin=1&stdout=1&tty=1"

    async def talk() -> bytes:
        tls, said = connection(api), b""
        async with aiohttp.ClientSession() as session, asyncio.timeout(60):
            async with session.ws_connect(api.server + path, protocols=("v5.channel.k8s.io",), ssl=tls) as socket:
                await socket.send_bytes(b"\x04" + json.dumps({"Width": 91, "Height": 33}).encode())
                await socket.send_bytes(b"\x00hello\n")
                async for frame in socket:
                    said += frame.data[1:] if frame.data[0] == 1 else b""
                    if b"got hello" in said and b"33 91" in said:
                        break
        return said

    asyncio.run(talk())


@walk("kubectl cp, and kubectl debug in its three forms")
def kubectl_debug(api: Api) -> None:
    api.create(make("p", stay(command=f"exec -a victim sleep 3601 & {STAY}")))
    ready(api, "p")
    kubectl, here = api.cluster.kubectl, ("-n", api.namespace)
    with tempfile.TemporaryDirectory() as directory:
        sent, back = Path(directory, "sent"), Path(directory, "back")
        sent.write_bytes(bytes(range(256)) * 500)
        kubectl("cp", *here, str(sent), "p:/tmp/file")
        kubectl("cp", *here, "p:/tmp/file", str(back))
        assert back.read_bytes() == sent.read_bytes()
    quiet = ("--image=busybox:1.36", "--profile=general", "--attach=false")
    kubectl("debug", *here, "p", "-c", "debugger", "--target=main", *quiet, "--", "sh", "-c", f"ps -o args; {STAY}")
    until(lambda: "sleep 3601" in log_of(api, "p", "debugger"), "it sees the processes of its target")
    kubectl("debug", *here, "p", "--copy-to=copy", "--container=main", *quiet, "--", "sh", "-c", f"echo copied; {STAY}")
    api.until("Pod", "copy", lambda p: has_condition(p, "Ready"))
    until(lambda: log_of(api, "copy") == "copied\n")
    kubectl("debug", *here, "node/node-1", *quiet, "--", "sh", "-c", "ls /host/etc/hostname; hostname")
    made = until(lambda: [p for p in api.list("Pod") if p["metadata"]["name"].startswith("node-debugger-")])[0]
    name, container = made["metadata"]["name"], made["spec"]["containers"][0]["name"]
    ended(api, name)
    assert "/host/etc/hostname" in log_of(api, name, container)


@walk("the kubelet's own pages: for whom the API server lets")
def kubelet_pages(api: Api) -> None:
    """As a collector of metrics comes: to the node's port, with its ServiceAccount's token."""
    node, name = api.get("Node", "node-1"), f"scraper-{api.namespace}"
    rbac, meta = "/apis/rbac.authorization.k8s.io/v1", {"metadata": {"name": name}}
    rule = {"verbs": ["get"], "apiGroups": [""], "resources": ["nodes/metrics"]}
    api.call("POST", f"{rbac}/clusterroles", {**meta, "rules": [rule]})
    subject = {"kind": "ServiceAccount", "name": "default", "namespace": api.namespace}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name}
    api.call("POST", f"{rbac}/clusterrolebindings", {**meta, "roleRef": role, "subjects": [subject]})
    account = f"/api/v1/namespaces/{api.namespace}/serviceaccounts/default"
    until(lambda: api.answer("GET", account).ok, "the account")
    token = api.call("POST", f"{account}/token", {"spec": {}})["status"]["token"]
    where = f"https://{node['status']['addresses'][0]['address']}:" \
            f"{node['status']['daemonEndpoints']['kubeletEndpoint']['Port']}"  # fmt: skip

    def code(page: str, **headers: str) -> int:
        return requests.get(f"{where}/{page}", headers=headers, verify=api._session.verify, timeout=60).status_code

    bearer = {"Authorization": f"Bearer {token}"}
    until(lambda: code("metrics/resource", **bearer) == 200, "its rights are known")
    assert [code(page, **bearer) for page in ("metrics/cadvisor", "pods", "configz", "healthz")] == [200, 403, 403, 403]
    assert code("metrics") == code("metrics", Authorization="Bearer nonsense") == 401
    for page in ("configz", "runningpods/", "healthz/syncloop", "metrics/probes", "stats/summary"):
        assert api.answer("GET", f"/api/v1/nodes/node-1/proxy/{page}").ok, page
    assert api.call("GET", "/api/v1/nodes/node-1/proxy/configz")["kubeletconfig"]["maxPods"] == 110
    for kind in ("clusterrolebindings", "clusterroles"):
        api.call("DELETE", f"{rbac}/{kind}/{name}")


@walk("what of a Pod cannot be changed")
def immutable(api: Api) -> None:
    assert api.create(make("p", stay(), terminationGracePeriodSeconds=-1))["spec"]["terminationGracePeriodSeconds"] == 1
    ready(api, "p")
    for change in (
        {"spec": {"terminationGracePeriodSeconds": 30}}, {"spec": {"hostname": "other"}},
        {"spec": {"containers": [{"name": "main", "command": ["other"]}]}},
        {"spec": {"containers": [{"name": "new", "image": "busybox:1.36"}]}},
    ):  # fmt: skip
        said = refused(422, lambda c=change: api.patch("Pod", "p", c, content_type=STRATEGIC))
        assert "pod updates may not" in said
    untouched(api, "p", 0)
    api.patch("Pod", "p", {"spec": {"containers": [{"name": "main", "image": "docker.io/library/busybox:1.36"}]}},
              content_type=STRATEGIC)  # fmt: skip
    found = restarted(api, "p")
    assert container_status(found, "main")["restartCount"] == 1
