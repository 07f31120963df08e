"""The rows of sig-network in the conformance list, on two real nodes. All run at once; `test_row[…]` waits for one.

Servers and clients are Pods of one namespace that all rows share; rows that only need the API have their own."""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import dns
import pytest
from tests.e2e import netexec
from tests.e2e.conformance import Api, Json, Rows, lifecycle
from tests.e2e.conftest import FAST_RESTARTS
from tests.e2e.harness import Cluster, busybox, has_condition, until

FLAGS = (*FAST_RESTARTS, "--nodes", "2")
NODES = ("node-1", "node-2")
SHARED = "net"

row = Rows()


# -- Pods that all rows share ---------------------------------------------------------------------------------------


def server(name: str, app: str, node: str, *, http: int = 8080, udp: int = 8081, **spec: Any) -> Json:
    """A Pod that runs netexec by the host's Python."""
    # The interpreter with its libraries, and a resolver, at the paths that they have on the host.
    places = {"/usr", "/lib", "/lib64", sys.base_prefix, str(Path(dns.__file__).parent)}
    places = {p for p in places if Path(p).exists() and not p.startswith("/usr/")}
    volumes = [{"name": f"h{n}", "hostPath": {"path": p}} for n, p in enumerate(sorted(places))]
    mounts = [{"name": f"h{n}", "mountPath": p, "readOnly": True} for n, p in enumerate(sorted(places))]
    python = Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info.minor}"
    library = str(Path(dns.__file__).parents[1])
    environment = {"NAME": name, "HTTP": str(http), "UDP": str(udp), "PYTHONPATH": library}
    container = busybox("c", "") | {
        "command": [str(python), "-S", "/netexec/netexec.py"],
        "env": [{"name": k, "value": v} for k, v in environment.items()],
        "ports": [{"name": "http", "containerPort": http}, {"name": "udp", "containerPort": udp, "protocol": "UDP"}],
        "volumeMounts": [*mounts, {"name": "netexec", "mountPath": "/netexec"}],
        "readinessProbe": {"httpGet": {"port": http, "path": "/hostName"}, "periodSeconds": 1},
    }
    volumes.append({"name": "netexec", "configMap": {"name": "netexec"}})
    labels = {"app": app, "name": name}
    return {"kind": "Pod", "metadata": {"name": name, "labels": labels}, "spec": {
        "terminationGracePeriodSeconds": 0, "nodeName": node, "containers": [container], "volumes": volumes, **spec,
    }}  # fmt: skip


def with_netexec(api: Api) -> Api:
    code = Path(netexec.__file__).read_text()
    api.create({"kind": "ConfigMap", "metadata": {"name": "netexec"}, "data": {"netexec.py": code}})
    return api


@pytest.fixture(scope="module")
def outcomes(cluster: Cluster) -> Iterator[dict[str, Future[None]]]:
    net = Api(cluster, SHARED)
    net.create({"kind": "Namespace", "metadata": {"name": SHARED}})
    until(lambda: net.answer("GET", f"/api/v1/namespaces/{SHARED}/serviceaccounts/default").ok, "the account")
    with_netexec(net)
    for node in NODES:
        net.create(server(f"server-{node}", "server", node))
        net.create(server(f"client-{node}", "client", node))
        net.create(server(f"host-{node}", "host", node, http=18080, udp=18081, hostNetwork=True))
    until(lambda: len(ready(net)) == 6, "servers and clients")
    with row.start(cluster) as started:
        yield started


def ready(api: Api, labels: str = "") -> list[Json]:
    pods = api.list("Pod", labels)
    return [p for p in pods if has_condition(p, "Ready") and "deletionTimestamp" not in p["metadata"]]


def shared(api: Api) -> Api:
    return Api(api.cluster, SHARED)


def dial(net: Api, host: str, port: int, *, by: str = "client-node-1", tries: int = 1, **more: str) -> list[str]:
    """What the Pod `by` hears when it asks for a name."""
    return _told(net, by, "dial", {"host": host, "port": str(port), "tries": str(tries), **more})


def _told(net: Api, pod: str, path: str, query: dict[str, str]) -> list[str]:
    number = 18080 if pod.startswith("host-") else 8080
    answer = net.answer("GET", net.path("Pod", f"{pod}:{number}", f"proxy/{path}"), params=query)
    assert answer.ok, answer.text
    return list(answer.json())


def resolved(net: Api, name: str, kind: str, *, by: str = "client-node-1") -> list[str]:
    return _told(net, by, "resolve", {"name": name, "kind": kind})


def shell(net: Api, command: str, *, by: str = "client-node-1") -> str:
    answer = net.answer("GET", net.path("Pod", f"{by}:8080", "proxy/shell"), params={"cmd": command})
    assert answer.ok, answer.text
    return answer.text


def reached(net: Api, host: str, port: int, expect: set[str], **more: Any) -> None:
    """Every Pod of `expect` answers there, and nobody else."""
    heard: set[str] = set()

    def all_of_them() -> bool:
        answers = set(dial(net, host, port, tries=4, **more))
        assert not any(a.startswith("error") for a in answers), answers
        heard.update(answers)
        return heard >= expect

    until(all_of_them, f"{expect} at {host}:{port}, heard {heard}")
    assert heard == expect


