"""The compiled loop behind ``edges.py``."""

# mypy: ignore-errors
# numba infers the types of what follows; mypy sees untyped functions in it.
from __future__ import annotations

from credit_like._compiled import compiled


@compiled
def group(edge_index, order, begin, source):
    """Sort edges by destination, stably, in two passes, or one where they are sorted.

    Returns the first edge with an end that is no node, or -1.
    """
    nodes, edges = len(begin) - 1, edge_index.shape[1]
    for v in range(nodes + 1):
        begin[v] = 0
    is_sorted = True
    previous = 0
    for e in range(edges):
        j, i = edge_index[0, e], edge_index[1, e]
        if min(i, j) < 0 or max(i, j) >= nodes:
            return e
        is_sorted &= i >= previous
        previous = i
        begin[i + 1] += 1
        order[e] = e
        source[e] = j
    for v in range(nodes):
        begin[v + 1] += begin[v]
    if is_sorted:
        return -1
    place = begin.copy()
    for e in range(edges):
        i = edge_index[1, e]
        order[place[i]] = e
        source[place[i]] = edge_index[0, e]
        place[i] += 1
    return -1
