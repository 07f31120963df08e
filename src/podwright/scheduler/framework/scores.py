"""Bringing scores into the range 0 to 100."""

from __future__ import annotations

import numpy as np

from podwright.scheduler.framework.protocols import MAX_SCORE
from podwright.scheduler.state.nodes import Ints


def normalized(scores: Ints, *, reverse: bool = False) -> Ints:
    """In proportion to the highest score, which gets 100; `reverse`: 100 less that. If the highest is 0, all get 0
    (reversed: 100)."""
    highest = int(scores.max(initial=0))
    if highest == 0:
        return np.full_like(scores, MAX_SCORE) if reverse else scores
    scaled = scores * MAX_SCORE // highest
    return MAX_SCORE - scaled if reverse else scaled
