"""Regular expressions in RE2's syntax, which takes linear time whatever the pattern."""

from __future__ import annotations

import functools
from typing import Any

from podwright.api.cel.errors import EvaluationError

_IN_GO = {
    "invalid perl operator": "invalid or unsupported Perl syntax",
    "missing )": "missing closing )",
    "missing ]": "missing closing ]",
    "no argument for repetition operator": "missing argument to repetition operator",
    "invalid repetition size": "invalid repeat count",
    "bad repetition operator": "invalid nested repetition operator",
    "invalid named capture group": "invalid named capture",
}
"""Some errors by the names that they have in Go's package of the same syntax."""


@functools.lru_cache(maxsize=512)
def compiled(pattern: str) -> Any:
    """Raises EvaluationError."""
    import re2  # type: ignore[import-untyped]  # 2.5 MB, for those whose expressions match patterns

    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        what, _, where = error.args[0].decode().partition(": ")
        raise EvaluationError(f"error parsing regexp: {_IN_GO.get(what, what)}: `{where}`") from None


def search(pattern: str, text: str) -> Any:
    return compiled(pattern).search(text)
