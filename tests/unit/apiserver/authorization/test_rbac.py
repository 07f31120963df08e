from __future__ import annotations

from apiserver_fakes import FakeObjects, namespace_object

from podwright.api.resources import CLUSTERROLES, ROLEBINDINGS
from podwright.apiserver.authorization import Union, bootstrap_policy, forbidden_reason
from podwright.apiserver.authorization.rbac import RBAC
from podwright.apiserver.authorization.rules import uncovered
from podwright.apiserver.requests import Attributes, UserInfo

GROUP = "rbac.authorization.k8s.io"
ALICE = UserInfo("alice", groups=("system:authenticated", "dev"))


def role(nm: str, rules: list, ns: str = "") -> dict:
    metadata = {"name": nm, **({"namespace": ns} if ns else {})}
    kind = "Role" if ns else "ClusterRole"
    return {"apiVersion": f"{GROUP}/v1", "kind": kind, "metadata": metadata, "rules": rules}


def binding(nm: str, role_kind: str, role_name: str, subjects: list, ns: str = "") -> dict:
    metadata = {"name": nm, **({"namespace": ns} if ns else {})}
    return {
        "apiVersion": f"{GROUP}/v1",
        "kind": "RoleBinding" if ns else "ClusterRoleBinding",
        "metadata": metadata,
        "roleRef": {"apiGroup": GROUP, "kind": role_kind, "name": role_name},
        "subjects": subjects,
    }


PODS_RULE = {"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods"]}


def ask(user: UserInfo = ALICE, verb: str = "get", resource: str = "pods", **more: str) -> Attributes:
    return Attributes(user, verb, resource=resource, **more)


def test_a_role_binding_holds_in_its_namespace_only() -> None:
    objects = FakeObjects(
        role("reader", [PODS_RULE]),
        binding("b", "ClusterRole", "reader", [{"kind": "User", "apiGroup": GROUP, "name": "alice"}], "a"),
    )
    rbac = RBAC(objects)
    assert rbac.decide(ask(namespace="a")).allowed
    assert not rbac.decide(ask(namespace="b")).allowed
    assert not rbac.decide(ask()).allowed
    assert not rbac.decide(ask(namespace="a", verb="delete")).allowed
    assert not rbac.decide(ask(namespace="a", subresource="log")).allowed
    assert 'allowed by RoleBinding "b/a" of ClusterRole "reader" to User "alice"' in rbac.decide(
        ask(namespace="a")
    ).reason


def test_groups_service_accounts_and_changes_are_followed() -> None:
    objects = FakeObjects(role("reader", [PODS_RULE]))
    rbac = RBAC(objects)
    account = UserInfo("system:serviceaccount:ns:bob")
    assert not rbac.decide(ask(account)).allowed
    objects.put(binding("c", "ClusterRole", "reader", [{"kind": "ServiceAccount", "namespace": "ns", "name": "bob"}]))
    assert rbac.decide(ask(account)).allowed
    objects.put(binding("d", "ClusterRole", "reader", [{"kind": "Group", "name": "dev"}], "x"))
    assert rbac.decide(ask(namespace="x")).allowed
    objects.remove(ROLEBINDINGS, "x", "d")
    assert not rbac.decide(ask(namespace="x")).allowed


def test_resource_names_subresources_wildcards_and_urls() -> None:
    rules = [
        {"verbs": ["get"], "apiGroups": [""], "resources": ["secrets"], "resourceNames": ["one"]},
        {"verbs": ["update"], "apiGroups": ["*"], "resources": ["*/scale"]},
        {"verbs": ["get"], "nonResourceURLs": ["/metrics", "/logs/*"]},
    ]
    objects = FakeObjects(role("r", rules), binding("b", "ClusterRole", "r", [{"kind": "User", "name": "alice"}]))
    rbac = RBAC(objects)
    assert rbac.decide(ask(resource="secrets", name="one")).allowed
    assert not rbac.decide(ask(resource="secrets", name="two")).allowed
    assert not rbac.decide(ask(resource="secrets")).allowed
    assert rbac.decide(ask(verb="update", resource="deployments", subresource="scale", group="apps")).allowed
    assert rbac.decide(Attributes(ALICE, "get", path="/logs/a/b", is_resource=False)).allowed
    assert not rbac.decide(Attributes(ALICE, "get", path="/other", is_resource=False)).allowed


def test_a_missing_role_is_said_in_the_reason() -> None:
    rbac = RBAC(FakeObjects(binding("b", "ClusterRole", "gone", [{"kind": "User", "name": "alice"}])))
    a = ask(namespace="default", verb="list")
    assert forbidden_reason(a, rbac.decide(a)) == (
        'User "alice" cannot list resource "pods" in API group "" in the namespace "default": '
        'RBAC: clusterrole.rbac.authorization.k8s.io "gone" not found'
    )


async def test_masters_may_everything_and_nobody_else_nothing() -> None:
    union = Union([], RBAC(FakeObjects()))
    assert (await union.authorize(ask(UserInfo("root", groups=("system:masters",))))).allowed
    assert not (await union.authorize(ask())).allowed


async def test_bootstrap_makes_everything_once_and_mends_what_is_missing() -> None:
    objects = FakeObjects(namespace_object("kube-system"), namespace_object("kube-public"))
    made = await bootstrap_policy.ensure(objects, objects)
    assert made > 100
    assert await bootstrap_policy.ensure(objects, objects) == 0
    rbac = RBAC(objects)
    scheduler = UserInfo("system:kube-scheduler", groups=("system:authenticated",))
    assert rbac.decide(ask(scheduler, "create", "pods", subresource="binding", namespace="x")).allowed
    assert not rbac.decide(ask(scheduler, "create", "pods", namespace="x")).allowed
    controller = UserInfo("system:serviceaccount:kube-system:replicaset-controller")
    assert rbac.decide(ask(controller, "create", "pods", namespace="x")).allowed

    view = objects.get(CLUSTERROLES, "", "view")
    admin = objects.get(CLUSTERROLES, "", "admin")
    assert view and admin and not uncovered(admin["rules"], view["rules"])

    broken = {**objects.get(CLUSTERROLES, "", "system:kube-scheduler")}
    broken["rules"] = [PODS_RULE]
    objects.put(broken)
    assert await bootstrap_policy.ensure(objects, objects) == 1
    assert RBAC(objects).decide(ask(scheduler, "create", "pods", subresource="binding", namespace="x")).allowed


def test_an_answer_is_remembered_until_an_object_changes() -> None:
    objects = FakeObjects(role("r", [PODS_RULE]), binding("b", "ClusterRole", "r", [{"kind": "Group", "name": "dev"}]))
    rbac, a = RBAC(objects), ask(namespace="n")
    answer = rbac.decide(a)
    assert answer.allowed and rbac.decide(ask(namespace="n")) is answer
    objects.put(role("other", []))
    assert rbac.decide(a) is not answer
