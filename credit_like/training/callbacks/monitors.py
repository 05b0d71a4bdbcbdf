"""Monitors: learning rates, throughput and drifting GPU memory, sent to the loggers (never to training_log.csv).

Times differ between two runs of the same seed, so they must not stand in a log that a resume reproduces bit for bit.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from credit_like.training.callbacks.base import Callback
from credit_like.training.progress import say
from credit_like.training.step import StepOutcome

if TYPE_CHECKING:
    from credit_like.training.base_trainer import BaseTrainer


class LRMonitor(Callback):
    """``lr_<group>`` of every parameter group, at logged steps."""

    def on_train_batch_end(
        self, trainer: BaseTrainer, model: nn.Module, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if outputs is StepOutcome.STEPPED and trainer.step_state.optimizer_step % trainer.log_every_n_steps == 0:
            rates = {f"lr_{index}": float(group["lr"]) for index, group in enumerate(trainer.optimizer.param_groups)}
            trainer.log_batch(rates)


class ThroughputMonitor(Callback):
    """``samples_per_second`` and ``data_wait_share`` (of the training time, spent waiting for the loader), each epoch.

    On a GPU the host runs ahead of the device; over an epoch, which ends with a sync, the figures are right.
    """

    def on_train_epoch_start(self, trainer: BaseTrainer, model: nn.Module) -> None:
        self._samples, self._waited = 0.0, 0.0
        self._began = self._ready = time.perf_counter()

    def on_train_batch_start(self, trainer: BaseTrainer, model: nn.Module, batch: Any, batch_idx: int) -> None:
        if hasattr(self, "_ready"):
            self._waited += time.perf_counter() - self._ready
            self._samples += trainer.batch_size(batch)

    def on_train_batch_end(
        self, trainer: BaseTrainer, model: nn.Module, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._ready = time.perf_counter()

    def on_validation_start(self, trainer: BaseTrainer, model: nn.Module) -> None:
        self._report(trainer)

    def on_train_epoch_end(self, trainer: BaseTrainer, model: nn.Module) -> None:
        self._report(trainer)

    def _report(self, trainer: BaseTrainer) -> None:
        """Once an epoch: before validation, or at its end where there is none. A resumed epoch is left out."""
        if hasattr(self, "_began"):
            seconds = time.perf_counter() - self._began
            trainer.log_epoch(
                {"samples_per_second": self._samples / seconds, "data_wait_share": self._waited / seconds}
            )
            del self._began


class VRAMDriftCallback(Callback):
    """One warning when the GPU's free memory at an epoch's start has fallen by ``threshold`` since fit began.

    A fall that goes on means that something keeps tensors over epochs. Does nothing without a GPU.
    """

    def __init__(self, threshold: float = 0.2) -> None:
        if not 0 < threshold < 1:
            raise ValueError(f"VRAMDriftCallback: threshold is a share in (0, 1); got {threshold}")
        self.threshold = threshold
        self._warned = False

    def free_bytes(self, trainer: BaseTrainer) -> int:
        """Free memory of the trainer's GPU; 0 without one."""
        return torch.cuda.mem_get_info(trainer.device)[0] if trainer.device.type == "cuda" else 0

    def on_fit_start(self, trainer: BaseTrainer, model: nn.Module) -> None:
        self._at_start = self.free_bytes(trainer)

    def on_train_epoch_start(self, trainer: BaseTrainer, model: nn.Module) -> None:
        free = self.free_bytes(trainer)
        if self._at_start and not self._warned and free < (1 - self.threshold) * self._at_start:
            self._warned = True
            say(
                f"GPU memory: {free / 2**30:.1f} GiB free, {self._at_start / 2**30:.1f} when training began; "
                "does something keep tensors (record a loss with its graph, say) over epochs?"
            )
