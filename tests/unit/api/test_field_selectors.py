import pytest
from hypothesis import given
from hypothesis import strategies as st

from podwright.api.resources import BUILTIN, CONFIGMAPS, EVENTS, JOBS, NODES, PODS, RESOURCESLICES
from podwright.api.selectors import fields
from podwright.api.selectors.labels import InvalidSelector

POD = {
    "metadata": {"name": "a", "namespace": "ns"},
    "spec": {"nodeName": "n1", "hostNetwork": True},
    "status": {"phase": "Running", "podIPs": [{"ip": "10.0.0.1"}, {"ip": "fd::1"}]},
}


def test_terms() -> None:
    selector = fields.parse("spec.nodeName=n1,status.phase!=Failed,x==a\\,b\\=c")
    assert selector.terms == (("spec.nodeName", "=", "n1"), ("status.phase", "!=", "Failed"), ("x", "=", "a,b=c"))
    assert fields.parse(str(selector)) == selector
    assert selector.exact("spec.nodeName") == "n1"
    assert fields.parse("").empty


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a", "invalid selector: 'a'; can't understand 'a'"),
        ("a=b=c", "invalid field selector: unescaped character in value: 61"),
        ("a=\\x", "invalid field selector: invalid escape sequence: \\x"),
    ],
)
def test_malformed(text: str, message: str) -> None:
    with pytest.raises(InvalidSelector) as caught:
        fields.parse(text)
    assert caught.value.status["message"] == message


def test_values_of_pods() -> None:
    values = fields.fields_of(PODS, POD)
    assert values["spec.hostNetwork"] == "true"
    assert values["status.podIP"] == "10.0.0.1"
    assert values["metadata.namespace"] == "ns"
    assert values["status.nominatedNodeName"] == ""
    assert fields.parse("status.phase!=Failed").matches(lambda label: values[label])
    assert fields.predicate(PODS, fields.parse_for(PODS, "spec.nodeName=n1"))(POD)
    assert not fields.predicate(PODS, fields.parse_for(PODS, "spec.nodeName!=n1"))(POD)


def test_defaults_and_sources() -> None:
    assert fields.fields_of(NODES, {"metadata": {"name": "n"}}) == {"metadata.name": "n", "spec.unschedulable": "false"}
    assert fields.fields_of(JOBS, {})["status.successful"] == "0"
    assert fields.fields_of(EVENTS, {"reportingComponent": "kubelet"})["source"] == "kubelet"
    assert fields.fields_of(EVENTS, {"source": {"component": "x"}, "reportingComponent": "y"})["source"] == "x"


@pytest.mark.parametrize(
    ("row", "text", "message"),
    [
        (PODS, "spec.foo=1", "field label not supported: spec.foo"),
        (CONFIGMAPS, "data.x=1",
         '"data.x" is not a known field selector: only "metadata.name", "metadata.namespace"'),
        (RESOURCESLICES, "spec.x=1", "field label not supported for resource.k8s.io/v1, Kind=ResourceSlice: spec.x"),
        (NODES, "metadata.namespace=1", "field label not supported: metadata.namespace"),
    ],
)
def test_unsupported(row: object, text: str, message: str) -> None:
    with pytest.raises(InvalidSelector) as caught:
        fields.parse_for(row, text)
    assert caught.value.status["message"] == message
    assert caught.value.code == 400


def test_custom_resources_add_their_own() -> None:
    selectable = {"spec.color": ".spec.color"}
    selector = fields.parse_for(CONFIGMAPS, "spec.color=red", selectable)
    assert fields.predicate(CONFIGMAPS, selector, selectable)({"spec": {"color": "red"}})


def test_every_kind_has_a_name() -> None:
    for row in BUILTIN:
        assert fields.fields_of(row, {"metadata": {"name": "x"}})["metadata.name"] == "x"


@given(st.text(alphabet="ab!=,\\.", max_size=20))
def test_any_text_parses_or_is_refused(text: str) -> None:
    try:
        fields.parse(text)
    except InvalidSelector:
        pass
