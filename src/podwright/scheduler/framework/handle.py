"""What a plugin can reach: the cluster's state, the API, the Pods that wait."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from podwright.api.objects import Object
from podwright.api.resources import Resource

if TYPE_CHECKING:
    from podwright.client.client import Client
    from podwright.client.clock import Clock
    from podwright.scheduler.framework.evaluation import Room
    from podwright.scheduler.framework.extenders import Extender
    from podwright.scheduler.state.cluster import ClusterState
    from podwright.scheduler.state.nodes import Ints
    from podwright.scheduler.state.pods import PodInfo

Lister = Callable[[Resource], Sequence[Object]]


class Handle:
    """`objects_of` lists the objects of a resource that the scheduler watches; `object_of` finds one by key;
    `until` waits for changes of a resource until a test holds (there for who binds)."""

    def __init__(
        self, client: Client, state: ClusterState, clock: Clock, *, objects_of: Lister,
        object_of: Callable[[Resource, str], Object | None], version_of: Callable[[Resource], str],
    ) -> None:
        self.client = client
        self.state = state
        self.nodes = state.nodes
        self.clock = clock
        self.objects_of = objects_of
        self.object_of = object_of
        self.version_of = version_of
        self.until: Callable[[Resource, Callable[[], bool]], Awaitable[None]]
        self.random = random.Random()
        self.fits: Callable[[PodInfo, int], bool] = lambda pod, row: False
        """Whether every filter lets a Pod, which was judged before, onto the node of a row, as the state is now."""
        self.room: Callable[[PodInfo, Ints], Room | None] = lambda pod, rows: None
        """See :meth:`Evaluation.room`."""
        self.beside: Callable[[PodInfo, int], Sequence[PodInfo]] = lambda pod, row: ()
        """The Pods of equal or higher priority that wait for room on the node of a row."""
        self.evict: Callable[[PodInfo, str, Sequence[Object]], None] = lambda pod, node, victims: None
        """Has Pods deleted to make room for another on a node."""
        self.extenders: Sequence[Extender] = ()
        self.allow: Callable[[str], None] = lambda uid: None
        self.reject: Callable[[str, str], None] = lambda uid, message: None
