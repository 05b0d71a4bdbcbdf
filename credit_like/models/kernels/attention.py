"""The attention of GATv2 as one operator: scores, softmax, dropout and weighted sum in one walk over the edges."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from credit_like._threads import BLOCK, blocks_of
from credit_like.models.kernels import _attention_loops as loops
from credit_like.models.kernels._arguments import call_blocks, chance, draw_seed, folded
from credit_like.models.kernels.edges import GroupedEdges


def attend(
    projected: Tensor,
    features: Tensor | None,
    projection: Tensor | None,
    att: Tensor,
    edges: GroupedEdges,
    *,
    slope: float = 0.2,
    dropout: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """``base_i + sum over the edges e from j to i of dropout(alpha_e) x_l_j``, and the attention ``alpha``.

    ``alpha`` is the softmax, over the edges into i, of ``att . leaky_relu(x_l_j + x_r_i + features_e projection)``
    (Brody et al. 2022, "How attentive are graph attention networks?", equation 7, with edge features).

    Arguments, float32 or float64, all of one dtype and on the CPU:
        projected: [N, 3 * H * C] the nodes as sources (x_l), as destinations (x_r), and what the sum is added to
            (base), side by side as one product of matrices gives them; [N, 2 * H * C] where the base is zero.
        features, projection: [E, K] in the order of ``edge_index``, and [K, H * C]; None without edge features.
        att: [H, C] the attention vector of each of H heads.
        slope: of the leaky ReLU, for negative numbers.
        dropout: probability that a head's attention to an edge is dropped; the rest is scaled by ``1 / (1 - dropout)``.
            What is dropped follows from one number drawn from torch's generator. 0 in evaluation.

    Returns [N, H * C], and ``alpha`` [E, H] before dropout, in the order of ``edge_index``. A node without incoming
    edges gets its base alone. Both are differentiable with respect to all four tensors, once. ``alpha`` is the only
    thing written that is as long as the edges. The first call for an H * C or K not met before compiles for a few
    seconds, and the result is kept on disk. Raises ValueError for tensors that do not fit together.
    """
    if features is None or projection is None:
        features, projection = att.new_empty(edges.order.shape[0], 0), att.new_empty(0, att.numel())
    return gatv2_attend(projected, features, projection, att, *edges[:4], slope, dropout, draw_seed(dropout))


@torch.library.custom_op("credit_like::gatv2_attend", mutates_args=(), device_types="cpu")
def gatv2_attend(
    projected: Tensor,
    features: Tensor,
    projection: Tensor,
    att: Tensor,
    order: Tensor,
    begin: Tensor,
    source: Tensor,
    cuts: Tensor,
    slope: float,
    dropout: float,
    seed: Tensor,
) -> tuple[Tensor, Tensor]:
    """``attend`` as a custom operator; K = 0 without edge features."""
    require_fit(projected, features, projection, att, order, begin)
    out, alpha = _empty_attention(
        projected, features, projection, att, order, begin, source, cuts, slope, dropout, seed
    )
    call_blocks(
        loops.attend, blocks_of(projected.shape[0]), BLOCK, projected, features, projection, att, order, begin,
        source, slope, *chance(dropout), seed.item(), known_lengths(att, projection), out, alpha,
    )  # fmt: skip
    return out, alpha


@gatv2_attend.register_fake
def _empty_attention(
    projected: Tensor,
    features: Tensor,
    projection: Tensor,
    att: Tensor,
    order: Tensor,
    begin: Tensor,
    source: Tensor,
    cuts: Tensor,
    slope: float,
    dropout: float,
    seed: Tensor,
) -> tuple[Tensor, Tensor]:
    return projected.new_empty(projected.shape[0], att.numel()), projected.new_empty(order.shape[0], att.shape[0])


@torch.library.custom_op("credit_like::gatv2_attend_backward", mutates_args=(), device_types="cpu")
def gatv2_attend_backward(
    grad: Tensor,
    grad_alpha: Tensor,
    projected: Tensor,
    features: Tensor,
    projection: Tensor,
    att: Tensor,
    alpha: Tensor,
    order: Tensor,
    begin: Tensor,
    source: Tensor,
    cuts: Tensor,
    slope: float,
    dropout: float,
    seed: Tensor,
    features_too: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of ``projected, features, projection, att``; that of ``features`` has no rows unless it is wanted."""
    grad_projected, grad_features, _, _ = _empty_gradients(
        grad, grad_alpha, projected, features, projection, att, alpha, order, begin, source, cuts,
        slope, dropout, seed, features_too,
    )  # fmt: skip
    blocks = len(cuts) - 1
    grad_projection, grad_att = (tensor.new_empty(blocks, *tensor.shape) for tensor in (projection, att))
    call_blocks(
        loops.attend_backward, blocks, grad, grad_alpha, projected, features, projection, att, alpha,
        order, begin, source, cuts, slope, *chance(dropout), seed.item(), known_lengths(att, projection),
        grad_projected, grad_features, grad_projection, grad_att,
    )  # fmt: skip
    return grad_projected, grad_features, folded(grad_projection), folded(grad_att)


