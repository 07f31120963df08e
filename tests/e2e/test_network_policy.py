"""NetworkPolicies between real Pods on two nodes: the recipes of the Kubernetes documentation and what it promises
beside them. Connections are made by sockets of this process inside the Pods' network namespaces."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import pytest
from tests.e2e.harness import Cluster, busybox, host_pids, pod, until

from podwright.runtime.oci.namespaces import enter, in_thread

FLAGS = ("--nodes", "2")
LEAVE = 'trap "exit 0" TERM'
_T = TypeVar("_T")
_PATIENCE = 0.35
"""How long a connection may take: a packet that is dropped is never answered."""

PODS = {
    "web": ("default", "node-1", {"app": "web", "role": "db"}),
    "neighbour": ("default", "node-1", {"app": "neighbour"}),
    "friend": ("default", "node-2", {"app": "friend", "role": "frontend"}),
    "visitor": ("other", "node-2", {"app": "visitor", "role": "frontend"}),
}
OPEN = (80, 6379, 32100)
Edge = tuple[str, str, int]
"""From a Pod (or "node", the web Pod's own) to a Pod's port."""
EVERY: list[Edge] = [
    *((source, "web", port) for source in (*PODS, "node") for port in OPEN),
    *((source, target, 80) for source in ("web", "friend") for target in ("neighbour", "visitor")),
]  # fmt: skip


class Net:
    """The Pods' addresses and network namespaces, with something that listens on each port of OPEN in each."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.addresses: dict[str, str] = {}
        self.namespaces: dict[str, str] = {"node": f"/run/netns/pw-{cluster.name}-node-1"}
        self._listening: list[socket.socket] = []

    def add(self, name: str, namespace: str) -> None:
        cluster = self.cluster
        running = until(lambda: _with_address(cluster, name, namespace), f"{name} runs")
        self.addresses[name] = running["status"]["podIP"]
        self.namespaces[name] = f"/proc/{host_pids(running)['main']}/ns/net"
        for port in OPEN:
            self._listening.append(self.inside(name, lambda port=port: socket.create_server(("", port), backlog=512)))

    def inside(self, name: str, what: Callable[[], _T]) -> _T:
        """Sockets stay in the namespace in which they were made."""

        def there() -> _T:
            enter(self.namespaces[name], "net")
            return what()

        return in_thread(there)

    def connects(self, edge: Edge, patience: float = _PATIENCE) -> bool:
        source, target, port = edge
        address = self.addresses.get(target, target)

        def attempt() -> bool:
            with contextlib.suppress(OSError):
                socket.create_connection((address, port), timeout=patience).close()
                return True
            return False

        return self.inside(source, attempt)

    def refused(self, patience: float) -> set[Edge]:
        with ThreadPoolExecutor(len(EVERY)) as pool:
            passed = pool.map(lambda edge: self.connects(edge, patience), EVERY)
            return {edge for edge, through in zip(EVERY, passed, strict=True) if not through}

    def close(self) -> None:
        for listening in self._listening:
            listening.close()

    @contextlib.contextmanager
    def policies(self, *policies: dict[str, Any]) -> Iterator[None]:
        """With these policies, until the block ends; then everything is open again."""
        paths = []
        for policy in policies:
            namespace = policy["metadata"].get("namespace", "default")
            path = f"/apis/networking.k8s.io/v1/namespaces/{namespace}/networkpolicies"
            code, answer = self.cluster.request("POST", path, policy)
            assert code == 201, answer
            paths.append(f"{path}/{policy['metadata']['name']}")
        try:
            yield
        finally:
            for path in paths:
                assert self.cluster.request("DELETE", path)[0] == 200

    def becomes(self, refused: set[Edge]) -> None:
        """Exactly these edges are refused, soon. On a slow machine what is let through takes its time too."""
        deadline, patience = time.monotonic() + 60, _PATIENCE
        while (found := self.refused(patience)) != refused:
            assert time.monotonic() < deadline, f"refused too: {found - refused}, still open: {refused - found}"
            patience = min(2 * patience, 5.0)


def _with_address(cluster: Cluster, name: str, namespace: str) -> dict[str, Any] | None:
    _, found = cluster.request("GET", f"/api/v1/namespaces/{namespace}/pods/{name}")
    statuses = found.get("status", {}).get("containerStatuses") or [{}]
    return dict(found) if "running" in statuses[0].get("state", {}) and found["status"].get("podIP") else None


@pytest.fixture(scope="module")
def net(cluster: Cluster) -> Iterator[Net]:
    code, _ = cluster.request("POST", "/api/v1/namespaces", {"metadata": {"name": "other", "labels": {"team": "x"}}})
    assert code == 201
    until(lambda: cluster.request("GET", "/api/v1/namespaces/other/serviceaccounts/default")[0] == 200, "account")
    for name, (namespace, node, labels) in PODS.items():
        main = busybox("main", f"{LEAVE}; sleep 1000 & wait", ports=[{"name": "redis", "containerPort": 6379}])
        code, answer = cluster.request(
            "POST", f"/api/v1/namespaces/{namespace}/pods", pod(name, main, labels=labels, nodeName=node)
        )
        assert code == 201, answer
    made = Net(cluster)
    for name, (namespace, _, _) in PODS.items():
        made.add(name, namespace)
    made.becomes(set())
    yield made
    made.close()


def policy(name: str, selector: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    chosen = {"matchLabels": selector} if selector else {}
    return {"metadata": {"name": name}, "spec": {"podSelector": chosen, **spec}}


DENY_INGRESS = policy("default-deny-ingress", policyTypes=["Ingress"])
DENY_EGRESS = policy("default-deny-egress", policyTypes=["Egress"])
IN_DEFAULT = {"web", "neighbour", "friend"}


def edges(keep: Callable[[Edge], bool]) -> set[Edge]:
    """Those of EVERY that `keep` wants, less what no policy can refuse: a Pod and its node, a Pod and itself."""
    return {edge for edge in EVERY if edge[0] not in ("node", edge[1]) and keep(edge)}


def test_default_deny_all_ingress_and_allow_all_beside_it(net: Net) -> None:
    into_default = edges(lambda e: e[1] in IN_DEFAULT)
    with net.policies(DENY_INGRESS):
        net.becomes(into_default)
        with net.policies(policy("allow-all-ingress", ingress=[{}])):
            net.becomes(set())
        net.becomes(into_default)
    net.becomes(set())


def test_default_deny_all_egress(net: Net) -> None:
    with net.policies(DENY_EGRESS):
        net.becomes(edges(lambda e: e[0] in IN_DEFAULT))


def test_default_deny_all_both_ways(net: Net) -> None:
    with net.policies(policy("default-deny-all", policyTypes=["Ingress", "Egress"])):
        net.becomes(edges(lambda e: e[0] in IN_DEFAULT or e[1] in IN_DEFAULT))


def test_the_documentations_first_example(net: Net) -> None:
    """role=db takes 6379 from a range less a part of it, from namespaces of a project and from the frontend, and
    reaches one port of one network."""
    example = policy(
        "test-network-policy", {"role": "db"}, policyTypes=["Ingress", "Egress"],
        ingress=[{
            "from": [
                {"ipBlock": {"cidr": "172.17.0.0/16", "except": ["172.17.1.0/24"]}},
                {"namespaceSelector": {"matchLabels": {"project": "myproject"}}},
                {"podSelector": {"matchLabels": {"role": "frontend"}}},
            ],
            "ports": [{"protocol": "TCP", "port": 6379}],
        }],
        egress=[{"to": [{"ipBlock": {"cidr": "10.0.0.0/24"}}], "ports": [{"protocol": "TCP", "port": 5978}]}],
    )  # fmt: skip
    allowed = {("friend", "web", 6379)}
    refused = edges(lambda e: e[0] == "web" or e[1] == "web") - allowed
    with net.policies(example):
        net.becomes(refused)
        net.cluster.kubectl("label", "namespace", "other", "project=myproject")
        net.becomes(refused - {("visitor", "web", 6379)})
        net.cluster.kubectl("label", "namespace", "other", "project-")
        net.becomes(refused)


def test_namespace_and_pod_selector_in_one_item_must_both_fit(net: Net) -> None:
    by_name = {"matchLabels": {"kubernetes.io/metadata.name": "other"}}
    both = {"namespaceSelector": by_name, "podSelector": {"matchLabels": {"role": "frontend"}}}
    neither = {"namespaceSelector": by_name, "podSelector": {"matchLabels": {"role": "backend"}}}
    with net.policies(policy("both", {"app": "web"}, ingress=[{"from": [both, neither]}])):
        net.becomes(edges(lambda e: e[1] == "web" and e[0] != "visitor"))
    with net.policies(policy("neither", {"app": "web"}, ingress=[{"from": [neither]}])):
        net.becomes(edges(lambda e: e[1] == "web"))


def test_a_range_of_ports_and_ports_by_name(net: Net) -> None:
    span = {"protocol": "TCP", "port": 32000, "endPort": 32768}
    egress = policy("multi-port-egress", {"app": "friend"}, policyTypes=["Egress"], egress=[{"ports": [span]}])
    with net.policies(egress):
        net.becomes(edges(lambda e: e[0] == "friend" and e[2] != 32100))
    with net.policies(policy("named", {"app": "web"}, ingress=[{"ports": [{"port": "redis"}]}])):
        net.becomes(edges(lambda e: e[1] == "web" and e[2] != 6379))


def test_blocks_of_addresses_with_exceptions(net: Net) -> None:
    hole = f"{net.addresses['friend']}/32"
    block = {"ipBlock": {"cidr": "0.0.0.0/0", "except": [hole]}}
    with net.policies(policy("blocks", {"app": "web"}, ingress=[{"from": [block]}])):
        net.becomes(edges(lambda e: e[1] == "web" and e[0] == "friend"))


def test_a_pod_that_changes_its_labels_changes_sides(net: Net) -> None:
    with net.policies(policy("frontend-only", {"app": "web"}, ingress=[
        {"from": [{"podSelector": {"matchLabels": {"role": "frontend"}}}]}
    ])):  # fmt: skip
        net.becomes(edges(lambda e: e[1] == "web" and e[0] != "friend"))
        net.cluster.kubectl("label", "pod", "neighbour", "role=frontend")
        net.becomes(edges(lambda e: e[1] == "web" and e[0] == "visitor"))
        net.cluster.kubectl("label", "pod", "neighbour", "role-")
        net.becomes(edges(lambda e: e[1] == "web" and e[0] != "friend"))


def test_services_are_translated_first_and_what_is_established_goes_on(net: Net) -> None:
    service = {
        "metadata": {"name": "web"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 1080, "targetPort": 80}]},
    }
    code, made = net.cluster.request("POST", "/api/v1/namespaces/default/services", service)
    assert code == 201, made
    address = made["spec"]["clusterIP"]
    until(lambda: net.connects(("friend", address, 1080)), "the Service is served")
    talking = net.inside("friend", lambda: socket.create_connection((address, 1080), timeout=30))
    with net.policies(policy("one-port", {"app": "web"}, ingress=[{"ports": [{"port": 80}]}])):
        net.becomes(edges(lambda e: e[1] == "web" and e[2] != 80))
        until(lambda: net.connects(("friend", address, 1080)), "the policy is about the Pod's port, not the Service's")
    with net.policies(DENY_INGRESS):
        net.becomes(edges(lambda e: e[1] in IN_DEFAULT))
        assert not net.connects(("friend", address, 1080))
        until(lambda: net.connects(("web", address, 1080)), "a Pod reaches itself, through its Service too")
        talking.sendall(b"still here")
        talking.shutdown(socket.SHUT_WR)
        until(lambda: _state(talking) == _FIN_WAIT2, "the other side has acknowledged all of it")
    talking.close()


