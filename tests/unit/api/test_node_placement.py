import pytest

from podwright.api import node_affinity, taints


@pytest.mark.parametrize(
    ("toleration", "expected"),
    [
        ({"operator": "Exists"}, True),
        ({"operator": "Exists", "effect": "NoExecute"}, False),
        ({"key": "k", "operator": "Exists"}, True),
        ({"key": "other", "operator": "Exists"}, False),
        ({"key": "k", "value": "5"}, True),
        ({"key": "k", "operator": "Equal", "value": "6"}, False),
        ({"key": "k", "operator": "Gt", "value": "4"}, True),
        ({"key": "k", "operator": "Gt", "value": "5"}, False),
        ({"key": "k", "operator": "Lt", "value": "6"}, True),
        ({"key": "k", "operator": "Lt", "value": "06"}, False),
        ({"key": "k", "operator": "Lt", "value": str(2**63)}, False),
        ({"key": "k", "operator": "Nope", "value": "5"}, False),
    ],
)
def test_tolerations(toleration: dict, expected: bool) -> None:
    assert taints.tolerates(toleration, {"key": "k", "value": "5", "effect": "NoSchedule"}) is expected


def test_numbers_only_compare_with_numbers() -> None:
    assert not taints.tolerates({"key": "k", "operator": "Gt", "value": "1"}, {"key": "k", "value": "x"})


def test_untolerated() -> None:
    found = [{"key": "a", "effect": "PreferNoSchedule"}, {"key": "b", "effect": "NoSchedule"},
             {"key": "c", "effect": "NoExecute"}]
    assert taints.untolerated(found, []) == found[1]
    assert taints.untolerated(found, [{"key": "b", "operator": "Exists"}]) == found[2]
    assert taints.untolerated(found, [{"operator": "Exists"}]) is None
    assert taints.untolerated(found, [], ("PreferNoSchedule",)) == found[0]


NODE = {"metadata": {"name": "n1", "labels": {"zone": "z1", "cpus": "8"}}}


def term(*expressions: tuple[str, str, list], fields: list | None = None) -> dict:
    raw: dict = {"matchExpressions": [{"key": k, "operator": o, "values": v} for k, o, v in expressions]}
    if fields:
        raw["matchFields"] = fields
    return raw


@pytest.mark.parametrize(
    ("terms", "expected"),
    [
        ([], False),
        ([{}], False),
        ([term(("zone", "In", ["z1", "z2"]))], True),
        ([term(("zone", "NotIn", ["z1"]))], False),
        ([term(("none", "NotIn", ["z1"]))], True),
        ([term(("zone", "Exists", [])), ], True),
        ([term(("zone", "DoesNotExist", []))], False),
        ([term(("cpus", "Gt", ["7"]))], True),
        ([term(("cpus", "Lt", ["8"]))], False),
        ([term(("zone", "Gt", ["1"]))], False),
        ([term(("zone", "Exists", []), ("cpus", "In", ["9"]))], False),
        ([term(("zone", "In", ["z9"])), term(("cpus", "In", ["8"]))], True),
        ([term(("zone", "Nope", [])), term(("cpus", "In", ["8"]))], True),
        ([term(("zone", "Nope", []))], False),
        ([term(("zone", "In", []))], False),
        ([term(fields=[{"key": "metadata.name", "operator": "In", "values": ["n1"]}])], True),
        ([term(fields=[{"key": "metadata.name", "operator": "NotIn", "values": ["n1"]}])], False),
        ([term(fields=[{"key": "metadata.uid", "operator": "In", "values": ["n1"]}])], False),
    ],
)
def test_node_selectors(terms: list, expected: bool) -> None:
    assert node_affinity.compile({"nodeSelectorTerms": terms}).matches(NODE) is expected


def test_pods_and_nodes() -> None:
    pod = {"spec": {"nodeSelector": {"zone": "z1"}}}
    assert node_affinity.pod_matches_node(pod, NODE)
    assert not node_affinity.pod_matches_node({"spec": {"nodeSelector": {"zone": "z2"}}}, NODE)
    assert node_affinity.pod_matches_node({}, NODE)
    pod["spec"]["affinity"] = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
        "nodeSelectorTerms": [term(("cpus", "In", ["4"]))]}}}
    assert not node_affinity.pod_matches_node(pod, NODE)


def test_preferred_terms() -> None:
    pod = {"spec": {"affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
        {"weight": 5, "preference": term(("zone", "Exists", []))}, {"weight": 9, "preference": {}}]}}}}
    ((weight, found),) = node_affinity.preferred(pod)
    assert weight == 5
    assert found.matches({"zone": "x"}, "n")


def test_names_that_alone_can_match() -> None:
    fields = [{"key": "metadata.name", "operator": "In", "values": ["n7"]}]
    assert node_affinity.compile({"nodeSelectorTerms": [term(fields=fields)]}).node_names() == {"n7"}
    assert node_affinity.compile({"nodeSelectorTerms": [term(("a", "Exists", []))]}).node_names() is None
