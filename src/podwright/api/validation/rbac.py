"""The rules of the rbac kinds."""

from __future__ import annotations

from podwright.api.validation.rules import Kinds

KINDS: Kinds = {}
