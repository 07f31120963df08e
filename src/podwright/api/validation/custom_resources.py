"""The rules of the custom_resources kinds."""

from __future__ import annotations

from podwright.api.validation.rules import Kinds

KINDS: Kinds = {}
