"""The rules of the coordination kinds."""

from __future__ import annotations

from podwright.api.validation.rules import Kinds

KINDS: Kinds = {}