SERVERS = {f"server-{node}" for node in NODES}


def service(name: str, selector: dict[str, str] | None = None, ports: list[Json] | None = None, **spec: Any) -> Json:
    made: Json = {"ports": ports or [{"name": "http", "port": 80, "targetPort": 8080}], **spec}
    if selector is not None:
        made["selector"] = selector
    return {"kind": "Service", "metadata": {"name": name, "labels": {"name": name}}, "spec": made}


SELECTS = {"app": "server"}


def address_of(api: Api, kind: str, name: str) -> str:
    obj = api.get(kind, name)
    if kind == "Node":
        return str(next(a["address"] for a in obj["status"]["addresses"] if a["type"] == "InternalIP"))
    return str(obj["spec"]["clusterIP"] if kind == "Service" else obj["status"]["podIP"])


# -- DNS ------------------------------------------------------------------------------------------------------------


def named_services(net: Api, prefix: str) -> None:
    net.create(service(f"{prefix}-plain", SELECTS))
    net.create(service(f"{prefix}-headless", SELECTS, clusterIP="None"))


def pod_addresses(net: Api) -> list[str]:
    return sorted(address_of(net, "Pod", name) for name in SERVERS)


def expect_names(net: Api, prefix: str, tails: tuple[str, ...]) -> None:
    plain = address_of(net, "Service", f"{prefix}-plain")
    for tail in tails:
        for by in ("client-node-1", "client-node-2"):
            until(lambda t=tail, b=by: resolved(net, f"{prefix}-plain{t}", "A", by=b) == [plain], tail)
            until(lambda t=tail, b=by: resolved(net, f"{prefix}-headless{t}", "A", by=b) == pod_addresses(net), tail)
        (record,) = resolved(net, f"_http._tcp.{prefix}-plain{tail}", "SRV")
        assert record.split()[2:] == ["80", f"{prefix}-plain.{SHARED}.svc.cluster.local."]
        assert {r.split()[2] for r in resolved(net, f"_http._tcp.{prefix}-headless{tail}", "SRV")} == {"8080"}


@row("DNS, PQDN for services")
def partially_qualified(api: Api) -> None:
    net = shared(api)
    named_services(net, "pqdn")
    expect_names(net, "pqdn", ("", f".{SHARED}", f".{SHARED}.svc"))


@row("DNS, services")
def dns_services(api: Api) -> None:
    net = shared(api)
    named_services(net, "dns")
    expect_names(net, "dns", (f".{SHARED}.svc.cluster.local", f".{SHARED}.svc.cluster.local."))
    plain = address_of(net, "Service", "dns-plain")
    assert resolved(net, plain, "PTR") == [f"dns-plain.{SHARED}.svc.cluster.local."]
    dashed = pod_addresses(net)[0].replace(".", "-")
    assert resolved(net, f"{dashed}.{SHARED}.pod.cluster.local", "A") == pod_addresses(net)[:1]


@row("DNS, cluster (by /etc/hosts)")
def etc_hosts(api: Api) -> None:
    with_netexec(api)
    api.create(service("sub", {"app": "q"}, clusterIP="None"))
    api.create(server("q", "q", "node-1", hostname="querier", subdomain="sub"))
    until(lambda: ready(api))
    own, full = address_of(api, "Pod", "q"), f"querier.sub.{api.namespace}.svc.cluster.local"
    assert f"{own}\t{full}\tquerier" in shell(api, "cat /etc/hosts", by="q")
    for name in (full, "querier"):
        assert resolved(api, name, "hosts", by="q") == [own]


@row("DNS, cluster (by DNS)")
def dns_cluster(api: Api) -> None:
    net = shared(api)
    expect = [Api(api.cluster, "default").get("Service", "kubernetes")["spec"]["clusterIP"]]
    for name in ("kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"):
        assert resolved(net, name, "A") == expect == resolved(net, name, "hosts")


@row("DNS, custom dnsConfig")
def dns_config(api: Api) -> None:
    with_netexec(api)
    options = [{"name": "ndots", "value": "2"}]
    config = {"nameservers": ["1.1.1.1"], "searches": ["resolv.conf.local"], "options": options}
    api.create(server("q", "q", "node-1", dnsPolicy="None", dnsConfig=config))
    until(lambda: ready(api))
    lines = set(shell(api, "cat /etc/resolv.conf", by="q").splitlines())
    assert lines == {"nameserver 1.1.1.1", "search resolv.conf.local", "options ndots:2"}


@row("DNS, for ExternalName Services")
def dns_external_name(api: Api) -> None:
    net = shared(api)
    net.create(service("ext", ports=[], type="ExternalName", externalName="foo.example.com"))
    name = f"ext.{SHARED}.svc.cluster.local"
    until(lambda: resolved(net, name, "CNAME") == ["foo.example.com."], "the alias")
    net.patch("Service", "ext", {"spec": {"externalName": "bar.example.com"}})
    until(lambda: resolved(net, name, "CNAME") == ["bar.example.com."], "the alias changed")
    net.patch("Service", "ext", {"spec": {"type": "ClusterIP", "externalName": None,
                                          "ports": [{"port": 80, "name": "http", "protocol": "TCP"}]}})  # fmt: skip
    until(lambda: resolved(net, name, "A") == [address_of(net, "Service", "ext")], "an address instead")


