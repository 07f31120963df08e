"""The rules of the apps kinds."""

from __future__ import annotations

from podwright.api.validation.rules import Kinds

KINDS: Kinds = {}
