"""Distances of nodes from the traffic of their own ids as one operator: torch's would copy a matrix for each node."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from credit_like._compiled import compiled_arithmetic
from credit_like._threads import BLOCK, blocks_of
from credit_like.models.kernels._arguments import call_blocks


@torch.library.custom_op("credit_like::own_distances", mutates_args=(), device_types="cpu")
def own_distances(
    x: Tensor, columns: Sequence[int], sizes: Sequence[int], ids: Tensor, centre: Tensor, whitening: Tensor
) -> Tensor:
    """The squared length, of each group of columns, of ``(x[:, columns] - centre[ids]) @ whitening[ids]``.

    ``x`` float32 or float64[N, F], ``columns`` k of it, group by group, which have ``sizes`` columns, ``ids`` int64[N]
    rows of ``centre`` float64[V, k] and ``whitening`` float64[V, k, k] -> float64[N, len(sizes)]. On the CPU, without
    gradients. Raises IndexError where an id or a column does not exist, ValueError for tensors that do not fit
    together.
    """
    known, k = centre.shape
    if len(columns) != k or sum(sizes) != k or whitening.shape != (known, k, k) or ids.shape != x.shape[:1]:
        raise ValueError(
            f"{len(columns)} columns in groups of {list(sizes)}, ids {list(ids.shape)}, centre "
            f"{list(centre.shape)} and whitening {list(whitening.shape)} do not fit x {list(x.shape)}"
        )
    if not all(0 <= column < x.shape[1] for column in columns):
        raise IndexError(f"columns are in 0..{x.shape[1] - 1}; got {list(columns)}")
    found = _empty_distances(x, columns, sizes, ids, centre, whitening)
    chosen, ends = torch.tensor(columns), torch.tensor([0, *sizes]).cumsum(0)
    rows = call_blocks(_measure, blocks_of(len(x)), BLOCK, x, chosen, ends, ids, centre, whitening, found)
    wrong = next((row for row in rows if row >= 0), -1)
    if wrong >= 0:
        raise IndexError(f"row {wrong} is of id {int(ids[wrong])}, but there are statistics of {known} ids")
    return found


@own_distances.register_fake
def _empty_distances(
    x: Tensor, columns: Sequence[int], sizes: Sequence[int], ids: Tensor, centre: Tensor, whitening: Tensor
) -> Tensor:
    return centre.new_empty(x.shape[0], len(sizes))


@compiled_arithmetic
def _measure(start, stop, size, x, columns, ends, ids, centre, whitening, found):
    """Set ``found`` of the blocks ``start`` to ``stop`` of ``size`` rows. Returns the first whose id has no
    statistics, or -1."""
    width = len(columns)
    deviation, whitened = np.empty(width), np.empty(width)
    for i in range(start * size, min(stop * size, len(x))):
        own = ids[i]
        if own < 0 or own >= len(centre):
            return i
        for c in range(width):
            deviation[c] = np.float64(x[i, columns[c]]) - centre[own, c]
            whitened[c] = 0.0
        matrix = whitening[own]
        for r in range(width):
            part = deviation[r]
            for c in range(width):
                whitened[c] += part * matrix[r, c]
        for g in range(len(ends) - 1):
            total = 0.0
            for c in range(ends[g], ends[g + 1]):
                total += whitened[c] * whitened[c]
            found[i, g] = total
    return -1