def subdomain(api: Api, *, look: str) -> None:
    with_netexec(api)
    api.create(service("sub", {"app": "q"}, clusterIP="None"))
    api.create(server("q", "q", "node-1", hostname="two", subdomain="sub"))
    until(lambda: ready(api))
    net, own = shared(api), address_of(api, "Pod", "q")
    full = f"two.sub.{api.namespace}.svc.cluster.local"
    until(lambda: resolved(net, full, "A") == [own], "from elsewhere")
    assert resolved(api, full, "A", by="q") == [own], "and by itself"
    assert shell(api, look, by="q").strip() == "two"


row("DNS, resolve the hostname")(lambda api: subdomain(api, look="hostname"))
row("DNS, resolve the subdomain")(lambda api: subdomain(api, look="cat /etc/hostname"))


# -- Endpoints and EndpointSlices -----------------------------------------------------------------------------------


@row("Endpoint resource lifecycle")
def endpoints_lifecycle(api: Api) -> None:
    subset = {"addresses": [{"ip": "10.0.0.24"}], "ports": [{"name": "http", "port": 80, "protocol": "TCP"}]}
    since = api.call("GET", api.path("Endpoints"))["metadata"]["resourceVersion"]
    with api.watch("Endpoints", "test=yes", since) as following:
        api.create({"kind": "Endpoints", "metadata": {"name": "e", "labels": {"test": "yes"}}, "subsets": [subset]})
        assert following("ADDED")["metadata"]["name"] == "e"
        assert [e["metadata"]["name"] for e in api.list("Endpoints", "test=yes", everywhere=True)] == ["e"]
        api.update("Endpoints", "e", lambda o: o["metadata"]["labels"].update(updated="yes"))
        assert following("MODIFIED")["metadata"]["labels"]["updated"] == "yes"
        changed = [{**subset, "addresses": [{"ip": "10.0.0.25"}]}]
        assert api.patch("Endpoints", "e", {"subsets": changed})["subsets"][0]["addresses"] == [{"ip": "10.0.0.25"}]
        assert following("MODIFIED")["subsets"][0]["addresses"] == [{"ip": "10.0.0.25"}]
        api.delete_all("Endpoints", "test=yes")
        assert following("DELETED")["metadata"]["name"] == "e"


def slices(api: Api, name: str) -> list[Json]:
    return api.list("EndpointSlice", f"kubernetes.io/service-name={name}")


def endpoints_of(api: Api, name: str) -> dict[str, set[int]]:
    """Pod → ports of the ready ones, over all slices of a Service."""
    found: dict[str, set[int]] = {}
    for piece in slices(api, name):
        for endpoint in piece.get("endpoints") or ():
            if endpoint["conditions"]["ready"]:
                found.setdefault(endpoint["targetRef"]["name"], set()).update(p["port"] for p in piece["ports"])
    return found


@row("EndpointSlice API (Pods that match a Service)")
def slices_for_pods(api: Api) -> None:
    net = shared(api)
    net.create(service("sl-one", {"name": "server-node-1"}, ports=[{"name": "http", "port": 80, "targetPort": "http"}]))
    net.create(service("sl-two", SELECTS, ports=[{"name": "udp", "port": 9, "targetPort": "udp", "protocol": "UDP"}]))
    until(lambda: endpoints_of(net, "sl-one") == {"server-node-1": {8080}})
    until(lambda: endpoints_of(net, "sl-two") == {name: {8081} for name in SERVERS})
    (piece,) = slices(net, "sl-two")
    assert piece["addressType"] == "IPv4" and piece["ports"] == [{"name": "udp", "port": 8081, "protocol": "UDP"}]
    assert piece["metadata"]["labels"]["endpointslice.kubernetes.io/managed-by"] == "endpointslice-controller.k8s.io"
    for endpoint in piece["endpoints"]:
        assert endpoint["conditions"] == {"ready": True, "serving": True, "terminating": False}
        assert endpoint["nodeName"] == endpoint["targetRef"]["name"].removeprefix("server-")
    subset = net.get("Endpoints", "sl-one")["subsets"][0]
    assert [a["targetRef"]["name"] for a in subset["addresses"]] == ["server-node-1"]


@row("EndpointSlice API (with a Service that has a selector)")
def slices_come_and_go(api: Api) -> None:
    api.create(service("empty", {"nobody": "has"}))
    until(lambda: len(slices(api, "empty")) == 1 and not slices(api, "empty")[0].get("endpoints"), "an empty slice")
    assert not api.until("Endpoints", "empty", lambda o: True).get("subsets")
    api.delete("Service", "empty")
    until(lambda: not slices(api, "empty"), "the slice goes with the Service")
    api.gone("Endpoints", "empty")


@row("EndpointSlice API (of the API servers)")
def slices_of_kubernetes(api: Api) -> None:
    home = Api(api.cluster, "default")
    (piece,) = slices(home, "kubernetes")
    (subset,) = home.get("Endpoints", "kubernetes")["subsets"]
    assert [e["addresses"] for e in piece["endpoints"]] == [[a["ip"]] for a in subset["addresses"]]
    assert [p["port"] for p in piece["ports"]] == [p["port"] for p in subset["ports"]]


