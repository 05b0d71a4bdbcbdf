"""Wrappers around a module: names in checkpoints and averages are the user's own, whatever runs the module."""

from __future__ import annotations

import math

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from credit_like.config import UserError
from credit_like.training.distribution import Place, Processes

_WRAPPERS = ("DistributedDataParallel", "DataParallel", "OptimizedModule")


def unwrapped(model: nn.Module) -> nn.Module:
    """The user's module inside a data-parallel (``.module``) or compile (``._orig_mod``) wrapper."""
    for attribute in ("module", "_orig_mod"):
        inner = getattr(model, attribute, None)
        if isinstance(inner, nn.Module) and type(model).__name__ in _WRAPPERS:
            return unwrapped(inner)
    return model


def distributed_data_parallel(model: nn.Module, device: torch.device) -> nn.Module:
    """``model`` with rank 0's weights on every process, and gradients that are averaged in the backward pass."""
    if not any(p.requires_grad for p in model.parameters()):
        return model  # nothing to average, which torch refuses to wrap
    return DistributedDataParallel(model, device_ids=[device.index] if device.type == "cuda" else None)


def require_all_used(model: nn.Module) -> None:
    """After a backward pass that averages gradients. Raises UserError, naming them, where weights got none.

    torch would wait for them: with an error at the next forward pass, or for ever where another process used them.
    """
    if not isinstance(model, DistributedDataParallel) or not model.require_backward_grad_sync:
        return
    if all(parameter.grad is not None for parameter in model.parameters() if parameter.requires_grad):
        return
    idle = [name for name, p in unwrapped(model).named_parameters() if p.requires_grad and p.grad is None]
    more = f" and {len(idle) - 3} more" if len(idle) > 3 else ""
    raise UserError(
        f"the loss did not depend on {', '.join(idle[:3])}{more}, and with trainer.mode: ddp it must depend on every "
        "weight that is trained, on every process: set requires_grad to False before the trainer is made, or let them "
        "in with 0 * weight.sum()"
    )


def share_next_gradients(model: nn.Module, wanted: bool) -> None:
    """Whether the next forward and backward pass averages gradients over the processes, or keeps them for later."""
    if isinstance(model, DistributedDataParallel):
        model.require_backward_grad_sync = wanted  # what its ``no_sync`` sets, here for more than a ``with`` can span


def share_kept_gradients(model: nn.Module) -> None:
    """Average the gradients that backward passes have kept: those of a group that the epoch's end cut short."""
    if not isinstance(model, DistributedDataParallel):
        return
    by_kind: dict[tuple[torch.device, torch.dtype], list[nn.Parameter]] = {}
    for parameter in model.parameters():
        if parameter.requires_grad:
            by_kind.setdefault((parameter.device, parameter.dtype), []).append(parameter)
    for parameters in by_kind.values():
        present = torch.tensor([float(p.grad is not None) for p in parameters]).to(parameters[0])
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        flat = torch.cat([present, *(gradient.flatten() for gradient in gradients)])
        dist.all_reduce(flat)
        somewhere, flat = flat[: len(parameters)].tolist(), flat[len(parameters) :] / dist.get_world_size()
        shared = torch.split(flat, [p.numel() for p in parameters])
        for parameter, found, gradient in zip(parameters, somewhere, shared, strict=True):
            parameter.grad = gradient.view_as(parameter).clone() if found else None


def require_same_weights(model: nn.Module, processes: Processes, epoch: int) -> None:
    """At the end of ``epoch``. Raises UserError where the replicas of the processes have parted; shards cannot."""
    weights = [p.detach() for p in model.parameters() if p.is_floating_point() and p.numel()]
    replicated = isinstance(model, DistributedDataParallel) and weights
    norm = float(torch.nn.utils.get_total_norm(weights)) if replicated else 0.0
    norms = [row[0] for row in processes.exchange(Place.EPOCH, norm)]
    if not all(math.isclose(norm, norms[0], rel_tol=1e-6) for norm in norms if math.isfinite(norm)):
        raise UserError(
            f"the weights of the processes have parted in epoch {epoch + 1} (their norms are {norms}): forward passes "
            "must go through self.model(...), one before each optimize, and nothing else may change a weight"
        )


@torch.no_grad()
def share_buffers(model: nn.Module, *others: Tensor) -> None:
    """Rank 0's buffers on every process, and ``others`` likewise: running statistics differ between processes."""
    for tensor in (*unwrapped(model).buffers(), *others):
        dist.broadcast(tensor, 0)
    evaluate_alone(model)


def evaluate_alone(model: nn.Module) -> None:
    """Forward passes without gradients wait for no other process; the next training pass does again."""
    if isinstance(model, DistributedDataParallel):
        model.require_forward_param_sync = False
