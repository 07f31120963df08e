"""The rules of NetworkPolicies: random clusters against the oracle, and what the documentation says in its examples."""

from __future__ import annotations

import itertools
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.network.policy.oracle import allowed
from tests.unit.network.policy.packets import Packet, passes

from podwright.network.policy.members import member
from podwright.network.policy.policies import policy
from podwright.network.policy.rules import PolicyRules
from podwright.network.policy.table import Table

Object = dict[str, Any]
NODE = "n1"
ADDRESSES = [f"10.1.{node}.{number}" for node in (1, 2) for number in (2, 3, 4)]
OUTSIDE = ["8.8.8.8", "172.17.1.9"]

_labels = st.dictionaries(st.sampled_from(["app", "role"]), st.sampled_from(["a", "b"]), max_size=2)
_selector = st.one_of(
    st.just({}),
    st.builds(lambda labels: {"matchLabels": labels}, _labels),
    st.builds(
        lambda key, operator: {"matchExpressions": [{"key": key, "operator": operator}]},
        st.sampled_from(["app", "role"]), st.sampled_from(["Exists", "DoesNotExist"]),
    ),
)
_peer = st.one_of(
    st.builds(lambda s: {"podSelector": s}, _selector),
    st.builds(lambda s: {"namespaceSelector": s}, _selector),
    st.builds(lambda n, p: {"namespaceSelector": n, "podSelector": p}, _selector, _selector),
    st.sampled_from([
        {"ipBlock": {"cidr": "0.0.0.0/0"}},
        {"ipBlock": {"cidr": "0.0.0.0/0", "except": ["10.0.0.0/8", "172.17.1.0/24"]}},
        {"ipBlock": {"cidr": "10.1.0.0/16", "except": ["10.1.2.0/24"]}},
        {"ipBlock": {"cidr": "10.1.1.2/32"}},
    ]),
)  # fmt: skip
_port = st.sampled_from([
    {"protocol": "TCP"},
    {"protocol": "UDP", "port": 53},
    {"protocol": "TCP", "port": 80},
    {"port": 80, "endPort": 90},
    {"port": 85, "endPort": 8080},
    {"port": "web"},
    {"protocol": "UDP", "port": "web"},
])  # fmt: skip


def _policy(
    number: int, namespace: str, selector: Object, types: list[str], ingress: list[Object], egress: list[Object]
) -> Object:
    spec = {"podSelector": selector, "policyTypes": types, "ingress": ingress, "egress": egress}
    return {"metadata": {"name": f"p{number}", "namespace": namespace}, "spec": spec}


def _rule(field: str) -> st.SearchStrategy[Object]:
    return st.builds(
        lambda peers, ports: {field: peers, "ports": ports}, st.lists(_peer, max_size=2), st.lists(_port, max_size=3),
    )  # fmt: skip


_policies = st.lists(
    st.builds(
        _policy, st.integers(0, 9), st.sampled_from(["red", "blue"]), _selector,
        st.sampled_from([["Ingress"], ["Egress"], ["Ingress", "Egress"]]),
        st.lists(_rule("from"), max_size=2), st.lists(_rule("to"), max_size=2),
    ),
    max_size=3, unique_by=lambda p: p["metadata"]["name"],
)  # fmt: skip


def _pod(address: str, namespace: str, labels: dict[str, str], web: int, protocol: str, host: bool) -> Object:
    return {
        "metadata": {"name": f"at-{address}", "namespace": namespace, "labels": labels},
        "spec": {
            "nodeName": NODE if address.startswith("10.1.1.") else "n2",
            "hostNetwork": host,
            "containers": [{"ports": [{"name": "web", "containerPort": web, "protocol": protocol}]}],
        },
        "status": {"phase": "Running", "podIP": address},
    }


_pods = st.tuples(*(
    st.builds(
        _pod, st.just(address), st.sampled_from(["red", "blue", "ghost"]), _labels, st.sampled_from([80, 8080]),
        st.sampled_from(["TCP", "UDP"]), st.sampled_from([False, False, False, True]),
    )
    for address in ADDRESSES
))  # fmt: skip
_namespaces = st.tuples(*(
    st.builds(lambda name, labels: {"metadata": {"name": name, "labels": labels}}, st.just(name), _labels)
    for name in ("red", "blue")
))  # fmt: skip
PACKETS = [
    Packet(source, target, protocol, port)
    for source, target in itertools.product([*ADDRESSES[:5], *OUTSIDE], repeat=2)
    for protocol, port in (("tcp", 80), ("tcp", 8080), ("udp", 53), ("udp", 80), ("icmp", 0))
]


def key(obj: Object) -> str:
    return f"{obj['metadata']['namespace']}/{obj['metadata']['name']}"


@settings(max_examples=120, deadline=None)
@given(_policies, _pods, _namespaces, _policies, _pods)
def test_the_table_lets_pass_what_the_documentation_says(
    policies: list[Object], pods: tuple[Object, ...], namespaces: tuple[Object, ...],
    before: list[Object], pods_before: tuple[Object, ...],
) -> None:  # fmt: skip
    """Also after changes: what stood there before leaves no trace."""
    rules = PolicyRules("t")
    for one in before:
        rules.set_policy(key(one), policy(one))
    for pod in pods_before:
        rules.set_pod(key(pod), member(pod, NODE))
    for one in policies:
        rules.set_policy(key(one), policy(one))
    for one in before:
        if key(one) not in map(key, policies):
            rules.set_policy(key(one), None)
    for pod in pods_before:
        if key(pod) not in map(key, pods):
            rules.set_pod(key(pod), None)
    for pod in pods:
        rules.set_pod(key(pod), member(pod, NODE))
    for namespace in namespaces:
        rules.set_namespace(namespace["metadata"]["name"], namespace["metadata"]["labels"])
    table = rules.table()
    for packet in PACKETS:
        wanted = allowed(policies, list(pods), list(namespaces), NODE, packet)
        assert passes(table, packet) == wanted, packet


