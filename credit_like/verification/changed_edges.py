"""What the retrained controls do to a graph's edges, said once more for one graph at a time."""

from __future__ import annotations

import torch
from torch_geometric.data import Data

#: Products wrap around as 64-bit integers do.
_WORD, _SIGN = 1 << 64, 1 << 63


def without_edges(graph: Data) -> Data:
    """The graph without any edge."""
    made = graph.clone()
    made.edge_index, made.edge_attr = graph.edge_index[:, :0], graph.edge_attr[:0]
    return made


def rewired(graph: Data) -> Data:
    """The graph with its edges' destinations dealt out anew, in an order that only its number in the store decides."""
    source, target = graph.edge_index.tolist()
    window, edges = int(graph.window), range(len(source))
    order = sorted(edges, key=lambda place: _mixed(window * 2**21 + place))
    dealt = [target[place] for place in order]
    ranked = sorted(edges, key=lambda place: (dealt[place], source[place]))
    made = graph.clone()
    made.edge_index = torch.tensor([[source[i] for i in ranked], [dealt[i] for i in ranked]]).reshape(2, -1)
    made.edge_attr = graph.edge_attr[ranked]
    return made


def _mixed(number: int) -> int:
    """The 64-bit mixer of Steele, Lea and Flood, "Fast splittable pseudorandom number generators" (2014)."""
    for odd in (0xBF58476D1CE4E5B9 - (1 << 64), 0x94D049BB133111EB - (1 << 64)):
        number = _wrapped((number ^ (number >> 30)) * odd)
    return number ^ (number >> 31)


def _wrapped(number: int) -> int:
    return (number + _SIGN) % _WORD - _SIGN