_FIN_WAIT2 = 5
"""The kernel's number of that state; before the acknowledgement it is FIN_WAIT1."""


def _state(connection: socket.socket) -> int:
    return connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]


def test_probes_pass_and_a_new_pod_is_isolated_from_its_first_packet(net: Net) -> None:
    """The first thing that its container does is to connect, as often as it can, to a Pod that it may not reach."""
    # nc ends by itself only if it could not connect.
    try_once = f"timeout 2 nc -w 1 {net.addresses['visitor']} 80 </dev/null; test $? = 1 || exit 7"
    probe = {"tcpSocket": {"port": 80}, "periodSeconds": 1}
    eager = busybox("main", f"{LEAVE}; {try_once}; httpd -f -p 80 & wait", readinessProbe=probe)
    deny = policy("deny-eager", {"app": "eager"}, policyTypes=["Ingress", "Egress"])
    with net.policies(deny):
        for number, node in enumerate(("node-1", "node-2")):
            made = pod(f"eager-{number}", eager, labels={"app": "eager"}, nodeName=node, restartPolicy="Never")
            assert net.cluster.request("POST", "/api/v1/namespaces/default/pods", made)[0] == 201
        for number in range(2):
            net.cluster.running(f"eager-{number}")
        free = pod("free", busybox("main", try_once), restartPolicy="Never")
        assert net.cluster.request("POST", "/api/v1/namespaces/default/pods", free)[0] == 201
        ended = net.cluster.phase("free", "Failed")
        assert ended["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 7
    net.cluster.kubectl("delete", "pod", "eager-0", "eager-1", "free", "--now", "--wait=false")


def test_without_policies_there_is_no_table(net: Net) -> None:
    def tables() -> str:
        command = ["ip", "netns", "exec", f"pw-{net.cluster.name}-node-1", "nft", "list", "tables"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    with net.policies(DENY_INGRESS):
        until(lambda: "-policies" in tables(), "the table is there")
    until(lambda: "-policies" not in tables(), "the table is gone")