def _web(number: int, **more: Any) -> Object:
    return _pod(f"10.1.1.{number}", "red", {"app": "a"}, 80, "TCP", False) | more


def _deny(**spec: Any) -> Object:
    return {"metadata": {"name": "deny", "namespace": "red"}, "spec": {"podSelector": {}, **spec}}


def test_policy_types_default_to_ingress_and_to_egress_where_there_are_such_rules() -> None:
    assert set(policy(_deny()).directions) == {"ingress"}
    assert set(policy(_deny(egress=[{}])).directions) == {"ingress", "egress"}
    assert set(policy(_deny(policyTypes=["Egress"])).directions) == {"egress"}


def test_a_pod_is_no_target_without_an_address_of_its_own_or_after_its_end() -> None:
    assert member(_web(2, status={}), NODE) is None
    known_before = member(_web(2, status={}), NODE, "10.1.1.2")
    assert known_before is not None and known_before.local
    assert member(_web(2, status={"phase": "Succeeded", "podIP": "10.1.1.2"}), NODE) is None
    both = {"phase": "Running", "podIP": "fd00::2", "podIPs": [{"ip": "fd00::2"}, {"ip": "10.1.1.9"}]}
    found = member(_web(2, status=both), NODE)
    assert found is not None and found.address == "10.1.1.9"


def test_ports_of_sidecars_have_names_too() -> None:
    pod = _web(2)
    port = {"name": "admin", "containerPort": 9901}
    pod["spec"]["initContainers"] = [{"restartPolicy": "Always", "ports": [port]}, {"ports": [{**port, "name": "no"}]}]
    found = member(pod, NODE)
    assert found is not None and {p.name for p in found.ports} == {"web", "admin"}


def test_blocks_of_ipv6_allow_nothing() -> None:
    rules = PolicyRules("t")
    rules.set_policy("red/deny", policy(_deny(ingress=[{"from": [{"ipBlock": {"cidr": "::/0"}}]}])))
    rules.set_pod("red/web", member(_web(2), NODE))
    assert not passes(rules.table(), Packet("8.8.8.8", "10.1.1.2"))


def _changes(before: Table, after: Table) -> list[str]:
    return after.transaction(before).splitlines()


def test_a_pod_more_is_elements_more() -> None:
    rules = PolicyRules("t")
    rules.set_policy("red/deny", policy(_deny(ingress=[{"from": [{"podSelector": {"matchLabels": {"app": "a"}}}]}])))
    for number in range(2, 60):
        rules.set_pod(f"red/{number}", member(_web(number), NODE))
    before = rules.table()
    assert before.transaction(before) == ""
    rules.set_pod("red/new", member(_web(99), NODE))
    added = _changes(before, rules.table())
    assert len(added) == 3
    assert all(line.startswith("add element ip t ") and "10.1.1.99" in line for line in added)
    after = rules.table()
    rules.set_pod("red/new", None)
    assert all(line.startswith("delete element ip t ") for line in _changes(after, rules.table()))


def test_a_change_of_a_rule_touches_its_own_chain_only() -> None:
    rules = PolicyRules("t")
    other = {"metadata": {"name": "other", "namespace": "red"}, "spec": {"podSelector": {}, "ingress": [{}]}}
    rules.set_policy("red/deny", policy(_deny()))
    rules.set_policy("red/other", policy(other))
    rules.set_pod("red/web", member(_web(2), NODE))
    before = rules.table()
    rules.set_policy("red/deny", policy(_deny(ingress=[{"ports": [{"port": 80}]}])))
    lines = _changes(before, rules.table())
    assert len([line for line in lines if "chain" in line]) == 2
    assert "    meta l4proto tcp th dport { 80 } accept" in lines
    before = rules.table()
    rules.set_policy("red/deny", None)
    assert not [line for line in _changes(before, rules.table()) if line.startswith("delete table")]


def test_it_counts_pods_not_packets() -> None:
    """5,000 Pods and 50 policies: one Pod's change is looked up against each selector once."""
    rules = PolicyRules("t")
    for number in range(50):
        one = _deny(ingress=[{"from": [{"podSelector": {"matchLabels": {"app": str(number)}}}]}])
        one["metadata"]["name"] = f"p{number}"
        rules.set_policy(key(one), policy(one))
    for number in range(5000):
        pod = _pod(f"10.{number // 250}.2.{number % 250}", "red", {"app": str(number % 50)}, 80, "TCP", False)
        rules.set_pod(f"red/{number}", member(pod, NODE))
    before = rules.table()
    pod = _pod("10.1.1.77", "red", {"app": "7"}, 80, "TCP", False)
    rules.set_pod("red/new", member(pod, NODE))
    text = rules.table().transaction(before)
    assert text.count("10.1.1.77") == 4 and len(text) < 6000
