"""Adding up counts of Pods by topology domain."""

from __future__ import annotations

import numpy as np

from podwright.scheduler.state.nodes import Ints, Mask, NodeTable


def by_domain(nodes: NodeTable, key: str, counts: Ints, included: Mask | None = None) -> Ints:
    """The sum of `counts` (one for each row) in each domain of a label key, by value id; 0, "no label", stays 0."""
    labels = nodes.labels(key)
    ids = labels.column.of()
    if included is not None:
        ids, counts = ids[included], counts[included]
    sums = np.bincount(ids, weights=counts, minlength=labels.domains).astype(np.int64)
    sums[0] = 0
    return sums
