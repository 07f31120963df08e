"""Fills the rules of ClusterRoles that aggregate others by label."""

from __future__ import annotations

from podwright.api import objects
from podwright.api.objects import Object
from podwright.api.resources import CLUSTERROLES
from podwright.client.informers import latest
from podwright.controllers import selection
from podwright.controllers.frame import Context, Controller


class ClusterRoleAggregationController(Controller):
    name = "clusterrole-aggregation-controller"
    account = "clusterrole-aggregation-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._aggregating: set[str] = set()
        self.roles = self.informer(CLUSTERROLES, self._changed)

    def _changed(self, old: Object | None, new: Object | None) -> None:
        role = latest(old, new)
        if new is not None and new.get("aggregationRule"):
            self._aggregating.add(objects.name(role))
        else:
            self._aggregating.discard(objects.name(role))
        for name in self._aggregating:
            self.queue.add(name)

    async def reconcile(self, key: str) -> None:
        role = self.roles.get(key)
        if role is None or not role.get("aggregationRule"):
            return
        selectors = [
            selection.from_label_selector(s) for s in role["aggregationRule"].get("clusterRoleSelectors") or ()
        ]
        rules: list[Object] = []
        for other in sorted(self.roles.items(), key=objects.name):
            if objects.name(other) != key and any(matches(objects.labels(other)) for matches in selectors):
                rules.extend(r for r in other.get("rules") or () if r not in rules)
        if rules != list(role.get("rules") or ()):
            await self.client.update(CLUSTERROLES, {**role, "rules": rules})
