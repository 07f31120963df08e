"""The garbage collector: an object whose owners are all gone goes too."""

from podwright.controllers.garbage_collector.controller import GarbageCollector

__all__ = ["GarbageCollector"]
