"""EarlyStopping: settings of the engine's one patience, in the form of a callback."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from credit_like.training.callbacks.base import Callback

if TYPE_CHECKING:
    from credit_like.training.base_trainer import BaseTrainer


class EarlyStopping(Callback):
    """Stop when ``monitor`` has not got better by more than ``min_delta`` for ``patience`` epochs.

    It configures the engine's patience and keeps nothing of its own, so what is best and when to stop cannot disagree.
    A monitor that no row of results has is an error after the first epoch.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        mode: Literal["min", "max"] = "min",
        patience: int = 100,
        min_delta: float = 0.0,
    ) -> None:
        if patience < 1 or min_delta < 0:
            raise ValueError(f"EarlyStopping: patience >= 1 and min_delta >= 0; got {patience} and {min_delta}")
        self.monitor, self.mode, self.patience, self.min_delta = monitor, mode, patience, min_delta

    def configure(self, trainer: BaseTrainer) -> None:
        trainer.watch_metric(self.monitor, self.mode, type(self).__name__)
        trainer.patience.patience, trainer.patience.min_delta = self.patience, self.min_delta