@row("EndpointSlice API (operations)")
def slice_operations(api: Api) -> None:
    obj = {"kind": "EndpointSlice", "metadata": {"name": "sl"}, "addressType": "IPv4",
           "endpoints": [{"addresses": ["1.2.3.4"]}], "ports": []}  # fmt: skip
    lifecycle(api, obj, {"endpoints": [{"addresses": ["1.2.3.5"]}]})


@row("EndpointSlice Mirroring")
def mirroring(api: Api) -> None:
    api.create(service("example"))

    def mirrored() -> list[list[str]]:
        return [e["addresses"] for piece in slices(api, "example") for e in piece.get("endpoints") or ()]

    subset = {"addresses": [{"ip": "10.1.2.3"}], "ports": [{"name": "http", "port": 80, "protocol": "TCP"}]}
    api.create({"kind": "Endpoints", "metadata": {"name": "example"}, "subsets": [subset]})
    until(lambda: mirrored() == [["10.1.2.3"]], "mirrored")
    (piece,) = slices(api, "example")
    by = piece["metadata"]["labels"]["endpointslice.kubernetes.io/managed-by"]
    assert by == "endpointslicemirroring-controller.k8s.io" and piece["ports"][0]["port"] == 80
    api.update("Endpoints", "example", lambda o: o["subsets"][0]["addresses"][0].update(ip="10.2.3.4"))
    until(lambda: mirrored() == [["10.2.3.4"]], "the mirror follows")
    api.delete("Endpoints", "example")
    until(lambda: not slices(api, "example"), "and goes")


# -- Ingress --------------------------------------------------------------------------------------------------------


@row("Ingress API")
def ingress_api(api: Api) -> None:
    rule = {"host": "foo.bar.com", "http": {"paths": [{"path": "/", "pathType": "ImplementationSpecific", "backend": {
        "service": {"name": "test", "port": {"number": 80}}}}]}}  # fmt: skip
    backend = {"service": {"name": "default-backend", "port": {"number": 8080}}}
    obj = {"kind": "Ingress", "metadata": {"name": "ing"}, "spec": {"rules": [rule], "defaultBackend": backend}}
    status = {"loadBalancer": {"ingress": [{"ip": "169.1.1.1"}]}}
    lifecycle(api, obj, {"spec": {"ingressClassName": "some"}}, status=status)


@row("IngressClass API")
def ingress_class_api(api: Api) -> None:
    obj = {"kind": "IngressClass", "metadata": {"name": "class"}, "spec": {"controller": "example.com/controller"}}
    parameters = {"apiGroup": "k8s.example.com", "kind": "Parameters", "name": "p", "scope": "Cluster"}
    lifecycle(api, obj, {"spec": {"parameters": parameters}})


# -- Services -------------------------------------------------------------------------------------------------------


@row("Find Kubernetes Service in default Namespace")
def find_kubernetes(api: Api) -> None:
    found = api.list("Service", everywhere=True)
    assert ("default", "kubernetes") in {(s["metadata"]["namespace"], s["metadata"]["name"]) for s in found}


@row("Kubernetes Service")
def kubernetes_service(api: Api) -> None:
    assert Api(api.cluster, "default").get("Service", "kubernetes")["spec"]["ports"][0]["name"] == "https"
    net = shared(api)
    address = Api(api.cluster, "default").get("Service", "kubernetes")["spec"]["clusterIP"]
    assert shell(net, f"/bin/busybox nc -w 3 {address} 443 </dev/null && echo open").strip() == "open"


def everywhere(net: Api, name: str) -> list[tuple[str, int]]:
    """Where a NodePort Service listens: its name and address, and its port on every node."""
    spec = net.get("Service", name)["spec"]
    nodes = [(address_of(net, "Node", node), int(spec["ports"][0]["nodePort"])) for node in NODES]
    return [(f"{name}.{SHARED}", 80), (spec["clusterIP"], 80), *nodes]


@row("Service, NodePort Service")
def node_port(api: Api) -> None:
    net = shared(api)
    net.create(service("np", SELECTS, type="NodePort"))
    for host, port in everywhere(net, "np"):
        reached(net, host, port, SERVERS)
    for host, port in everywhere(net, "np")[2:]:
        reached(net, host, port, SERVERS, by="host-node-2")
        assert netexec.call("http", host, port, "hostName") in SERVERS, "from the machine too"


def sticky(net: Api, where: list[tuple[str, int]], *, sticks: bool) -> None:
    for host, port in where:
        until(lambda h=host, p=port: (len(set(dial(net, h, p, tries=12))) == 1) == sticks, f"{host} sticky: {sticks}")
    assert not any(a.startswith("error") for a in dial(net, *where[0], tries=3))


def affinity(api: Api, kind: str, *, switched: bool) -> None:
    net = shared(api)
    name = f"aff-{kind.lower()}-{'switch' if switched else 'stay'}"
    net.create(service(name, SELECTS, type=kind, sessionAffinity="ClientIP"))
    where = everywhere(net, name) if kind == "NodePort" else [(address_of(net, "Service", name), 80)]
    sticky(net, where[:3], sticks=True)
    if switched:
        net.patch("Service", name, {"spec": {"sessionAffinity": "None"}})
        sticky(net, where[:3], sticks=False)
        net.patch("Service", name, {"spec": {"sessionAffinity": "ClientIP"}})
        sticky(net, where[:3], sticks=True)


