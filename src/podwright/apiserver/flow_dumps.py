"""/debug/api_priority_and_fairness: who waits and who is served, a table a page (Kubernetes documentation, "API
Priority and Fairness", "Debug endpoints")."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from podwright.api.objects import format_micro_time
from podwright.apiserver.exchange import Bytes, Request
from podwright.apiserver.flow_tallies import Visit
from podwright.apiserver.flowcontrol import Classifier
from podwright.apiserver.handlers import Handlers
from podwright.apiserver.inflight import Level

PATH = "/debug/api_priority_and_fairness/"
_LEVELS = (
    "PriorityLevelName", "ActiveQueues", "IsIdle", "IsQuiescing", "WaitingRequests", "ExecutingRequests",
    "DispatchedRequests", "RejectedRequests", "TimedoutRequests", "CancelledRequests",
)  # fmt: skip
_QUEUES = (
    "PriorityLevelName", "Index", "PendingRequests", "ExecutingRequests", "SeatsInUse", "NextDispatchR",
    "InitialSeatsSum", "MaxSeatsSum", "TotalWorkSum",
)  # fmt: skip
_REQUESTS = (
    "PriorityLevelName", "FlowSchemaName", "QueueIndex", "RequestIndexInQueue", "FlowDistingsher", "ArriveTime",
    "InitialSeats", "FinalSeats", "AdditionalLatency", "StartTime",
)  # fmt: skip
_DETAILS = ("UserName", "Verb", "APIPath", "Namespace", "Name", "APIVersion", "Resource", "SubResource")
_NEVER = "0001-01-01T00:00:00Z"
_NO_WORK = "0.00000000ss"
Row = Sequence[object]


def install_dumps(handlers: Handlers, flows: Classifier) -> None:
    dumps = {"dump_priority_levels": _levels, "dump_queues": _queues, "dump_requests": _requests}
    for name, rows in dumps.items():

        async def show(request: Request, rows: Callable[..., Iterable[Row]] = rows) -> Bytes:
            return Bytes(_table(list(rows(flows, request))), "text/plain; charset=utf-8")

        handlers.pages[PATH + name] = show


def _table(rows: Sequence[Row]) -> bytes:
    """Cells end with a comma, and begin where the widest of their column lets them."""
    cells = [[f"{cell}," for cell in row[:-1]] + [str(row[-1])] for row in rows]
    widths = [max(8, *(len(row[i]) + 1 for row in cells)) for i in range(len(cells[0]) - 1)] + [0]
    return "".join(
        "".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + "\n" for row in cells
    ).encode()


def _text(value: bool) -> str:
    return "true" if value else "false"


def _levels(flows: Classifier, request: Request) -> Iterable[Row]:
    yield _LEVELS
    for level in flows.levels():
        refused = level.rejected
        idle = not level.waiting and not level.executing
        timed_out, cancelled = refused["time-out"], refused["cancelled"]
        yield (
            level.name, len(level.queues()), _text(idle), "false", level.waiting, level.executing, level.dispatched,
            refused.total() - timed_out - cancelled, timed_out, cancelled,
        )  # fmt: skip


def _flows(flows: Classifier, level: Level) -> list[str]:
    """Those that wait or have seats: each has a queue of its own."""
    seated = {v.request.flow.of(v.request) for tally in flows.tallies.at(level.name) for v in tally.executing.values()}
    return [*level.queues(), *sorted(seated - level.queues().keys())] if level.limited else []


def _queues(flows: Classifier, request: Request) -> Iterable[Row]:
    yield _QUEUES
    for level in flows.levels():
        waiting = level.queues()
        seated = Counter(
            visit.request.flow.of(visit.request)
            for tally in flows.tallies.at(level.name)
            for visit in tally.executing.values()
        )
        for i, flow in enumerate(_flows(flows, level)):
            count = waiting.get(flow, 0)
            yield level.name, i, count, seated[flow], seated[flow], _NO_WORK, count, count, _NO_WORK


def _requests(flows: Classifier, request: Request) -> Iterable[Row]:
    detailed = bool(request.query.get("includeRequestDetails"))
    yield (*_REQUESTS, *_DETAILS) if detailed else _REQUESTS
    for level in flows.levels():
        queues = {flow: i for i, flow in enumerate(_flows(flows, level))}
        places: Counter[str] = Counter()
        for tally in flows.tallies.at(level.name):
            for visits, waits in ((tally.waiting, True), (tally.executing, False)):
                for visit in visits.values():
                    flow = visit.request.flow.of(visit.request)
                    row = _request(visit, level.name, tally.schema, queues.get(flow, -1), places[flow] if waits else -1)
                    places[flow] += waits
                    yield (*row, *_details(visit.request)) if detailed else row


def _request(visit: Visit, level: str, schema: str, queue: int, place: int) -> Row:
    started = format_micro_time(visit.started) if visit.started else _NEVER
    part = visit.request.flow.part(visit.request)
    return level, schema, queue, place, part, format_micro_time(visit.arrived), 1, 0, "0s", started


def _details(request: Request) -> Row:
    info = request.info
    version = f"{info.group}/{info.version}" if info.group else info.version
    return (
        request.user.name, info.verb, info.path, info.namespace, info.name, version, info.resource, info.subresource,
    )  # fmt: skip
