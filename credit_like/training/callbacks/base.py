"""Callbacks: what a user adds to a run without writing a trainer. ``on_*`` events get ``(trainer, model, ...)``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from torch import nn

if TYPE_CHECKING:
    from credit_like.training.base_trainer import BaseTrainer


class Callback:
    """Base of callbacks: override the events that matter, leave the rest.

    ``ord`` orders callbacks at one event (lower first; equals keep the order in which they were given). A callback
    that keeps state across a resume returns it from ``state_dict`` as plain data and tensors.

    >>> class Announce(Callback):
    ...     def on_train_epoch_end(self, trainer, model):
    ...         print("epoch done")
    """

    ord: int = 0
    #: Events are for rank 0 only; nothing in them may wait for other processes.
    main_process_only: ClassVar[bool] = False

    def on_fit_start(self, trainer: BaseTrainer, model: nn.Module) -> None: ...

    def on_train_epoch_start(self, trainer: BaseTrainer, model: nn.Module) -> None: ...

    def on_train_batch_start(self, trainer: BaseTrainer, model: nn.Module, batch: Any, batch_idx: int) -> None: ...

    def on_after_backward(self, trainer: BaseTrainer, model: nn.Module) -> None:
        """After each backward pass, each micro-batch of an accumulation group too."""

    def on_train_batch_end(
        self, trainer: BaseTrainer, model: nn.Module, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """``outputs`` is the StepOutcome of the batch's last ``optimize``, or None."""

    def on_validation_start(self, trainer: BaseTrainer, model: nn.Module) -> None: ...

    def on_validation_end(self, trainer: BaseTrainer, model: nn.Module) -> None: ...

    def on_train_epoch_end(self, trainer: BaseTrainer, model: nn.Module) -> None:
        """After validation, before the epoch's row is judged and saved."""

    def on_fit_end(self, trainer: BaseTrainer, model: nn.Module) -> None: ...

    def on_cancel(self, trainer: BaseTrainer, model: nn.Module) -> None:
        """Stopped from outside: Ctrl-C, a signal, the time limit."""

    def on_exception(self, trainer: BaseTrainer, model: nn.Module, exc: BaseException) -> None: ...

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...