@gatv2_attend_backward.register_fake
def _empty_gradients(
    grad: Tensor,
    grad_alpha: Tensor,
    projected: Tensor,
    features: Tensor,
    projection: Tensor,
    att: Tensor,
    alpha: Tensor,
    order: Tensor,
    begin: Tensor,
    source: Tensor,
    cuts: Tensor,
    slope: float,
    dropout: float,
    seed: Tensor,
    features_too: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return (
        projected.new_empty(projected.shape),
        projected.new_empty(features.shape[0] if features_too else 0, features.shape[1]),
        projected.new_empty(projection.shape),
        projected.new_empty(att.shape),
    )


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    projected, features, projection, att, order, begin, source, cuts, slope, dropout, seed = inputs
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(projected, features, projection, att, output[1], order, begin, source, cuts, seed)
    ctx.slope, ctx.dropout, ctx.width = slope, dropout, att.numel()


def _gradients(ctx: Any, grad: Tensor | None, grad_alpha: Tensor | None) -> tuple[Tensor | None, ...]:
    projected, features, projection, att, alpha, order, begin, source, cuts, seed = ctx.saved_tensors
    grad = projected.new_zeros(projected.shape[0], ctx.width) if grad is None else grad
    grad_alpha = alpha.new_empty(0, alpha.shape[1]) if grad_alpha is None else grad_alpha
    features_too = ctx.needs_input_grad[1]
    grad_projected, grad_features, grad_projection, grad_att = gatv2_attend_backward(
        grad, grad_alpha, projected, features, projection, att, alpha, order, begin, source, cuts,
        ctx.slope, ctx.dropout, seed, features_too,
    )  # fmt: skip
    return grad_projected, grad_features if features_too else None, grad_projection, grad_att, *(None,) * 7


gatv2_attend.register_autograd(_gradients, setup_context=_save)


def known_lengths(att: Tensor, projection: Tensor) -> tuple[tuple[int, ...], ...] | None:
    """What ``_attention_loops`` calls ``known``: for the sizes at which speed matters."""
    if att.dtype != torch.float32 or att.shape[1] % 8 or not projection.shape[0]:
        return None
    return (0,) * att.shape[1], (0,) * projection.shape[0], (0,) * att.numel()


def require_fit(
    projected: Tensor, features: Tensor, projection: Tensor, att: Tensor, order: Tensor, begin: Tensor
) -> None:
    """The loops do not look: a tensor too small would be read beyond its end."""
    if att.dtype not in (torch.float32, torch.float64) or att.dim() != 2:
        raise ValueError(f"att must be float32 or float64[H, C]; got {att.dtype}{list(att.shape)}")
    nodes, width, inputs = begin.shape[0] - 1, att.numel(), projection.shape[0]
    parts = 2 if projected.shape[1:] == (2 * width,) else 3
    for name, tensor, wanted in (
        ("projected", projected, (nodes, parts * width)),
        ("features", features, (order.shape[0], inputs)),
        ("projection", projection, (inputs, width)),
    ):
        if tensor.shape != wanted or tensor.dtype != att.dtype:
            raise ValueError(f"{name} must be {att.dtype}{list(wanted)}; got {tensor.dtype}{list(tensor.shape)}")
