"""StatefulSet: Pods with names, storage and an order."""

from podwright.controllers.statefulset.controller import StatefulSetController

__all__ = ["StatefulSetController"]
