"""An API call and a watch event as data: what a client hands to a server in the same process, and gets back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from podwright.api.objects import Object

JSON = "application/json"
JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_MERGE_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"


@dataclass(frozen=True, slots=True)
class Call:
    """One API call. `body` is the object (or list of JSON patch operations) itself, not its bytes.

    `keeps`: the caller of a list or watch keeps what it is given for as long as it stands, so that for a server in the
    same process to keep it too costs nothing."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    content_type: str = JSON
    keeps: bool = False


class WatchEvent(NamedTuple):
    """`type` is ADDED, MODIFIED, DELETED or BOOKMARK. The object is shared: never change it."""

    type: str
    object: Object


def agent(user: str) -> str:
    """The User-Agent of the component that works as a user: its binary's name upstream, by which it owns fields.
    Kubelets are users by their nodes, controllers are accounts of kube-controller-manager's."""
    if user.startswith("system:node:"):
        return "kubelet"
    if user.startswith("system:serviceaccount:"):
        return "kube-controller-manager"
    return user.rpartition(":")[2]
