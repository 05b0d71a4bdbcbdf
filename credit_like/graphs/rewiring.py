"""Batches that lie about who spoke after whom: what a model learns from them does not come from the transitions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

#: A PyG batch -> the same batch with other edges.
ChangeEdges = Callable[[Any], Any]

#: Odd constants of a 64-bit mixer (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014).
_ODD = (-0x40A7B892E31B1A47, -0x6B2FB644ECCEEE15)
#: More edges than a window can have: numbers of windows and of their edges do not meet.
_EDGES = 1 << 21


def remove_edges(batch: Any) -> Any:
    """The batch, changed in place: no edge is left. It can't be taken apart into graphs any more."""
    batch.edge_index = batch.edge_index[:, :0]
    batch.edge_attr = batch.edge_attr[:0]
    return batch


def rewire_edges(batch: Any) -> Any:
    """The batch, changed in place: within each graph the destinations of the edges are dealt out anew.

    Edges keep their source and their features, and every id keeps how many edges leave and reach it. How a window is
    rewired depends on its number in the store alone, so it is the same in every epoch and in any batch. Several edges
    may join the same two nodes afterwards. Edges still ascend by destination, then by source.
    """
    source, target = batch.edge_index
    owner = batch.batch[source]
    first = torch.searchsorted(owner, torch.arange(batch.num_graphs, device=owner.device))
    place = torch.arange(len(owner), device=owner.device) - first[owner]
    order = _mixed(batch.window[owner] * _EDGES + place).argsort(stable=True)
    order = order[owner[order].argsort(stable=True)]
    dealt = target[order]
    ranked = (dealt * batch.x.shape[0] + source).argsort(stable=True)
    batch.edge_index = torch.stack([source[ranked], dealt[ranked]])
    batch.edge_attr = batch.edge_attr[ranked]
    return batch


def _mixed(number: Tensor) -> Tensor:
    """int64 -> int64 without pattern; products wrap around."""
    for odd in _ODD:
        number = (number ^ (number >> 30)) * odd
    return number ^ (number >> 31)