row("Service, ClusterIP type, session affinity to ClientIP")(lambda api: affinity(api, "ClusterIP", switched=False))
row("Service, ClusterIP type, session affinity to None")(lambda api: affinity(api, "ClusterIP", switched=True))
row("Service, NodePort type, session affinity to ClientIP")(lambda api: affinity(api, "NodePort", switched=False))
row("Service, NodePort type, session affinity to None")(lambda api: affinity(api, "NodePort", switched=True))


def to_external_name(api: Api, kind: str) -> None:
    net, name = shared(api), f"to-ext-{kind.lower()}"
    net.create(service(name, SELECTS, type=kind))
    net.create(service(f"{name}-target", SELECTS))
    reached(net, f"{name}.{SHARED}", 80, SERVERS)
    target = f"{name}-target.{SHARED}.svc.cluster.local"

    def change(obj: Json) -> None:
        obj["spec"].update(type="ExternalName", externalName=target)
        for field in ("clusterIP", "clusterIPs"):
            obj["spec"].pop(field, None)

    done = net.update("Service", name, change)
    assert not done["spec"].get("clusterIP") and "nodePort" not in done["spec"]["ports"][0]
    until(lambda: resolved(net, f"{name}.{SHARED}.svc.cluster.local", "CNAME") == [f"{target}."], "the alias")
    until(lambda: resolved(net, f"{name}.{SHARED}", "A") == [address_of(net, "Service", f"{name}-target")])


def from_external_name(api: Api, kind: str) -> None:
    net, name = shared(api), f"from-ext-{kind.lower()}"
    net.create(service(name, type="ExternalName", externalName="example.com"))
    net.patch("Service", name, {"spec": {"type": kind, "selector": SELECTS, "externalName": None}})
    assert net.get("Service", name)["spec"]["clusterIP"]
    for host, port in everywhere(net, name) if kind == "NodePort" else [(f"{name}.{SHARED}", 80)]:
        until(lambda h=host, p=port: dial(net, h, p)[0] in SERVERS, f"{host}:{port}")


row("Service, change type, ClusterIP to ExternalName")(lambda api: to_external_name(api, "ClusterIP"))
row("Service, change type, NodePort to ExternalName")(lambda api: to_external_name(api, "NodePort"))
row("Service, change type, ExternalName to ClusterIP")(lambda api: from_external_name(api, "ClusterIP"))
row("Service, change type, ExternalName to NodePort")(lambda api: from_external_name(api, "NodePort"))


@row("Service, complete ServiceStatus lifecycle")
def service_status(api: Api) -> None:
    since = api.call("GET", api.path("Service"))["metadata"]["resourceVersion"]
    with api.watch("Service", "name=st", since) as following:
        api.create(service("st", type="LoadBalancer"))
        assert following("ADDED")["metadata"]["name"] == "st"
        balancer = {"loadBalancer": {"ingress": [{"ip": "203.0.113.1"}]}}
        api.patch("Service", "st", {"metadata": {"annotations": {"patched": "yes"}}, "status": balancer}, "status")
        assert following("MODIFIED")["status"]["loadBalancer"]["ingress"][0]["ip"] == "203.0.113.1"
        condition = {"type": "StatusUpdate", "status": "True", "reason": "E2E", "message": "by a test",
                     "lastTransitionTime": "2020-01-02T03:04:05Z"}  # fmt: skip
        api.update("Service", "st", lambda o: o["status"].update(conditions=[condition]), "status")
        assert has_condition(api.get("Service", "st", "status"), "StatusUpdate")
        api.patch("Service", "st", {"metadata": {"labels": {"patched": "yes"}}})
        assert api.list("Service", "patched=yes")[0]["metadata"]["name"] == "st"
        api.delete("Service", "st")
        assert following("DELETED")["metadata"]["name"] == "st"


@row("Service, deletes a collection of services")
def service_collection(api: Api) -> None:
    for name, label in (("a", "go"), ("b", "go"), ("c", "stay")):
        made = service(name)
        made["metadata"]["labels"] = {"test": label}
        api.create(made)
    api.delete_all("Service", "test=go")
    assert [s["metadata"]["name"] for s in api.list("Service")] == ["c"]


def endpoint_names(api: Api, name: str) -> dict[str, set[int]]:
    """The same read from Endpoints and from slices."""
    found: dict[str, set[int]] = {}
    for subset in api.get("Endpoints", name).get("subsets") or ():
        for address in subset.get("addresses") or ():
            found.setdefault(address["targetRef"]["name"], set()).update(p["port"] for p in subset["ports"])
    assert found == endpoints_of(api, name)
    return found


