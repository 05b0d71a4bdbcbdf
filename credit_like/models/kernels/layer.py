"""A GATv2 layer with its normalisation and activation as one operator, for evaluation: nothing is kept for backward."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor

from credit_like._threads import BLOCK, blocks_of
from credit_like.models.kernels import _attention_loops as loops
from credit_like.models.kernels._arguments import call_blocks
from credit_like.models.kernels.attention import known_lengths, require_fit

#: Blocks that are done together. What 2,048 nodes of a layer of width 64 are projected to fills 1.5 MB, so that it is
#: still in a core's cache (2 MB) when attention reads it: of 22,000 nodes that takes 2.9 ms in place of 4.7.
_TOGETHER = 4


@torch.library.custom_op("credit_like::gatv2_norm_elu", mutates_args=(), device_types="cpu")
def gatv2_norm_elu(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    features: Tensor,
    projection: Tensor,
    att: Tensor,
    norm_weight: Tensor,
    norm_bias: Tensor,
    order: Tensor,
    begin: Tensor,
    source: Tensor,
    cuts: Tensor,
    slope: float,
    epsilon: float,
) -> Tensor:
    """``norm_elu(attend(linear(x, weight, bias), ...))`` without dropout and gradients, some thousand nodes at a time.

    ``x`` [N, D], ``weight`` [3 * H * C, D] and ``bias`` [3 * H * C]; the others as in ``attend`` and ``norm_elu``.
    Returns [N, H * C]. Nodes are parted where no edge passes, so a single large graph is done at a stretch.
    """
    width = att.numel()
    for name, tensor, length in (
        ("bias", bias, 3 * width), ("norm_weight", norm_weight, width), ("norm_bias", norm_bias, width)
    ):  # fmt: skip
        if tensor.shape != (length,) or tensor.dtype != x.dtype:
            raise ValueError(f"{name} must be {x.dtype}[{length}]; got {tensor.dtype}{list(tensor.shape)}")
    out = x.new_empty(x.shape[0], width)
    alpha = x.new_empty(order.shape[0], att.shape[0])
    borders = sorted({*cuts[::_TOGETHER].tolist(), x.shape[0]})
    most = max(after - first for first, after in pairwise([0, *borders]))
    space, mixed, moments = (x.new_empty(most, size) for size in (weight.shape[0], width, 2))
    for first, after in pairwise(borders):
        projected = torch.mm(x[first:after], weight.t(), out=space[: after - first])
        part = begin[first : after + 1]
        require_fit(projected, features, projection, att, order, part)
        call_blocks(
            loops.attend_norm_elu, blocks_of(after - first), BLOCK, projected, bias, features, projection, att,
            order, part, source, first, slope, known_lengths(att, projection), norm_weight, norm_bias, epsilon,
            mixed[: after - first], alpha, moments, out[first:after],
        )  # fmt: skip
    return out


@gatv2_norm_elu.register_fake
def _empty_layer(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    features: Tensor,
    projection: Tensor,
    att: Tensor,
    norm_weight: Tensor,
    norm_bias: Tensor,
    order: Tensor,
    begin: Tensor,
    source: Tensor,
    cuts: Tensor,
    slope: float,
    epsilon: float,
) -> Tensor:
    return x.new_empty(x.shape[0], att.numel())
