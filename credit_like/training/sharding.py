"""Sharding: a model of which each process holds a part (``trainer.mode: fsdp``), and tensors, whole and in parts.

torch's ``fully_shard`` makes a DTensor of every parameter, in place and under its own name. Gradients, averaged weights
and the optimizer's state are then DTensors too. In a checkpoint every tensor is whole, so that any mode can read it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.optim import Optimizer

from credit_like.config import ConfigError


@torch.no_grad()
def fully_sharded(model: nn.Module, device: torch.device) -> nn.Module:
    """``model`` itself with rank 0's weights, each parameter split along its first dimension over all processes.

    The modules that its method ``fsdp_units()`` names are each gathered for their own forward and backward pass only
    and must be called as modules; all else is gathered together. Without the method the model is one unit: gradients,
    optimizer and averages are still split, but in a pass each process has all weights.

    Raises ConfigError for a parameter without dimensions, which cannot be split, and for one that two units share.
    """
    from torch.distributed.device_mesh import init_device_mesh  # takes a while, and only this mode needs it
    from torch.distributed.fsdp import FSDPModule, fully_shard

    for name, parameter in model.named_parameters():
        if not parameter.dim():
            raise ConfigError(
                f"trainer.mode is fsdp, but the parameter {name} has no dimension to split: give it the shape (1,)"
            )
    units: tuple[nn.Module, ...] = tuple(getattr(model, "fsdp_units", tuple)())
    _require_one_unit_each(model, units)
    for tensor in (*model.parameters(), *model.buffers()):
        dist.broadcast(tensor.detach(), 0)
    mesh = init_device_mesh(device.type, (dist.get_world_size(),))
    for module in (*units, model):
        fully_shard(module, mesh=mesh, reshard_after_forward=True)
    # A weight that this process leaves out may be used by another, which would wait for its gradient.
    cast(FSDPModule, model).set_reduce_scatter_unused_params(True)
    return model


def _require_one_unit_each(model: nn.Module, units: Sequence[nn.Module]) -> None:
    within = {id(unit) for unit in units}
    names = {name for name, module in model.named_modules(remove_duplicate=False) if id(module) in within}
    home: dict[int, tuple[str, str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        above = name.split(".")[:-1]
        innermost = next((p for n in range(len(above), 0, -1) if (p := ".".join(above[:n])) in names), "")
        first, unit = home.setdefault(id(parameter), (name, innermost))
        if unit != innermost:
            raise ConfigError(
                f"trainer.mode is fsdp, but {first} and {name} are one parameter, which cannot be in two units: leave "
                f"{' and '.join(filter(None, (unit, innermost)))} out of fsdp_units(), or name what holds both"
            )


def whole(value: Any) -> Any:
    """``value``, plain data and tensors, with every shard in it gathered and on the CPU.

    Every process must call this; those that are not rank 0 get None for what was gathered.
    """
    if isinstance(value, dict):
        return type(value)((key, whole(entry)) for key, entry in value.items())
    if isinstance(value, list | tuple):
        return type(value)(whole(entry) for entry in value)
    if not hasattr(value, "full_tensor"):
        return value
    gathered = value.full_tensor()
    return gathered.cpu() if dist.get_rank() == 0 else None


def part_of(tensor: Tensor, own: Any) -> Tensor:
    """This process's part of a whole ``tensor`` where ``own`` is such a part; else ``tensor`` itself."""
    if not hasattr(own, "placements") or hasattr(tensor, "placements"):
        return tensor
    from torch.distributed.tensor import distribute_tensor

    whole_one = tensor.to(own.device)  # every process has all of it: nothing has to be sent
    return distribute_tensor(whole_one, own.device_mesh, own.placements, src_data_rank=None)


def parts_of_optimizer(saved: Mapping[str, Any], optimizer: Optimizer) -> dict[str, Any]:
    """An optimizer's ``state_dict`` with this process's part of each tensor that is shaped as its parameter.

    Raises ValueError for a tensor of another shape, which torch does not say how to split.
    """
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    numbers = [number for group in saved["param_groups"] for number in group["params"]]
    own = dict(zip(numbers, parameters, strict=False))  # torch itself says where the groups differ
    return {**saved, "state": {n: dict(_parts(state, own.get(n))) for n, state in saved["state"].items()}}


def _parts(state: Mapping[str, Any], parameter: Tensor | None) -> Iterator[tuple[str, Any]]:
    for name, value in state.items():
        if parameter is None or not isinstance(value, Tensor) or not value.dim():
            yield name, value
        elif value.shape == parameter.shape:
            yield name, part_of(value, parameter)
        else:
            raise ValueError(
                f"its {name} has the shape {tuple(value.shape)} for weights of the shape {tuple(parameter.shape)}, "
                "which fsdp cannot split; go on with trainer.mode: ddp"
            )
