"""Layer normalisation, ELU and dropout of node embeddings as one operator."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from credit_like._threads import BLOCK, blocks_of
from credit_like.models.kernels import _norm_loops as loops
from credit_like.models.kernels._arguments import call_blocks, chance, draw_seed, folded


def norm_elu(x: Tensor, weight: Tensor, bias: Tensor, *, epsilon: float = 1e-5, dropout: float = 0.0) -> Tensor:
    """``dropout(elu(layer_norm(x)))``, each row on its own (Ba et al. 2016; Clevert et al. 2016).

    ``x`` [N, D], ``weight`` and ``bias`` [D], all float32 or all float64, on the CPU -> [N, D]. ``epsilon`` is added
    to the variance. What is dropped follows from one number drawn from torch's generator; the rest is scaled by
    ``1 / (1 - dropout)``. Differentiable with respect to all three, once. Raises ValueError for tensors that do not fit
    together.
    """
    return layer_norm_elu(x, weight, bias, epsilon, dropout, draw_seed(dropout))[0]


@torch.library.custom_op("credit_like::layer_norm_elu", mutates_args=(), device_types="cpu")
def layer_norm_elu(
    x: Tensor, weight: Tensor, bias: Tensor, epsilon: float, dropout: float, seed: Tensor
) -> tuple[Tensor, Tensor]:
    """``norm_elu`` as a custom operator, and the mean and reciprocal standard deviation of each row, [N, 2]."""
    if x.dim() != 2 or x.dtype not in (torch.float32, torch.float64):
        raise ValueError(f"x must be float32[N, D] or float64[N, D]; got {x.dtype}{list(x.shape)}")
    for name, tensor in (("weight", weight), ("bias", bias)):
        if tensor.shape != x.shape[1:] or tensor.dtype != x.dtype:
            raise ValueError(f"{name} must be {x.dtype}[{x.shape[1]}]; got {tensor.dtype}{list(tensor.shape)}")
    out, moments = _empty_norm(x, weight, bias, epsilon, dropout, seed)
    call_blocks(
        loops.norm_elu, blocks_of(x.shape[0]), BLOCK, x, weight, bias, epsilon, *chance(dropout), seed.item(),
        out, moments,
    )  # fmt: skip
    return out, moments


@layer_norm_elu.register_fake
def _empty_norm(
    x: Tensor, weight: Tensor, bias: Tensor, epsilon: float, dropout: float, seed: Tensor
) -> tuple[Tensor, Tensor]:
    return x.new_empty(x.shape), x.new_empty(x.shape[0], 2)


@torch.library.custom_op("credit_like::layer_norm_elu_backward", mutates_args=(), device_types="cpu")
def layer_norm_elu_backward(
    grad: Tensor, x: Tensor, weight: Tensor, bias: Tensor, moments: Tensor, dropout: float, seed: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of ``x, weight, bias``."""
    blocks = blocks_of(x.shape[0])
    grad_x, grad_weight, grad_bias = x.new_empty(x.shape), *weight.new_empty(2, blocks, weight.shape[0])
    call_blocks(
        loops.norm_elu_backward, blocks, BLOCK, grad, x, weight, bias, moments, *chance(dropout), seed.item(),
        grad_x, grad_weight, grad_bias,
    )  # fmt: skip
    return grad_x, folded(grad_weight), folded(grad_bias)


@layer_norm_elu_backward.register_fake
def _empty_gradients(
    grad: Tensor, x: Tensor, weight: Tensor, bias: Tensor, moments: Tensor, dropout: float, seed: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    return x.new_empty(x.shape), weight.new_empty(weight.shape), bias.new_empty(bias.shape)


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    x, weight, bias, _, ctx.dropout, seed = inputs
    ctx.mark_non_differentiable(output[1])
    ctx.save_for_backward(x, weight, bias, output[1], seed)


def _gradients(ctx: Any, grad: Tensor, _: Tensor | None) -> tuple[Tensor | None, ...]:
    x, weight, bias, moments, seed = ctx.saved_tensors
    return *layer_norm_elu_backward(grad, x, weight, bias, moments, ctx.dropout, seed), None, None, None


layer_norm_elu.register_autograd(_gradients, setup_context=_save)
