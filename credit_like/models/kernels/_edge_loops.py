"""The compiled loops behind ``edges.py`` and ``layers.py``."""

# mypy: ignore-errors
# numba infers the types of what follows; mypy sees untyped functions in it.
from __future__ import annotations

import numpy as np

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


@compiled
def cut(begin, source, cuts, size):
    """Set ``cuts`` to nodes that no edge passes, each the first such behind one more block of ``size`` nodes."""
    nodes = len(begin) - 1
    least = np.empty(nodes + 1, begin.dtype)  # source of the edges into this node and all after it
    least[nodes] = nodes
    for v in range(nodes - 1, -1, -1):
        least[v] = least[v + 1]
        for place in range(begin[v], begin[v + 1]):
            least[v] = min(least[v], source[place])
    most = -1  # source of the edges into all nodes before this one
    made = 0
    for v in range(nodes):
        if made < len(cuts) - 1 and v >= made * size and most < v and least[v] >= v:
            cuts[made] = v
            made += 1
        for place in range(begin[v], begin[v + 1]):
            most = max(most, source[place])
    for rest in range(made, len(cuts)):
        cuts[rest] = nodes


@compiled
def part(batch, edge_index, most, starts):
    """Fill ``starts`` with the first node of each part, and the number of nodes behind the last. A part ends with the
    graph that brings it to ``most`` nodes.

    Returns the number of parts: one where a graph's nodes are not side by side, or an edge leads into another graph.
    """
    nodes = len(batch)
    parts = 0
    starts[0] = 0
    for v in range(1, nodes):
        if batch[v] < batch[v - 1]:
            starts[1] = nodes
            return 1
        if v - starts[parts] >= most and batch[v] > batch[v - 1]:
            parts += 1
            starts[parts] = v
    for e in range(edge_index.shape[1]):
        if batch[edge_index[0, e]] != batch[edge_index[1, e]]:
            starts[1] = nodes
            return 1
    starts[parts + 1] = nodes
    return parts + 1