@row("Service, endpoints")
def service_endpoints(api: Api) -> None:
    with_netexec(api)
    api.create(service("svc", {"app": "web"}))
    until(lambda: endpoint_names(api, "svc") == {})
    for name, node in (("one", "node-1"), ("two", "node-2")):
        api.create(server(name, "web", node))
        until(lambda n=name: n in endpoint_names(api, "svc"), name)
    assert endpoint_names(api, "svc") == {"one": {8080}, "two": {8080}}
    net = shared(api)
    reached(net, f"svc.{api.namespace}", 80, {"one", "two"})
    api.delete("Pod", "one")
    until(lambda: endpoint_names(api, "svc") == {"two": {8080}})
    until(lambda: set(dial(net, f"svc.{api.namespace}", 80, tries=6)) == {"two"}, "only the other answers")
    api.delete("Pod", "two")
    until(lambda: endpoint_names(api, "svc") == {})
    until(lambda: "refused" in dial(net, f"svc.{api.namespace}", 80)[0], "refused at once")


@row("Service, endpoints with multiple ports")
def multiport_endpoints(api: Api) -> None:
    with_netexec(api)
    ports = [{"name": "a", "port": 80, "targetPort": "http"}, {"name": "b", "port": 81, "targetPort": "udp"}]
    ports[1]["protocol"] = "UDP"
    api.create(service("svc", {"app": "web"}, ports=ports))
    # Each Pod has a port of one of the names only.
    for name, gone in (("one", "udp"), ("two", "http")):
        made = server(name, "web", "node-1")
        offered = made["spec"]["containers"][0]["ports"]
        made["spec"]["containers"][0]["ports"] = [p for p in offered if p["name"] != gone]
        api.create(made)
    until(lambda: endpoint_names(api, "svc") == {"one": {8080}, "two": {8081}})
    net, host = shared(api), f"svc.{api.namespace}"
    reached(net, host, 80, {"one"})
    reached(net, host, 81, {"two"}, protocol="udp")
    api.delete("Pod", "one")
    until(lambda: endpoint_names(api, "svc") == {"two": {8081}})
    api.delete("Pod", "two")
    until(lambda: endpoint_names(api, "svc") == {})


@row("Service, should serve endpoints on same port and different protocols.")
def both_protocols(api: Api) -> None:
    net = shared(api)
    tcp: Json = {"name": "tcp", "port": 80, "targetPort": 8080, "protocol": "TCP"}
    udp: Json = {"name": "udp", "port": 80, "targetPort": 8081, "protocol": "UDP"}
    net.create(service("both", SELECTS, ports=[tcp, udp]))
    host = address_of(net, "Service", "both")
    reached(net, host, 80, SERVERS)
    reached(net, host, 80, SERVERS, protocol="udp")
    net.update("Service", "both", lambda o: o["spec"].update(ports=[tcp]))
    until(lambda: dial(net, host, 80, protocol="udp")[0].startswith("error"), "UDP is dropped")
    reached(net, host, 80, SERVERS)
    net.update("Service", "both", lambda o: o["spec"].update(ports=[udp]))
    until(lambda: dial(net, host, 80)[0].startswith("error"), "TCP is dropped")
    reached(net, host, 80, SERVERS, protocol="udp")


@row("Service endpoint latency, thresholds")
def latency(api: Api) -> None:
    with_netexec(api)
    api.create(server("web", "web", "node-2"))
    until(lambda: ready(api))
    since = api.call("GET", api.path("EndpointSlice"))["metadata"]["resourceVersion"]
    created: dict[str, float] = {}
    taken: list[float] = []
    with api.watch("EndpointSlice", "", since) as following:
        for number in range(100):
            created[f"s{number}"] = time.monotonic()
            api.create(service(f"s{number}", {"app": "web"}))
        while len(taken) < 100:
            piece = following("ADDED")
            taken.append(time.monotonic() - created[piece["metadata"]["labels"]["kubernetes.io/service-name"]])
    # Upstream's limits are 20 s and 50 s; the first slices are read after the last Service was made.
    quantiles = statistics.quantiles(taken, n=100)
    assert quantiles[49] < 20 and quantiles[98] < 50, quantiles


# -- Pods by address ------------------------------------------------------------------------------------------------


def every_server(api: Api, *, by: tuple[str, ...], protocol: str) -> None:
    net, port = shared(api), 8081 if protocol == "udp" else 8080
    for client in by:
        for name in SERVERS:
            address = address_of(net, "Pod", name)
            until(lambda c=client, a=address, n=name: dial(net, a, port, by=c, protocol=protocol) == [n], name)


FROM_PODS, FROM_NODES = tuple(f"client-{n}" for n in NODES), tuple(f"host-{n}" for n in NODES)
row("Networking, intra pod http")(lambda api: every_server(api, by=FROM_PODS, protocol="http"))
row("Networking, intra pod udp")(lambda api: every_server(api, by=FROM_PODS, protocol="udp"))
row("Networking, intra pod http, from node (TCP)")(lambda api: every_server(api, by=FROM_NODES, protocol="http"))
row("Networking, intra pod http, from node (UDP)")(lambda api: every_server(api, by=FROM_NODES, protocol="udp"))


