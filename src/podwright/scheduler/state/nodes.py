"""Nodes as columns of numbers: one row a node, updated in place, so that a plugin judges all nodes in a few
numpy operations."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from podwright.api import objects, quantity
from podwright.api.objects import Object
from podwright.api.taints import PREFER_NO_SCHEDULE, SCHEDULING_EFFECTS
from podwright.scheduler.state.pods import PodInfo, PodRecord

Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]
Rows = NDArray[np.intp] | slice

ALL = slice(None)
INT64 = 2**63 - 1
_FIRST_CAPACITY = 64
_LOG_LIMIT = 65536

Taint = tuple[str, str, str]
"""Key, value and effect."""
HostPort = tuple[str, str, int]
"""Protocol, IP and port, as :func:`podwright.api.pods.host_ports`."""


def only(rows: Rows) -> int | None:
    """The row, if it is one alone, given as a slice: Python's numbers are quicker than arrays of one."""
    if isinstance(rows, slice) and rows.start is not None and rows.stop == rows.start + 1:
        return int(rows.start)
    return None


def clamp(number: int) -> int:
    return max(-INT64, min(INT64, number))


class Column:
    """One number for each node. Use ``column.of(rows)``; it is cut to the rows in use."""

    __slots__ = ("_table", "array")

    def __init__(self, table: NodeTable, dtype: Any) -> None:
        self._table = table
        self.array: NDArray[Any] = np.zeros(table.capacity, dtype)

    def of(self, rows: Rows = ALL) -> NDArray[Any]:
        return self.array[: self._table.size][rows]

    def grow(self, capacity: int) -> None:
        grown = np.zeros(capacity, self.array.dtype)
        grown[: len(self.array)] = self.array
        self.array = grown


class Labels:
    """The values of one label key over all nodes, as small integers; 0 is a node without the label.

    `domains` is the number of ids in use, 0 included."""

    __slots__ = ("_ids", "_lookups", "column", "values")

    def __init__(self, table: NodeTable) -> None:
        self.column = Column(table, np.int32)
        self.values: list[str | None] = [None]
        self._ids: dict[str, int] = {}
        self._lookups: dict[Any, Mask] = {}

    @property
    def domains(self) -> int:
        return len(self.values)

    def id_of(self, value: str | None) -> int:
        if value is None:
            return 0
        known = self._ids.get(value)
        if known is None:
            known = self._ids[value] = len(self.values)
            self.values.append(value)
        return known

    def find(self, value: str) -> int | None:
        return self._ids.get(value)

    def where(self, key: Any, test: Callable[[str | None], bool]) -> Mask:
        """For each value id whether `test` holds; remembered by `key`, which must say all that `test` depends on."""
        known = self._lookups.get(key)
        count = len(self.values)
        if known is None or len(known) < count:
            start = 0 if known is None else len(known)
            more = np.fromiter((test(v) for v in self.values[start:]), np.bool_, count - start)
            known = more if known is None else np.concatenate((known, more))
            if len(self._lookups) > 4096:
                self._lookups.clear()
            self._lookups[key] = known
        return known


class ChangeLog:
    """Rows in the order in which they changed, so that earlier answers are brought up to date for those only."""

    __slots__ = ("_rows", "_start")

    def __init__(self) -> None:
        self._rows: list[int] = []
        self._start = 0

    def add(self, row: int) -> None:
        if len(self._rows) >= _LOG_LIMIT:
            self._start += len(self._rows)
            self._rows.clear()
        self._rows.append(row)

    @property
    def end(self) -> int:
        return self._start + len(self._rows)

    def since(self, position: int) -> list[int] | None:
        """The rows added since `end` was `position`; None if that is too long ago."""
        return None if position < self._start else self._rows[position - self._start :]


class NodeRow:
    """What is kept of a node beside the columns: exact sums, and the Pods on it."""

    __slots__ = ("allocatable", "name", "node", "pods", "ports", "requested", "row")

    def __init__(self, name: str, row: int) -> None:
        self.name = name
        self.row = row
        self.node: Object | None = None
        self.allocatable: dict[str, int] = {}
        self.requested: dict[str, int] = {}
        self.pods: dict[str, PodRecord] = {}
        self.ports: dict[HostPort, int] = {}

    def free(self, resource: str, beside: Iterable[PodInfo] = ()) -> int:
        """What is free of a resource, exactly; with the Pods `beside`, which are not there yet, already there."""
        left = self.allocatable.get(resource, 0) - self.requested.get(resource, 0)
        return left - sum(pod.amount(resource) for pod in beside)


def _allocatable(node: Object) -> dict[str, int]:
    status = node.get("status") or {}
    listed: Mapping[str, Any] = status.get("allocatable") or status.get("capacity") or {}
    found = {}
    for resource, text in listed.items():
        try:
            found[resource] = quantity.milli(text) if resource == "cpu" else quantity.value(text)
        except quantity.QuantityError:
            found[resource] = 0
    return found


