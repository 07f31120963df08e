"""Nobody may grant what they do not hold: the check on writes of RBAC objects.

Kubernetes documentation, "Using RBAC Authorization", "Privilege escalation prevention and bootstrapping": writing a
role takes all of its permissions or the verb ``escalate`` on it; writing a binding takes all permissions of the role
it names or the verb ``bind`` on that role.
"""

from __future__ import annotations

from podwright.api.objects import Object, name
from podwright.api.resources import CLUSTERROLES, ROLES
from podwright.api.status import ApiError, forbidden, not_found
from podwright.apiserver.authorization.rbac import RBAC
from podwright.apiserver.authorization.rules import compact_text, uncovered
from podwright.apiserver.requests import AdmissionRequest, Attributes, Authorizer, Objects, UserInfo

GROUP = "rbac.authorization.k8s.io"
MASTERS = "system:masters"


def _refused(request: AdmissionRequest, user: UserInfo, missing: list[Object], problem: str) -> ApiError:
    groups = " ".join(f'"{g}"' for g in sorted(user.groups))
    lines = "\n".join(sorted(compact_text(rule) for rule in missing))
    why = (
        f'user "{user.name}" (groups=[{groups}]) is attempting to grant RBAC permissions not currently held:\n{lines}'
    )
    if problem:
        why += f"; resolution errors: [{problem.removeprefix('RBAC: ')}]"
    return forbidden(request.resource.group, request.resource.plural, request.name or name(request.object or {}), why)


class RBACEscalation:
    """A validating step; it holds for whoever writes over the API."""

    name = "RBACEscalation"

    def __init__(self, objects: Objects, rbac: RBAC, authorizer: Authorizer) -> None:
        self._objects = objects
        self._rbac = rbac
        self._authorizer = authorizer

    def handles(self, request: AdmissionRequest) -> bool:
        return (
            request.resource.group == GROUP and request.operation in ("CREATE", "UPDATE") and not request.subresource
        )

    async def admit(self, request: AdmissionRequest) -> None:
        pass

    async def validate(self, request: AdmissionRequest) -> None:
        obj = request.object
        if obj is None or MASTERS in request.user.groups:
            return
        if request.resource.plural in ("roles", "clusterroles"):
            await self._role(request, obj)
        else:
            await self._binding(request, obj)

    async def _may(self, request: AdmissionRequest, verb: str, plural: str, ns: str, nm: str) -> bool:
        attributes = Attributes(
            user=request.user, verb=verb, group=GROUP, version="v1", resource=plural, namespace=ns, name=nm
        )
        return (await self._authorizer.authorize(attributes)).allowed

    async def _role(self, request: AdmissionRequest, role: Object) -> None:
        old = request.old_object or {}
        wanted = role.get("rules") or []
        if request.operation == "UPDATE":
            same_aggregation = (old.get("aggregationRule") or None) == (role.get("aggregationRule") or None)
            if (old.get("rules") or []) == wanted and same_aggregation:
                return
        if await self._may(request, "escalate", request.resource.plural, request.namespace, name(role)):
            return
        held, problem = self._rbac.rules_for(request.user, request.namespace)
        if role.get("aggregationRule") and (old.get("aggregationRule") or None) != role["aggregationRule"]:
            everything: list[Object] = [
                {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}, {"nonResourceURLs": ["*"], "verbs": ["*"]},
            ]
            if uncovered(held, everything):
                raise forbidden(
                    GROUP,
                    request.resource.plural,
                    name(role),
                    "must have cluster-admin privileges to use the aggregationRule",
                )
        if missing := uncovered(held, wanted):
            raise _refused(request, request.user, missing, problem)

    async def _binding(self, request: AdmissionRequest, binding: Object) -> None:
        old = request.old_object or {}
        if request.operation == "UPDATE":
            unchanged = all(old.get(field) == binding.get(field) for field in ("roleRef", "subjects"))
            if unchanged:
                return
        ref = binding.get("roleRef") or {}
        cluster_role = ref.get("kind") == "ClusterRole"
        plural = "clusterroles" if cluster_role else "roles"
        if await self._may(request, "bind", plural, request.namespace, ref.get("name") or ""):
            return
        resource = CLUSTERROLES if cluster_role else ROLES
        role = self._objects.get(resource, "" if cluster_role else request.namespace, ref.get("name") or "")
        if role is None:
            raise not_found(GROUP, resource.plural, ref.get("name") or "")
        held, problem = self._rbac.rules_for(request.user, request.namespace)
        if missing := uncovered(held, role.get("rules") or []):
            raise _refused(request, request.user, missing, problem)
