"""Learning-rate schedules by name: torch's own where torch has them."""

from __future__ import annotations

import math
from typing import Any, Literal

from pydantic import Field
from torch.optim import Optimizer, lr_scheduler

from credit_like.config import ConfigError, Settings, closest

EPOCH_LEVEL = ("lambda", "plateau", "cosine-annealing")
BATCH_LEVEL = ("cosine-annealing-restarts", "linear-warmup-cosine")
_BATCH_CLASSES = (lr_scheduler.CosineAnnealingWarmRestarts, lr_scheduler.OneCycleLR, lr_scheduler.CyclicLR)


class SchedulerSettings(Settings):
    """Settings of the schedules; each reads its own and leaves the others."""

    scheduler_type: str = Field("", description='"" for none; else ' + ", ".join(EPOCH_LEVEL + BATCH_LEVEL))
    warmup: int = Field(0, ge=0, description="lambda: epochs, linear-warmup-cosine: steps of linear warm-up")
    total: int = Field(
        0, ge=0, description="length of the whole schedule in its own unit; 0: the run's epochs (epoch level)"
    )
    min_factor: float = Field(0.0, ge=0, le=1, description="the cosine ends at this share of the learning rate")
    factor: float = Field(0.1, gt=0, lt=1, description="plateau: what the learning rate is multiplied by")
    patience: int = Field(5, ge=0, description="plateau: epochs without improvement before it is")
    first_period: int = Field(100, ge=1, description="cosine-annealing-restarts: steps before the first restart")
    period_factor: int = Field(1, ge=1, description="cosine-annealing-restarts: growth of the period at a restart")


def build_scheduler(
    optimizer: Optimizer, settings: SchedulerSettings, epochs: int, direction: Literal["min", "max"] = "min"
) -> Any:
    """The schedule that ``settings.scheduler_type`` names, or None for "".

    ``lambda`` is a linear warm-up over ``warmup`` epochs and then a half cosine. Raises ConfigError for an unknown
    name, and where ``linear-warmup-cosine`` is not told its ``total`` number of steps.
    """
    name = settings.scheduler_type
    total, floor, warmup = settings.total or epochs, settings.min_factor, settings.warmup
    base = max(group["lr"] for group in optimizer.param_groups)
    if name == "":
        return None
    if name == "lambda":
        return lr_scheduler.LambdaLR(optimizer, lambda epoch: _warmup_cosine(epoch, warmup, total, floor))
    if name == "plateau":
        return lr_scheduler.ReduceLROnPlateau(optimizer, direction, settings.factor, settings.patience)
    if name == "cosine-annealing":
        return lr_scheduler.CosineAnnealingLR(optimizer, total, base * floor)
    if name == "cosine-annealing-restarts":
        return lr_scheduler.CosineAnnealingWarmRestarts(
            optimizer, settings.first_period, settings.period_factor, base * floor
        )
    if name == "linear-warmup-cosine":
        if settings.total <= warmup:
            raise ConfigError(
                f"trainer.scheduler.total is {settings.total}: linear-warmup-cosine needs the number of optimizer "
                f"steps of the whole run, more than its warmup of {warmup}"
            )
        return lr_scheduler.LambdaLR(optimizer, lambda step: _warmup_cosine(step, warmup, total, floor))
    known = EPOCH_LEVEL + BATCH_LEVEL
    raise ConfigError(
        f"trainer.scheduler.scheduler_type {name!r} is not known{closest(name, known)}; "
        f"choose one of {', '.join(known)}"
    )


def steps_each_batch(scheduler: Any, scheduler_type: str) -> bool:
    """Whether ``scheduler`` steps once an optimizer step (True) or once an epoch (False).

    A scheduler given by the caller without a ``scheduler_type`` is judged by its class: torch's warm restarts,
    one-cycle and cyclic schedules are per step, all others per epoch.
    """
    return scheduler_type in BATCH_LEVEL or (scheduler_type == "" and isinstance(scheduler, _BATCH_CLASSES))


def step_after_epoch(scheduler: Any, metric: float) -> None:
    """Step once, a plateau by the epoch's ``metric``. A half cosine stays at its end: torch's own would rise again."""
    if isinstance(scheduler, lr_scheduler.ReduceLROnPlateau):
        scheduler.step(metric)
    elif not (isinstance(scheduler, lr_scheduler.CosineAnnealingLR) and scheduler.last_epoch >= scheduler.T_max):
        scheduler.step()


def _warmup_cosine(now: int, warmup: int, total: int, floor: float) -> float:
    if now < warmup:
        return (now + 1) / (warmup + 1)
    progress = min(1.0, (now - warmup) / max(1, total - warmup))
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * progress))
