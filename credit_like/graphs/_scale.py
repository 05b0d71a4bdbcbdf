"""Scaling of features as one operator: nine passes over the batch in torch's operations, one here."""

from __future__ import annotations

import torch
from torch import Tensor

from credit_like._compiled import compiled_division
from credit_like._threads import BLOCK, blocks_of, spread


@torch.library.custom_op("credit_like::scale_features", mutates_args=(), device_types="cpu")
def scale_features(
    x: Tensor, centre: Tensor, scale: Tensor, ids: Tensor, id_centre: Tensor, id_scale: Tensor, bound: Tensor
) -> Tensor:
    """``(x - centre) / scale`` within +-``bound``, and beside it the same with the statistics of each row's id.

    ``x`` float32[N, F], ``centre`` and ``scale`` float32[F], ``ids`` int64[N] rows of ``id_centre`` and ``id_scale``
    float32[V, F], which have no rows where only the former is wanted -> float32[N, 2 F] or [N, F]. On the CPU, without
    gradients. Raises IndexError where an id has no row, ValueError for tensors that do not fit together.
    """
    for tensor, shape in ((centre, x.shape[1:]), (scale, x.shape[1:]), (id_scale, id_centre.shape)):
        if tensor.shape != shape or tensor.dtype != x.dtype:
            raise ValueError(f"statistics must be {x.dtype}{list(shape)}; got {tensor.dtype}{list(tensor.shape)}")
    if len(id_centre) and (ids.shape != x.shape[:1] or id_centre.shape[1:] != x.shape[1:]):
        raise ValueError(f"ids {list(ids.shape)} of {list(id_centre.shape)} do not fit x {list(x.shape)}")
    scaled = _empty_scaled(x, centre, scale, ids, id_centre, id_scale, bound)
    tensors = (x, centre, scale, ids, id_centre, id_scale, scaled)
    views = (tensor.detach().contiguous().numpy() for tensor in tensors)
    found = spread(_scale, blocks_of(len(x)), BLOCK, bound.item(), *views)
    wrong = next((row for row in found if row >= 0), -1)
    if wrong >= 0:
        raise IndexError(f"row {wrong} is of id {int(ids[wrong])}, but there are statistics of {len(id_centre)} ids")
    return scaled


@scale_features.register_fake
def _empty_scaled(
    x: Tensor, centre: Tensor, scale: Tensor, ids: Tensor, id_centre: Tensor, id_scale: Tensor, bound: Tensor
) -> Tensor:
    return x.new_empty(x.shape[0], x.shape[1] * (2 if id_centre.shape[0] else 1))


@compiled_division
def _scale(start, stop, size, bound, x, centre, scale, ids, id_centre, id_scale, scaled):
    """Set ``scaled`` of the blocks ``start`` to ``stop`` of ``size`` rows. Returns the first whose id has no
    statistics, or -1."""
    rows, width = x.shape
    high = x.dtype.type(bound)
    low = -high
    for i in range(start * size, min(stop * size, rows)):
        for c in range(width):
            value = (x[i, c] - centre[c]) / scale[c]
            value = low if value < low else value  # a NaN passes both comparisons and comes out
            scaled[i, c] = high if value > high else value
        if len(id_centre):
            own = ids[i]
            if own < 0 or own >= len(id_centre):
                return i
            for c in range(width):
                value = (x[i, c] - id_centre[own, c]) / id_scale[own, c]
                value = low if value < low else value
                scaled[i, width + c] = high if value > high else value
    return -1
