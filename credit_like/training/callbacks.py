"""Callbacks: what a user adds to a run without writing a trainer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from torch import nn

if TYPE_CHECKING:
    from credit_like.training.base_trainer import BaseTrainer

EVENTS = (
    "on_fit_start",
    "on_train_epoch_start",
    "on_train_batch_start",
    "on_after_backward",
    "on_train_batch_end",
    "on_validation_start",
    "on_validation_end",
    "on_train_epoch_end",
    "on_fit_end",
    "on_cancel",
    "on_exception",
)


class Callback:
    """Base of callbacks: override the events that matter, leave the rest.

    ``ord`` orders callbacks at one event (lower first; equals keep the order in which they were given). A callback
    that keeps state across a resume returns it from ``state_dict`` as plain data and tensors.

    >>> class Announce(Callback):
    ...     def on_train_epoch_end(self, trainer, model):
    ...         print("epoch done")
    """

    ord: int = 0

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
        """Ctrl-C."""

    def on_exception(self, trainer: BaseTrainer, model: nn.Module, exc: BaseException) -> None: ...

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...


class Dispatcher:
    """Calls the callbacks that override an event, in order; resolved once, so that unused events cost nothing."""

    def __init__(self, callbacks: Iterable[Callback]) -> None:
        self.callbacks = sorted(callbacks, key=lambda callback: callback.ord)
        for callback in self.callbacks:
            if not isinstance(callback, Callback):
                raise TypeError(f"callbacks must be Callback instances; got {type(callback).__name__}")
        self._listeners = {
            event: [
                getattr(c, event) for c in self.callbacks if getattr(type(c), event) is not getattr(Callback, event)
            ]
            for event in EVENTS
        }

    def __call__(self, event: str, *arguments: Any) -> None:
        for listener in self._listeners[event]:
            listener(*arguments)

    def state_dict(self) -> dict[str, Any]:
        return {f"{index}:{type(c).__name__}": c.state_dict() for index, c in enumerate(self.callbacks)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Each callback takes the state that was saved under its position and class; new ones start afresh."""
        for index, callback in enumerate(self.callbacks):
            saved = state.get(f"{index}:{type(callback).__name__}")
            if saved:
                callback.load_state_dict(saved)
