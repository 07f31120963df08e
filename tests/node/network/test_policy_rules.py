"""The kernel takes every step from one set of NetworkPolicies to another, and ends where a fresh start would."""

from __future__ import annotations

import json
import os
import random
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from podwright.network.policy.members import member
from podwright.network.policy.policies import policy
from podwright.network.policy.rules import PolicyRules
from podwright.network.policy.table import Table

Nft = Callable[..., str]


@pytest.fixture
def nft() -> Iterator[Nft]:
    """nft in a network namespace of the test's own."""
    name = f"t-policy-{os.getpid()}"
    subprocess.run(["ip", "netns", "add", name], check=True)

    def run(*arguments: str, given: str = "") -> str:
        done = subprocess.run(
            ["ip", "netns", "exec", name, "nft", *arguments], input=given, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{done.stderr}\n{given}"
        return done.stdout

    yield run
    subprocess.run(["ip", "netns", "del", name], check=True)


def _policy(chance: random.Random, name: str) -> dict[str, Any]:
    labels = {"matchLabels": {"app": chance.choice("ab")}}
    peers = [
        {"podSelector": labels}, {"namespaceSelector": {}}, {"ipBlock": {"cidr": "::/0"}},
        {"ipBlock": {"cidr": "0.0.0.0/0", "except": [f"10.{chance.randrange(9)}.0.0/16"]}},
    ]  # fmt: skip
    ports = [{"port": "web"}, {"port": 80, "endPort": 90}, {"port": 85}, {"protocol": "SCTP"}, {"protocol": "UDP"}]
    rules = [
        {"from": chance.sample(peers, chance.randrange(3)), "ports": chance.sample(ports, chance.randrange(4))}
        for _ in range(chance.randrange(3))
    ]
    egress = [{"to": rule["from"], "ports": rule["ports"]} for rule in rules]
    types = chance.choice([["Ingress"], ["Egress"], ["Ingress", "Egress"]])
    spec = {"podSelector": chance.choice([{}, labels]), "policyTypes": types, "ingress": rules, "egress": egress}
    return {"metadata": {"name": name, "namespace": "default"}, "spec": spec}


def _pod(chance: random.Random, name: str) -> dict[str, Any]:
    address = f"10.{chance.randrange(3)}.0.{chance.randrange(1, 250)}"
    return {
        "metadata": {"name": name, "namespace": "default", "labels": {"app": chance.choice("abc")}},
        "spec": {
            "nodeName": chance.choice(["here", "there"]),
            "containers": [{"ports": [{"name": "web", "containerPort": chance.choice([80, 8080])}]}],
        },
        "status": {"podIP": address},
    }


@pytest.mark.parametrize("seed", [1, 2])
def test_step_by_step_and_at_once_are_the_same_to_the_kernel(nft: Nft, seed: int) -> None:
    chance = random.Random(seed)
    rules = PolicyRules("steps")
    rules.set_namespace("default", {})
    applied: Table | None = None
    for _ in range(30):
        for _ in range(chance.randrange(1, 4)):
            name = str(chance.randrange(8))
            keep = chance.random() < 0.7
            if chance.random() < 0.4:
                rules.set_policy(name, policy(_policy(chance, name)) if keep else None)
            else:
                rules.set_pod(name, member(_pod(chance, name), "here") if keep else None)
        table = rules.table()
        nft("-f", "-", given=table.transaction(applied))
        applied = table
        assert table.transaction(table) == ""
    stepped = nft("-j", "list", "table", "ip", "steps")
    nft("-f", "-", given=applied.transaction(None))
    at_once = nft("-j", "list", "table", "ip", "steps")
    assert _sorted(stepped) == _sorted(at_once)
    assert "vmap" in at_once


def _sorted(listed: str) -> list[str]:
    """Without the kernel's running numbers and order."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: plain(v) for k, v in sorted(value.items()) if k != "handle"}
        if isinstance(value, list):
            return [plain(v) for v in value]
        return value

    found = []
    for item in plain(json.loads(listed)["nftables"]):
        for kind, body in item.items():
            if kind in ("set", "map") and "elem" in body:
                body["elem"] = sorted(body["elem"], key=json.dumps)
            found.append(json.dumps([kind, body]))
    # Rules keep their order within a chain.
    return sorted(found, key=lambda text: text if '["rule"' not in text else text.partition('"expr"')[0])