@row("Scheduling, HostPort matching and HostIP and Protocol not-matching")
def host_ports(api: Api) -> None:
    with_netexec(api)
    net = shared(api)
    node = address_of(net, "Node", "node-1")
    wanted = {"one": ("127.0.0.1", "TCP"), "two": (node, "TCP"), "three": (node, "UDP")}
    for name, (address, protocol) in wanted.items():
        made = server(name, "web", "node-1")
        del made["spec"]["nodeName"]
        made["spec"]["nodeSelector"] = {"kubernetes.io/hostname": "node-1"}
        made["spec"]["containers"][0]["ports"] = [{
            "hostIP": address, "hostPort": 54323, "containerPort": 8081 if protocol == "UDP" else 8080,
            "protocol": protocol}]  # fmt: skip
        api.create(made)
    until(lambda: len(ready(api)) == 3, "all three share the node")
    assert dial(net, "127.0.0.1", 54323, by="host-node-1") == ["one"]
    assert dial(net, node, 54323, by="host-node-1") == ["two"] == dial(net, node, 54323, by="client-node-2")
    assert dial(net, node, 54323, by="host-node-1", protocol="udp") == ["three"]


# -- proxies of the API server --------------------------------------------------------------------------------------


@row("Proxy, logs service endpoint")
def node_logs(api: Api) -> None:
    for node in NODES:
        for name in (node, f"{node}:10250"):
            answer = api.answer("GET", f"/api/v1/nodes/{name}/proxy/logs/")
            assert answer.ok and "<a href=" in answer.text, answer.text


def proxied(net: Api, path: str) -> None:
    """Every method goes through a Pod's and a Service's proxy and comes back."""
    for kind, name in (("Pod", "server-node-2:8080"), ("Service", "proxied")):
        for method in ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"):
            where = net.path(kind, name, f"proxy{path}{method if path else ''}?method={method}")
            answer = net.answer(method, where, "body" if method in ("POST", "PUT", "PATCH") else None,
                                allow_redirects=False)  # fmt: skip
            if not path and method in ("GET", "HEAD"):
                assert answer.status_code == 301 and answer.headers["Location"].partition("?")[0].endswith("/proxy/")
                continue
            assert answer.status_code == 200, (kind, method, answer.text)
            if method != "HEAD":
                said = answer.json()
                assert said["method"] == method and said["query"] == {"method": method}
                assert said["path"] == (f"{path}{method}" if path else "/")
                assert said["body"] == ("body" if method in ("POST", "PUT", "PATCH") else "")


@row("Proxy, validate Proxy responses")
def proxy_responses(api: Api) -> None:
    net = shared(api)
    net.create(service("proxied", SELECTS))
    until(lambda: endpoints_of(net, "proxied"))
    proxied(net, "")


@row("Proxy, validate ProxyWithPath responses")
def proxy_with_path(api: Api) -> None:
    net = shared(api)
    until(lambda: endpoints_of(net, "proxied"))
    proxied(net, "/some/path/with/")


# -- beyond the list ------------------------------------------------------------------------------------------------


@row("+ a Pod reaches itself through its Service")
def hairpin(api: Api) -> None:
    net = shared(api)
    net.create(service("hairpin", {"name": "server-node-1"}))
    for host in (address_of(net, "Service", "hairpin"), f"hairpin.{SHARED}"):
        until(lambda h=host: dial(net, h, 80, by="server-node-1") == ["server-node-1"], host)


@row("+ external IPs, local traffic policy, the client's address")
def external_and_local(api: Api) -> None:
    net = shared(api)
    net.create(service("outer", SELECTS, externalIPs=["198.51.100.7"]))
    reached(net, "198.51.100.7", 80, SERVERS)
    net.create(service("inner", SELECTS, internalTrafficPolicy="Local"))
    address = address_of(net, "Service", "inner")
    for node in NODES:
        reached(net, address, 80, {f"server-{node}"}, by=f"client-{node}")
    client = address_of(net, "Pod", "client-node-1")
    assert dial(net, address, 80, request="clientip") == [client]


@row("+ traffic stays in its zone, or on its node")
def distribution(api: Api) -> None:
    net = shared(api)
    for name, kind in (("zonal", "PreferSameZone"), ("nodal", "PreferSameNode")):
        net.create(service(name, SELECTS, trafficDistribution=kind))
    addresses = {name: address_of(net, "Service", name) for name in ("zonal", "nodal")}
    for node in NODES:
        own = [f"server-{node}"]
        until(lambda n=node, o=own: list(set(dial(net, addresses["nodal"], 80, by=f"client-{n}", tries=10))) == o, node)
    assert len(set(dial(net, addresses["zonal"], 80, tries=16))) == 2, "there are no zones"
    for node in NODES:
        net.patch("Node", node, {"metadata": {"labels": {"topology.kubernetes.io/zone": f"zone-of-{node}"}}})
    for node in NODES:
        own = [f"server-{node}"]
        until(lambda n=node, o=own: list(set(dial(net, addresses["zonal"], 80, by=f"client-{n}", tries=10))) == o, node)


