"""The rules of the scheduling_kinds kinds."""

from __future__ import annotations

from podwright.api.validation.rules import Kinds

KINDS: Kinds = {}
