"""Which plugins there are: the default ones, and those that installed packages offer."""

from __future__ import annotations

import importlib
import re
from importlib.metadata import entry_points
from typing import cast

from podwright.scheduler.config import DEFAULT_PLUGINS
from podwright.scheduler.framework.protocols import PluginFactory

ENTRY_POINTS = "podwright.scheduler.plugins"
_PACKAGE = "podwright.scheduler.plugins"

_DEFAULT = dict(DEFAULT_PLUGINS)


class UnknownPlugin(ValueError):
    """No plugin has this name."""


def is_built_in(name: str) -> bool:
    return name in _DEFAULT


def find(name: str) -> PluginFactory:
    """A default plugin, one of the entry point group ``podwright.scheduler.plugins``, or "module:Class".

    Raises:
        UnknownPlugin: there is none.
    """
    if is_built_in(name):
        # Each in the file of its name.
        module = re.sub("(?<!^)(?=[A-Z])", "_", name).lower()
        return cast(PluginFactory, getattr(importlib.import_module(f"{_PACKAGE}.{module}"), name))
    for entry in entry_points(group=ENTRY_POINTS, name=name):
        return cast(PluginFactory, entry.load())
    path, _, attribute = name.partition(":")
    if attribute:
        try:
            return cast(PluginFactory, getattr(importlib.import_module(path), attribute))
        except (ImportError, AttributeError) as missing:
            raise UnknownPlugin(f"plugin {name}: {missing}") from missing
    raise UnknownPlugin(f"{name} does not exist")
