"""Edges grouped by their destination: sorted once for a batch, and read by every layer."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from credit_like._threads import BLOCK
from credit_like.models.kernels._arguments import call
from credit_like.models.kernels._edge_loops import cut, group


class GroupedEdges(NamedTuple):
    """The edges of ``edge_index`` int64[2, E] among N nodes, by destination; in their own order within one.

    ==============  ===============  ================================================================
    ``order``       int64[E]         the edge at each place, its column in ``edge_index``
    ``begin``       int64[N + 1]     where each destination's edges begin, with E at the end
    ``source``      int64[E]         the source of the edge at each place
    ``cuts``        int64[B + 1]     where blocks of nodes begin, with N at the end; no edge leads from one to another
    ``edge_index``  int64[2, E]      as it was given
    ==============  ===============  ================================================================
    """

    order: Tensor
    begin: Tensor
    source: Tensor
    cuts: Tensor
    edge_index: Tensor

    @classmethod
    def of(cls, edge_index: Tensor, num_nodes: int) -> GroupedEdges:
        """Edges in any order, duplicates and self-loops among them, on the CPU.

        Raises IndexError where an edge's end is not in ``0..num_nodes - 1``.

        >>> edges = GroupedEdges.of(torch.tensor([[0, 1, 2], [2, 0, 2]]), 3)
        >>> edges.order.tolist(), edges.begin.tolist(), edges.source.tolist()
        ([1, 0, 2], [0, 1, 1, 3], [1, 0, 2])
        """
        order, begin, source, cuts = group_edges(edge_index, num_nodes)
        return cls(order, begin, source, cuts, edge_index)


@torch.library.custom_op("credit_like::group_edges", mutates_args=(), device_types="cpu")
def group_edges(edge_index: Tensor, num_nodes: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The first four fields of ``GroupedEdges``, as a custom operator."""
    order, begin, source = sort_edges(edge_index, num_nodes)
    cuts = edge_index.new_empty(num_nodes // BLOCK + 2)
    call(cut, begin, source, cuts, BLOCK)
    return order, begin, source, cuts


@group_edges.register_fake
def _empty_groups(edge_index: Tensor, num_nodes: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return *_empty_sort(edge_index, num_nodes), edge_index.new_empty(num_nodes // BLOCK + 2)


def sort_edges(edge_index: Tensor, num_nodes: int) -> tuple[Tensor, Tensor, Tensor]:
    """``order``, ``begin`` and ``source`` of ``GroupedEdges``, for operators that need no more: cuts cost twice as
    much again. Raises as ``GroupedEdges.of`` does."""
    if edge_index.dtype != torch.int64 or edge_index.dim() != 2 or edge_index.shape[0] != 2:
        raise ValueError(f"edge_index must be int64[2, E]; got {edge_index.dtype}{list(edge_index.shape)}")
    made = _empty_sort(edge_index, num_nodes)
    wrong = call(group, edge_index, *made)
    if wrong >= 0:
        raise IndexError(f"edge {wrong} is {edge_index[:, wrong].tolist()}, but there are {num_nodes} nodes")
    return made


def _empty_sort(edge_index: Tensor, num_nodes: int) -> tuple[Tensor, Tensor, Tensor]:
    edges = edge_index.shape[1]
    return edge_index.new_empty(edges), edge_index.new_empty(num_nodes + 1), edge_index.new_empty(edges)
