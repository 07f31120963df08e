"""The rows of Events."""

from __future__ import annotations

from podwright.api.objects import Object
from podwright.api.printing.durations import since
from podwright.api.printing.tables import Cells, Column, Printer, Printers, name, text, wide


def _event(event: Object, now: float) -> Cells:
    series = event.get("series")
    first = event.get("firstTimestamp") or event.get("deprecatedFirstTimestamp") or event.get("eventTime")
    last = event.get("lastTimestamp") or event.get("deprecatedLastTimestamp") or first
    count = event.get("count") or event.get("deprecatedCount") or 1
    if series:
        last, count = series.get("lastObservedTime"), series.get("count") or 0
    about = event.get("involvedObject") or event.get("regarding") or {}
    kind = (about.get("kind") or "").lower()
    source = event.get("source") or event.get("deprecatedSource") or {}
    component = source.get("component") or event.get("reportingComponent") or event.get("reportingController") or ""
    instance = source.get("host") or event.get("reportingInstance") or ""
    return [
        since(last, now), event.get("type") or "", event.get("reason") or "",
        f"{kind}/{about['name']}" if about.get("name") else kind, about.get("fieldPath") or "",
        f"{component}, {instance}" if instance else component,
        (event.get("message") or event.get("note") or "").strip(), since(first, now), count, name(event),
    ]


_EVENT = Printer(
    (
        *text("Last Seen", "Type", "Reason", "Object"), *wide("Subobject", "Source"), Column("Message"),
        *wide("First Seen", "Count"), Column("Name", format="name", priority=1),
    ),
    _event,
)
PRINTERS: Printers = {("", "Event"): _EVENT, ("events.k8s.io", "Event"): _EVENT}
