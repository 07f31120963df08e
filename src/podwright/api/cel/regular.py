"""Regular expressions in RE2's syntax, which takes linear time whatever the pattern."""

from __future__ import annotations

import functools
from typing import Any

from podwright.api.cel.errors import EvaluationError


@functools.lru_cache(maxsize=512)
def compiled(pattern: str) -> Any:
    """Raises EvaluationError."""
    import re2  # type: ignore[import-untyped]  # 2.5 MB, for those whose expressions match patterns

    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        raise EvaluationError(f"error parsing regexp: {error}") from None


def search(pattern: str, text: str) -> Any:
    return compiled(pattern).search(text)
