"""Upstream's extension points as Python protocols. A plugin is a class with a ``name`` and the methods of the points
that it serves; it is made once per profile as ``Plugin(handle, args)``.

Built-in plugins judge all nodes at once by columns of numbers (:class:`Filter`, :class:`Score`). A plugin that rather
looks at one node at a time implements :class:`NodeFilter` or :class:`NodeScore`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from podwright.api.objects import Object
from podwright.scheduler.framework.events import ClusterEvent, Interest
from podwright.scheduler.framework.verdicts import Reason, Refusal, SkipType, Wait

if TYPE_CHECKING:
    from podwright.scheduler.framework.handle import Handle
    from podwright.scheduler.state.nodes import Ints, Mask, Rows
    from podwright.scheduler.state.pods import PodInfo

MAX_SCORE = 100


class Plugin(Protocol):
    name: str


class PluginFactory(Protocol):
    """Raises:
    ValueError: an argument is wrong.
    """

    def __call__(self, handle: Handle, args: Mapping[str, Any]) -> Plugin: ...


@runtime_checkable
class PreEnqueue(Protocol):
    """Whether a Pod may enter the queue of active Pods at all."""

    def pre_enqueue(self, pod: Object) -> Refusal | None: ...


@runtime_checkable
class QueueSort(Protocol):
    """Pods with a lesser key go first. One plugin of a profile."""

    def sort_key(self, pod: PodInfo) -> Any: ...


@runtime_checkable
class EnqueueExtensions(Protocol):
    """The events that may help a Pod which this plugin refused. `helps` (the queueing hint) says whether one does."""

    def interests(self) -> Sequence[Interest]: ...

    def helps(self, pod: PodInfo, event: ClusterEvent) -> bool: ...


@runtime_checkable
class PreFilter(Protocol):
    """Runs once per Pod and cycle. SKIP leaves out the plugin's filter; a refusal is one for every node."""

    def pre_filter(self, pod: PodInfo) -> Refusal | SkipType | None: ...


@runtime_checkable
class Filter(Protocol):
    """`row_local` says that the answer for a node depends on nothing but that node's row and the Pod's class
    (``pod.cls``): such answers are kept and brought up to date row by row.

    A filter or score that does not look at Pods on nodes says so by an attribute ``ignores_pods = True``: it is not
    asked again when only they have changed, nor by preemption for each that might go."""

    name: str
    row_local: bool

    def filter(self, pod: PodInfo, rows: Rows) -> Mask:
        """For each of the rows whether the Pod may run there."""

    def reasons(self, pod: PodInfo, rows: Rows) -> Sequence[Reason]:
        """Why not, for rows that :meth:`filter` refused."""


@runtime_checkable
class FreeAmounts(Protocol):
    """A filter that asks nothing but that so much of each resource ("pods" among them) is free on the node."""

    name: str

    def free_amounts(self, pod: PodInfo) -> Mapping[str, int]: ...

    def shortage(self, resource: str) -> str:
        """What is said of a node that has too little of it."""


@runtime_checkable
class NodeFilter(Protocol):
    """A filter that looks at one node: the reason why the Pod may not run there, or None."""

    def filter_node(self, pod: Object, node: Object, pods: Sequence[Object]) -> str | None: ...


@runtime_checkable
class PostFilter(Protocol):
    """Runs if no node is left. It may make room: gives (node to nominate or "", message)."""

    def post_filter(self, pod: PodInfo, resolvable: Mask) -> tuple[str, str]: ...


@runtime_checkable
class PreScore(Protocol):
    def pre_score(self, pod: PodInfo, feasible: Ints) -> SkipType | None: ...


@runtime_checkable
class Score(Protocol):
    """Scores, in any range if there is a ``normalize``, else from 0 to 100. `row_local`: see :class:`Filter`."""

    name: str
    row_local: bool

    def score(self, pod: PodInfo, rows: Rows) -> Ints: ...


@runtime_checkable
class Normalize(Protocol):
    """Brings the scores of the feasible nodes into the range 0 to 100; equal ones to equal ones. A row-local plugin
    whose scores are 0 everywhere is not asked."""

    def normalize(self, pod: PodInfo, scores: Ints) -> Ints: ...


@runtime_checkable
class NodeScore(Protocol):
    """A score from 0 to 100 of one node."""

    def score_node(self, pod: Object, node: Object, pods: Sequence[Object]) -> int: ...


@runtime_checkable
class Reserve(Protocol):
    """Takes what the Pod will use on the node, before binding; `unreserve` gives it back if that fails."""

    def reserve(self, pod: PodInfo, node: str) -> Refusal | None: ...

    def unreserve(self, pod: PodInfo, node: str) -> None: ...


@runtime_checkable
class Permit(Protocol):
    """May hold a Pod before it is bound: ``handle.allow(uid)`` or ``handle.reject(uid, …)`` ends the wait."""

    def permit(self, pod: PodInfo, node: str) -> Refusal | Wait | None: ...


@runtime_checkable
class PreBind(Protocol):
    """Work that must be done before binding. Raises or refuses to stop it."""

    def needs_pre_bind(self, pod: PodInfo, node: str) -> bool: ...

    async def pre_bind(self, pod: PodInfo, node: str) -> Refusal | None: ...


@runtime_checkable
class Bind(Protocol):
    """Binds; False leaves it to the next plugin.

    Raises:
        ApiError, ServerUnreachable: the API server did not take the binding.
    """

    async def bind(self, pod: PodInfo, node: str) -> bool: ...


@runtime_checkable
class PostBind(Protocol):
    def post_bind(self, pod: PodInfo, node: str) -> None: ...


POINTS: Mapping[str, tuple[type, ...]] = {
    "preEnqueue": (PreEnqueue,), "queueSort": (QueueSort,), "preFilter": (PreFilter,), "filter": (Filter, NodeFilter),
    "postFilter": (PostFilter,), "preScore": (PreScore,), "score": (Score, NodeScore), "reserve": (Reserve,),
    "permit": (Permit,), "preBind": (PreBind,), "bind": (Bind,), "postBind": (PostBind,),
}  # fmt: skip
"""The extension points by their names in a configuration."""
