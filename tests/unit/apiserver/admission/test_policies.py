from __future__ import annotations

from typing import Any

import pytest
from apiserver_fakes import FakeObjects, namespace_object

from podwright.api.objects import Object
from podwright.api.resources import CONFIGMAPS, DEPLOYMENTS, VALIDATINGWEBHOOKCONFIGURATIONS, Resource
from podwright.api.status import ApiError
from podwright.apiserver.admission.chain import Chain
from podwright.apiserver.admission.mutating_policies import MutatingAdmissionPolicy
from podwright.apiserver.admission.validating_policies import ValidatingAdmissionPolicy
from podwright.apiserver.authorization import RBAC, Union
from podwright.apiserver.requests import AdmissionRequest, UserInfo

API = "admissionregistration.k8s.io/v1"
DEPLOYMENT_RULES = {
    "resourceRules": [{"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["*"], "resources": ["deployments"]}]
}


def policy(kind: str = "ValidatingAdmissionPolicy", **spec: Any) -> Object:
    return {
        "apiVersion": API, "kind": kind, "metadata": {"name": "p"},
        "spec": {"matchConstraints": DEPLOYMENT_RULES, **spec},
    }


def binding(kind: str = "ValidatingAdmissionPolicyBinding", **spec: Any) -> Object:
    actions = {"validationActions": ["Deny"]} if kind.startswith("Validating") else {}
    return {"apiVersion": API, "kind": kind, "metadata": {"name": "b"}, "spec": {"policyName": "p", **actions, **spec}}


def deployment(replicas: int = 3, **metadata: Any) -> Object:
    return {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d", "namespace": "ns", **metadata},
        "spec": {"replicas": replicas},
    }


def request(obj: Object, resource: Resource = DEPLOYMENTS, operation: str = "CREATE") -> AdmissionRequest:
    return AdmissionRequest(
        user=UserInfo("u"), operation=operation, resource=resource, subresource="", namespace="ns",
        name=obj["metadata"]["name"], object=obj, old_object=None,
    )


async def run(plugin: type, req: AdmissionRequest, *objects: Object) -> AdmissionRequest:
    fake = FakeObjects(namespace_object("ns", {"env": "prod"}), *objects)
    rbac = RBAC(fake)
    chain = Chain([plugin(fake, Union([rbac], rbac))])
    await chain.admit(req)
    await chain.validate(req)
    return req


async def denied(*objects: Object, obj: Object | None = None) -> ApiError:
    with pytest.raises(ApiError) as error:
        await run(ValidatingAdmissionPolicy, request(obj or deployment(7)), *objects)
    return error.value


async def test_a_violation_is_refused_in_upstreams_words() -> None:
    error = await denied(policy(validations=[{"expression": "object.spec.replicas <= 5"}]), binding())
    assert (error.code, error.reason) == (422, "Invalid")
    assert str(error) == (
        "deployments.apps \"d\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request:"
        " failed expression: object.spec.replicas <= 5"
    )


async def test_what_holds_or_is_not_bound_passes() -> None:
    rule = policy(validations=[{"expression": "object.spec.replicas <= 5"}])
    await run(ValidatingAdmissionPolicy, request(deployment(5)), rule, binding())
    await run(ValidatingAdmissionPolicy, request(deployment(7)), rule)
    configmap = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": "ns"}}
    await run(ValidatingAdmissionPolicy, request(configmap, CONFIGMAPS), rule, binding())


async def test_variables_params_messages_and_reasons() -> None:
    limits = {
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "limits", "namespace": "ns"},
        "data": {"max": "4"},
    }
    rule = policy(
        paramKind={"apiVersion": "v1", "kind": "ConfigMap"},
        variables=[{"name": "limit", "expression": "int(params.data.max)"}],
        validations=[
            {
                "expression": "object.spec.replicas <= variables.limit",
                "messageExpression": "'at most ' + string(variables.limit) + ' in ' + namespaceObject.metadata.name",
                "reason": "Forbidden",
            }
        ],
    )
    to = binding(paramRef={"name": "limits", "parameterNotFoundAction": "Deny"})
    error = await denied(rule, to, limits)
    assert error.code == 403 and str(error).endswith("at most 4 in ns")
    assert "no params found" in str(await denied(rule, to))
    allow = binding(paramRef={"name": "limits", "parameterNotFoundAction": "Allow"})
    await run(ValidatingAdmissionPolicy, request(deployment(7)), rule, allow)


async def test_warn_audit_and_audit_annotations() -> None:
    rule = policy(
        validations=[{"expression": "false", "message": "never"}],
        auditAnnotations=[{"key": "count", "valueExpression": "string(object.spec.replicas)"}],
    )
    done = await run(
        ValidatingAdmissionPolicy, request(deployment()), rule, binding(validationActions=["Warn", "Audit"])
    )
    assert done.warnings == ["Validation failed for ValidatingAdmissionPolicy 'p' with binding 'b': never"]
    assert done.audit["p/count"] == "3"
    assert '"message":"never"' in done.audit["validation.policy.admission.k8s.io/validation_failure"]


async def test_errors_follow_the_failure_policy() -> None:
    broken = [{"expression": "object.spec.missing == 1"}]
    error = await denied(policy(validations=broken), binding())
    assert "resulted in error: no such key: missing" in str(error)
    ignored = policy(validations=broken, failurePolicy="Ignore")
    await run(ValidatingAdmissionPolicy, request(deployment()), ignored, binding())
    assert "compilation error" in str(await denied(policy(validations=[{"expression": "nonsense"}]), binding()))


async def test_conditions_selectors_and_the_authorizer() -> None:
    never = [{"expression": "false"}]
    other = policy(validations=never, matchConditions=[{"name": "c", "expression": "request.userInfo.username == 'x'"}])
    await run(ValidatingAdmissionPolicy, request(deployment()), other, binding())
    dev = binding(matchResources={"namespaceSelector": {"matchLabels": {"env": "dev"}}})
    await run(ValidatingAdmissionPolicy, request(deployment()), policy(validations=never), dev)
    prod = binding(matchResources={"namespaceSelector": {"matchLabels": {"env": "prod"}}})
    await denied(policy(validations=never), prod)
    may = "authorizer.group('').resource('pods').namespace('ns').check('create').allowed()"
    await denied(policy(validations=[{"expression": may}]), binding())
    own = "authorizer.requestResource.check('create').allowed()"
    await denied(policy(validations=[{"expression": own}]), binding())


async def test_what_configures_admission_is_not_subject_to_it() -> None:
    everything = {
        "resourceRules": [{"apiGroups": ["*"], "apiVersions": ["*"], "operations": ["*"], "resources": ["*/*"]}]
    }
    rule = policy(validations=[{"expression": "false"}], matchConstraints=everything)
    hooks = {"apiVersion": API, "kind": "ValidatingWebhookConfiguration", "metadata": {"name": "w"}}
    await run(ValidatingAdmissionPolicy, request(hooks, VALIDATINGWEBHOOKCONFIGURATIONS), rule, binding())


def mutating(**mutation: Any) -> tuple[Object, Object]:
    kind = "MutatingAdmissionPolicy"
    return policy(kind, mutations=[mutation]), binding(kind + "Binding")


async def test_an_apply_configuration_is_merged() -> None:
    expression = "Object{metadata: Object.metadata{labels: {'team': object.metadata.name}}}"
    done = await run(
        MutatingAdmissionPolicy,
        request(deployment(labels={"a": "b"})),
        *mutating(patchType="ApplyConfiguration", applyConfiguration={"expression": expression}),
    )
    assert done.object is not None
    assert done.object["metadata"]["labels"] == {"a": "b", "team": "d"}
    assert done.object["spec"]["replicas"] == 3


async def test_a_json_patch_is_applied() -> None:
    expression = (
        "[JSONPatch{op: 'replace', path: '/spec/replicas', value: object.spec.replicas + 1},"
        " JSONPatch{op: 'add', path: '/metadata/labels', value: {}},"
        " JSONPatch{op: 'add', path: '/metadata/labels/' + jsonpatch.escapeKey('x/y'), value: 'z'}]"
    )
    done = await run(
        MutatingAdmissionPolicy,
        request(deployment()),
        *mutating(patchType="JSONPatch", jsonPatch={"expression": expression}),
    )
    assert done.object is not None
    assert done.object["spec"]["replicas"] == 4 and done.object["metadata"]["labels"] == {"x/y": "z"}


async def test_a_policy_cannot_rename() -> None:
    with pytest.raises(ApiError, match=r"metadata\.name must not be changed"):
        await run(
            MutatingAdmissionPolicy,
            request(deployment()),
            *mutating(
                patchType="ApplyConfiguration",
                applyConfiguration={"expression": "Object{metadata: Object.metadata{name: 'other'}}"},
            ),
        )
