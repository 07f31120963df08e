"""Node lifecycle: notices nodes that fall silent, and taints what is not well."""

from podwright.controllers.node_lifecycle.controller import NodeLifecycleController

__all__ = ["NodeLifecycleController"]
