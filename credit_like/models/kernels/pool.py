"""Sum and maximum over the rows of each group in one pass."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from credit_like.models.kernels import _pool_loops as loops
from credit_like.models.kernels._arguments import call


def pool(x: Tensor, group: Tensor, num_groups: int) -> tuple[Tensor, Tensor, Tensor]:
    """Sum [G, D] and maximum [G, D] of the rows of ``x`` float32 or float64[N, D] in each group, and their number,
    int64[G]; a group without rows has zeros.

    ``group`` int64[N] in ``0..num_groups - 1``, in any order (sorted is fastest). Of equal maxima the first row gets
    the gradient. Both are differentiable once. On the CPU. Raises IndexError for a group that does not exist,
    ValueError for tensors that do not fit together.
    """
    total, top, count = pool_groups(x, group, num_groups)
    return total, top, count


@torch.library.custom_op("credit_like::pool_groups", mutates_args=(), device_types="cpu")
def pool_groups(x: Tensor, group: Tensor, num_groups: int) -> tuple[Tensor, Tensor, Tensor]:
    """``pool`` as a custom operator."""
    if x.dim() != 2 or x.dtype not in (torch.float32, torch.float64):
        raise ValueError(f"x must be float32[N, D] or float64[N, D]; got {x.dtype}{list(x.shape)}")
    if group.shape != x.shape[:1] or group.dtype != torch.int64:
        raise ValueError(f"group must be int64[{x.shape[0]}]; got {group.dtype}{list(group.shape)}")
    made = _empty_pool(x, group, num_groups)
    for tensor in made:
        tensor.zero_()
    wrong = call(loops.pool, x, group, *made)
    if wrong >= 0:
        raise IndexError(f"row {wrong} is of group {int(group[wrong])}, but there are {num_groups} groups")
    return made


@pool_groups.register_fake
def _empty_pool(x: Tensor, group: Tensor, num_groups: int) -> tuple[Tensor, Tensor, Tensor]:
    shape = (num_groups, x.shape[1])
    return x.new_empty(shape), x.new_empty(shape), group.new_empty(num_groups)


@torch.library.custom_op("credit_like::pool_groups_backward", mutates_args=(), device_types="cpu")
def pool_groups_backward(grad_total: Tensor, grad_top: Tensor, x: Tensor, group: Tensor, top: Tensor) -> Tensor:
    """The gradient of ``x``."""
    grad = _empty_gradient(grad_total, grad_top, x, group, top)
    left = grad_top.clone(memory_format=torch.contiguous_format)
    call(loops.pool_backward, grad_total, x, group, top, left, grad)
    return grad


@pool_groups_backward.register_fake
def _empty_gradient(grad_total: Tensor, grad_top: Tensor, x: Tensor, group: Tensor, top: Tensor) -> Tensor:
    return x.new_empty(x.shape)


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    x, group, _ = inputs
    ctx.mark_non_differentiable(output[2])
    ctx.save_for_backward(x, group, output[1])


def _gradient(ctx: Any, grad_total: Tensor, grad_top: Tensor, _: Tensor | None) -> tuple[Tensor, None, None]:
    return pool_groups_backward(grad_total, grad_top, *ctx.saved_tensors), None, None


pool_groups.register_autograd(_gradient, setup_context=_save)
