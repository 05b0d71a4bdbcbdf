"""One optimizer step: accumulation, clipping, non-finite gradients, and the counters that everybody reads."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import Enum

import torch
from torch import Tensor
from torch.amp import GradScaler
from torch.optim import Optimizer


class StepOutcome(Enum):
    """What ``optimize`` did. Scheduler, EMA, counters and hooks read this and nothing else."""

    STEPPED = "stepped"
    ACCUMULATED = "accumulated"
    SKIPPED_BY_SCALER = "skipped by scaler"
    SKIPPED_NONFINITE = "skipped, non-finite"


@dataclass
class StepState:
    """Where training stands. ``samples_seen`` counts over all processes; ``batch_idx`` is that of the next batch."""

    batch_idx: int = 0
    optimizer_step: int = 0
    samples_seen: float = 0
    epoch: int = 0
    grad_accum_steps: int = 1
    num_processes: int = 1

    def is_grad_accum_boundary(self, is_last_batch: bool = False) -> bool:
        """Whether the batch at ``batch_idx`` closes an accumulation group."""
        return is_last_batch or (self.batch_idx + 1) % self.grad_accum_steps == 0

    def increment_batch(self, batch_size: float, is_training: bool, did_optimizer_step: bool) -> None:
        """Count a batch of ``batch_size`` samples on each process."""
        self.batch_idx += 1
        if is_training:
            self.samples_seen += batch_size * self.num_processes
            self.optimizer_step += did_optimizer_step

    def reset_epoch(self) -> None:
        """Back to the first batch; the counters over the run stay."""
        self.batch_idx = 0

    def restart(self) -> None:
        """Back to the beginning of a run."""
        self.batch_idx = self.optimizer_step = self.epoch = 0
        self.samples_seen = 0

    def state_dict(self) -> dict[str, float]:
        return asdict(self)


@dataclass
class AccumulationGroup:
    """The micro-batches of one optimizer step.

    Accumulation equals one big batch when each loss (a mean over its samples) is weighted by its share of the
    samples. The total is not known until the group closes, so each loss is scaled by ``weight / reference`` with
    ``reference = first weight * n``, and the gradients once more by ``reference / total`` (1 for equal batches).

    Several processes average their gradients: the reference is then the same on all (``typical``, their mean first
    weight, times n), ``total`` is everybody's before the group closes, and the correction makes the mean a sum again.
    """

    size: int = 1
    processes: int = 1
    count: int = 0
    total: float = 0.0
    reference: float = 0.0

    def add(self, weight: float, typical: float = 0.0) -> float:
        """Take a micro-batch in; returns what its loss is multiplied by."""
        if not weight > 0:
            raise ValueError(f"optimize: weight must be a positive number of samples; got {weight}")
        if self.count == 0:
            self.reference = (typical or weight) * self.size
        self.count += 1
        self.total += weight
        return weight / self.reference

    @property
    def correction(self) -> float:
        """What the summed gradients are multiplied by when the group closes."""
        return self.reference * self.processes / self.total

    def close(self) -> None:
        self.count, self.total, self.reference = 0, 0.0, 0.0


def step_optimizer(
    optimizer: Optimizer, scaler: GradScaler | None, correction: float, max_norm: float, skip_nonfinite: bool
) -> StepOutcome:
    """Unscale, correct for the true group size, clip the *whole* gradient once, step.

    ``max_norm`` 0 does not clip. With ``skip_nonfinite`` a gradient that holds NaN or infinity is not applied; this,
    and a scaler's decision, cost one device-to-host sync; else there is none.
    """
    gradients = _gradients(optimizer)
    if scaler is not None:
        scaler.unscale_(optimizer)
    if correction != 1.0 and gradients:
        torch._foreach_mul_(gradients, correction)
    norm = torch.nn.utils.get_total_norm(gradients) if skip_nonfinite or max_norm > 0 else None
    if skip_nonfinite and scaler is None and norm is not None and not bool(torch.isfinite(norm)):
        return StepOutcome.SKIPPED_NONFINITE
    if max_norm > 0 and norm is not None:
        torch.nn.utils.clip_grads_with_norm_(_parameters(optimizer), max_norm, norm)
    if scaler is None:
        optimizer.step()
        return StepOutcome.STEPPED
    return StepOutcome.STEPPED if _step_with(scaler, optimizer) else StepOutcome.SKIPPED_BY_SCALER


def _step_with(scaler: GradScaler, optimizer: Optimizer) -> bool:
    """Step and adapt the scale; whether the optimizer stepped, known from the one sync that the scaler needs anyway."""
    if getattr(optimizer, "_step_supports_amp_scaling", False):  # a fused one is always called, and decides by itself
        before = scaler.get_scale()
        scaler.step(optimizer)
        scaler.update()
        return scaler.get_scale() >= before
    called: list[bool] = []
    hook = optimizer.register_step_post_hook(lambda *_: called.append(True))
    try:
        scaler.step(optimizer)
    finally:
        hook.remove()
    scaler.update()
    return bool(called)


def _parameters(optimizer: Optimizer) -> list[Tensor]:
    return [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]


def _gradients(optimizer: Optimizer) -> list[Tensor]:
    return [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