class NodeTable:
    """All nodes. Rows of nodes that went are used again; `alive` says which hold one.

    `log` has every row of which anything changed, `own_log` those whose node changed itself, not only the Pods on it,
    `pods_log` those about whose Pods something changed that no column shows (labels, start, who waits for room);
    `epoch` rises when every earlier answer is void (nodes came or went)."""

    def __init__(self) -> None:
        self.capacity = _FIRST_CAPACITY
        self.size = 0
        self.count = 0
        self.epoch = 0
        self.rows: list[NodeRow | None] = []
        self._by_name: dict[str, NodeRow] = {}
        self._vacant: list[int] = []
        self._columns: list[Column] = []
        self.log = ChangeLog()
        self.own_log = ChangeLog()
        self.pods_log = ChangeLog()
        self.alive = self.column(np.bool_)
        self.unschedulable = self.column(np.bool_)
        self.taint_set = self.column(np.int32)
        self.taint_sets: list[tuple[Taint, ...]] = [()]
        self._taint_ids: dict[tuple[Taint, ...], int] = {(): 0}
        self.allocatable: dict[str, Column] = {}
        self.requested: dict[str, Column] = {}
        self.free: dict[str, Column] = {}
        self.non_zero = {"cpu": self.column(np.int64), "memory": self.column(np.int64)}
        self._labels: dict[str, Labels] = {}
        self._ports: dict[tuple[str, int], dict[str, Column]] = {}
        self._images: dict[str, Column] = {}
        for resource in ("cpu", "memory", "ephemeral-storage", "pods"):
            self._resource(resource)

    def column(self, dtype: Any) -> Column:
        column = Column(self, dtype)
        self._columns.append(column)
        return column

    def drop_column(self, column: Column) -> None:
        self._columns.remove(column)

    def get(self, name: str) -> NodeRow | None:
        return self._by_name.get(name)

    def node_of(self, pod: PodRecord) -> NodeRow:
        """The node of a Pod that is counted there."""
        return self._by_name[pod.node]

    def row_of(self, name: str) -> int | None:
        """The row of a node that exists (Pods may be known on one that does not, yet or any more)."""
        known = self._by_name.get(name)
        return known.row if known is not None and known.node is not None else None

    def name_of(self, row: int) -> str:
        found = self.rows[row]
        assert found is not None
        return found.name

    def node_at(self, row: int) -> NodeRow:
        found = self.rows[row]
        assert found is not None
        return found

    def entries(self) -> Iterable[NodeRow]:
        """All nodes that exist."""
        return (row for row in self.rows if row is not None and row.node is not None)

    # Changes

    def touched(self, name: str) -> None:
        """Something about the Pods of a node changed that no column shows."""
        entry = self._by_name.get(name)
        if entry is not None:
            self.pods_log.add(entry.row)

    def _row(self, name: str) -> NodeRow:
        known = self._by_name.get(name)
        if known is not None:
            return known
        if self._vacant:
            row = self._vacant.pop()
        else:
            row = self.size
            if row >= self.capacity:
                self.capacity *= 2
                for column in self._columns:
                    column.grow(self.capacity)
            self.size += 1
            self.rows.append(None)
            self.epoch += 1
        for column in self._columns:
            column.array[row] = 0
        made = self._by_name[name] = NodeRow(name, row)
        self.rows[row] = made
        return made

    def put(self, node: Object) -> None:
        """Adds or updates a node."""
        entry = self._row(objects.name(node))
        row, before = entry.row, entry.node
        entry.node = node
        if before is None:
            self.count += 1
            self.epoch += 1
        self.alive.array[row] = True
        spec = node.get("spec") or {}
        self.unschedulable.array[row] = bool(spec.get("unschedulable"))
        self.taint_set.array[row] = self._taint_id(spec.get("taints") or ())
        status = node.get("status") or {}
        if before is None or (before.get("status") or {}).get("allocatable") != status.get("allocatable"):
            allocatable = _allocatable(node)
            for resource in {*entry.allocatable, *allocatable}:
                self._resource(resource)
                self.allocatable[resource].array[row] = allocatable.get(resource, 0)
            entry.allocatable = allocatable
            for resource in self.free:
                self._set_free(entry, resource)
        node_labels = objects.labels(node)
        if before is None or objects.labels(before) != node_labels:
            for key, labels in self._labels.items():
                labels.column.array[row] = labels.id_of(node_labels.get(key))
        if self._images and (before is None or (before.get("status") or {}).get("images") != status.get("images")):
            self._put_images(row, status)
            self.epoch += 1
        self.log.add(row)
        self.own_log.add(row)

    def remove(self, name: str) -> None:
        """Removes a node. Its Pods stay known until they are removed one by one."""
        entry = self._by_name.get(name)
        if entry is None or entry.node is None:
            return
        entry.node = None
        entry.allocatable = {}
        self.count -= 1
        self.epoch += 1
        self.alive.array[entry.row] = False
        for column in (*self.allocatable.values(), *(labels.column for labels in self._labels.values())):
            column.array[entry.row] = 0
        self._vacate(entry)

    def _vacate(self, entry: NodeRow) -> None:
        if entry.node is None and not entry.pods:
            del self._by_name[entry.name]
            self.rows[entry.row] = None
            self._vacant.append(entry.row)

    def add_pod(self, pod: PodRecord) -> int:
        """Counts a Pod on its node; gives the row."""
        entry = self._row(pod.node)
        entry.pods[pod.key] = pod
        self._count(entry, pod, 1)
        return entry.row

    def remove_pod(self, pod: PodRecord) -> int:
        entry = self._by_name[pod.node]
        del entry.pods[pod.key]
        self._count(entry, pod, -1)
        self._vacate(entry)
        return entry.row

    def _count(self, entry: NodeRow, pod: PodRecord, sign: int) -> None:
        row, requested = entry.row, entry.requested
        for resource, amount in pod.requests.items():
            if amount:
                requested[resource] = requested.get(resource, 0) + sign * amount
                if resource not in self.free:
                    self._resource(resource)
                self._set_free(entry, resource)
        requested["pods"] = requested.get("pods", 0) + sign
        self._set_free(entry, "pods")
        cpu, memory = self.non_zero["cpu"].array, self.non_zero["memory"].array
        cpu[row] = clamp(int(cpu[row]) + sign * pod.non_zero_cpu)
        memory[row] = clamp(int(memory[row]) + sign * pod.non_zero_memory)
        for port in pod.cls.ports:
            column = self._port_column(port)
            column.array[row] += sign
            entry.ports[port] = entry.ports.get(port, 0) + sign
            if not entry.ports[port]:
                del entry.ports[port]
        self.log.add(row)

    # Columns by name

    def _resource(self, resource: str) -> None:
        if resource not in self.free:
            self.allocatable[resource] = self.column(np.int64)
            self.requested[resource] = self.column(np.int64)
            self.free[resource] = self.column(np.int64)

    def _set_free(self, entry: NodeRow, resource: str) -> None:
        requested = entry.requested.get(resource, 0)
        self.requested[resource].array[entry.row] = clamp(requested)
        self.free[resource].array[entry.row] = clamp(entry.allocatable.get(resource, 0) - requested)

    def resource(self, resource: str) -> tuple[Column, Column, Column]:
        """Allocatable, requested and free. CPU in milli-CPUs, the rest in whole units."""
        self._resource(resource)
        return self.allocatable[resource], self.requested[resource], self.free[resource]

    def labels(self, key: str) -> Labels:
        """The column of a label key, made when first asked for."""
        known = self._labels.get(key)
        if known is None:
            known = self._labels[key] = Labels(self)
            self._columns.append(known.column)
            for entry in self.rows:
                if entry is not None and entry.node is not None:
                    known.column.array[entry.row] = known.id_of(objects.labels(entry.node).get(key))
        return known

    def _taint_id(self, taints: Iterable[Object]) -> int:
        listed = tuple(
            (t.get("key") or "", t.get("value") or "", t.get("effect") or "")
            for t in taints
            if t.get("effect") in SCHEDULING_EFFECTS or t.get("effect") == PREFER_NO_SCHEDULE
        )
        known = self._taint_ids.get(listed)
        if known is None:
            known = self._taint_ids[listed] = len(self.taint_sets)
            self.taint_sets.append(listed)
        return known

    def _port_column(self, port: HostPort) -> Column:
        protocol, ip, number = port
        by_ip = self._ports.setdefault((protocol, number), {})
        if ip not in by_ip:
            by_ip[ip] = self.column(np.int32)
        return by_ip[ip]

    def port_columns(self, protocol: str, number: int) -> Mapping[str, Column]:
        """How many Pods hold a port, by IP."""
        return self._ports.get((protocol, number)) or {}

    def image(self, name: str) -> Column:
        """The size in bytes of an image on each node that has it."""
        known = self._images.get(name)
        if known is None:
            known = self._images[name] = self.column(np.int64)
            for entry in self.rows:
                if entry is not None and entry.node is not None:
                    known.array[entry.row] = _image_sizes(entry.node.get("status") or {}).get(name, 0)
        return known

    def _put_images(self, row: int, status: Object) -> None:
        sizes = _image_sizes(status)
        for name, column in self._images.items():
            column.array[row] = sizes.get(name, 0)


def _image_sizes(status: Object) -> dict[str, int]:
    return {
        name: int(image.get("sizeBytes") or 0)
        for image in status.get("images") or ()
        for name in image.get("names") or ()
    }
