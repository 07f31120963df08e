"""Says of each FlowSchema whether its priority level exists (Kubernetes documentation, "API Priority and Fairness": the
condition Dangling). Upstream's API servers write it themselves."""

from __future__ import annotations

from podwright.api import objects
from podwright.api.objects import Object
from podwright.api.resources import BUILTIN
from podwright.controllers.frame import Context, Controller, ignore_not_found

_GROUP = "flowcontrol.apiserver.k8s.io"
_SCHEMAS = BUILTIN.by_path(_GROUP, "v1", "flowschemas")
_LEVELS = BUILTIN.by_path(_GROUP, "v1", "prioritylevelconfigurations")


class FlowSchemaStatusController(Controller):
    name = account = "flow-schema-status-controller"
    workers = 1

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        assert _SCHEMAS is not None and _LEVELS is not None
        self._resource = _SCHEMAS
        self.schemas = self.informer(_SCHEMAS, self._schema_changed)
        self.levels = self.informer(_LEVELS, self._level_changed)

    def _schema_changed(self, old: Object | None, new: Object | None) -> None:
        if new is not None:
            self.enqueue(old, new)

    def _level_changed(self, old: Object | None, new: Object | None) -> None:
        if old is None or new is None:
            for schema in self.schemas.items():
                self.enqueue(None, schema)

    async def reconcile(self, key: str) -> None:
        schema = self.schemas.get(key)
        if schema is None or objects.is_deleting(schema):
            return
        level = ((schema.get("spec") or {}).get("priorityLevelConfiguration") or {}).get("name", "")
        found = self.levels.get(level) is not None
        text = "and it exists" if found else "but there is no such object"
        wanted = {
            "type": "Dangling",
            "status": "False" if found else "True",
            "reason": "Found" if found else "NotFound",
            "message": f'This FlowSchema references the PriorityLevelConfiguration object named "{level}" {text}',
        }
        before = objects.condition(schema, "Dangling") or {}
        if all(before.get(field) == value for field, value in wanted.items()):
            return
        wanted["lastTransitionTime"] = objects.format_time(self.clock.now())
        status = schema.get("status") or {}
        others = [c for c in status.get("conditions") or () if c.get("type") != "Dangling"]
        changed = {**schema, "status": {**status, "conditions": [*others, wanted]}}
        await ignore_not_found(self.client.update_status(self._resource, changed))