@row("+ addresses that are not ready")
def not_ready(api: Api) -> None:
    with_netexec(api)
    made = server("late", "late", "node-1")
    probe = {"exec": {"command": ["ls", "/tmp/go"]}, "timeoutSeconds": 5, "periodSeconds": 1}
    made["spec"]["containers"][0]["readinessProbe"] = probe
    made["spec"]["terminationGracePeriodSeconds"] = 5
    api.create(made)
    api.create(service("waits", {"app": "late"}))
    api.create(service("all", {"app": "late"}, clusterIP="None", publishNotReadyAddresses=True))
    net = shared(api)
    until(lambda: resolved(net, f"all.{api.namespace}", "A") == [address_of(api, "Pod", "late")], "named before")
    until(lambda: "refused" in dial(net, f"waits.{api.namespace}", 80)[0], "not served before")
    until(lambda: shell(api, "touch /tmp/go && echo yes", by="late"), "its server answers to the API server's proxy")
    until(lambda: dial(net, f"waits.{api.namespace}", 80) == ["late"], "served once it is ready")


@row("+ a rolling update drops no request")
def rolling_update(api: Api) -> None:
    """Four Pods here, twenty in bench/rolling.py. A Pod that ends serves on for a second, as long as nodes may take to
    learn that it is no endpoint any more (upstream's documentation, "Pod termination", asks for the same)."""
    net = shared(api)
    container = {
        "name": "c", "image": "docker.io/library/nginx:1.22", "lifecycle": {"preStop": {"sleep": {"seconds": 1}}},
        "readinessProbe": {"httpGet": {"port": 80, "path": "/index.html"}, "periodSeconds": 1},
    }  # fmt: skip
    template = {"metadata": {"labels": {"app": "rolls"}}, "spec": {
        "terminationGracePeriodSeconds": 3, "containers": [container], "automountServiceAccountToken": False}}
    spec = {"replicas": 4, "minReadySeconds": 1, "selector": {"matchLabels": {"app": "rolls"}}, "template": template}
    net.create({"kind": "Deployment", "metadata": {"name": "rolls"}, "spec": spec})
    net.create(service("rolls", {"app": "rolls"}, ports=[{"port": 80}]))
    net.until("Deployment", "rolls", lambda o: o["status"].get("readyReplicas") == 4, "ready")
    address = address_of(net, "Service", "rolls")
    until(lambda: "nginx" in dial(net, address, 80, request="index.html")[0], "served")
    net.patch("Deployment", "rolls", {"spec": {"template": {"metadata": {"annotations": {"v": "2"}}}}})
    asked = 0

    def rolled() -> bool:
        nonlocal asked
        for by in ("client-node-1", "client-node-2"):
            answers = dial(net, address, 80, by=by, tries=10, request="index.html")
            asked += len(answers)
            lost = [a for a in answers if "Welcome to nginx" not in a]
            if lost:
                raise RuntimeError(f"of {asked} requests: {lost}")
        status = net.get("Deployment", "rolls")["status"]
        return bool(status.get("updatedReplicas") == 4 == status["replicas"] == status.get("availableReplicas")
                    and not ended(net))  # fmt: skip

    until(rolled, "rolled")
    assert asked >= 40


def ended(net: Api) -> list[Json]:
    return [p for p in net.list("Pod", "app=rolls") if "deletionTimestamp" in p["metadata"]]


@row("+guestbook application (sig-cli)")
def guestbook(api: Api) -> None:
    with_netexec(api)
    parts = {"frontend": (3, 80, {}), "agnhost-primary": (1, 6379, {}), "agnhost-replica": (2, 6379, {})}
    parts["agnhost-replica"][2]["REPLICA_OF"] = "agnhost-primary"
    objects: list[Json] = []
    for name, (replicas, port, environment) in parts.items():
        made = server(name, name, "", http=port)
        template = {"metadata": {"labels": {"app": name}}, "spec": made["spec"]}
        variables = template["spec"]["containers"][0]["env"]
        variables[:] = [v for v in variables if v["name"] != "NAME"]  # so that each Pod has its own
        variables += [{"name": k, "value": v} for k, v in environment.items()]
        spec = {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template}
        objects.append({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec})
        ports = [{"port": port}]
        objects.append({"apiVersion": "v1", **service(name, {"app": name}, ports)})
    manifest = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    api.cluster.kubectl("create", "-n", api.namespace, "-f", "-", given=manifest)
    api.until_list("Pod", "", lambda _: len(ready(api)) == 6, "all of the guestbook")

    def ask(cmd: str, value: str = "") -> Any:
        query = {"cmd": cmd, "key": "messages", "value": value}
        told = api.answer("GET", api.path("Service", "frontend", "proxy/guestbook"), params=query)
        return told.json() if told.ok and told.text.startswith("{") else told.text

    until(lambda: ask("get") == {"data": ""}, "an empty book")
    until(lambda: ask("set", "TestEntry") == {"message": "Updated"}, "an entry")
    for _ in range(6):
        until(lambda: ask("get") == {"data": "TestEntry"}, "the entry, from any replica")
    api.cluster.kubectl("delete", "-n", api.namespace, "--grace-period=0", "--force", "-f", "-", given=manifest)
    for kind in ("Pod", "Deployment", "ReplicaSet", "Service"):
        api.until_list(kind, "", lambda found: not found, "nothing is left")


@pytest.mark.parametrize("name", row.functions)
def test_row(outcomes: dict[str, Future[None]], name: str) -> None:
    outcomes[name].result(timeout=280)


def test_all_rows_are_here() -> None:
    assert len([n for n in row.functions if not n.startswith("+")]) == 41, json.dumps(sorted(row.functions))
