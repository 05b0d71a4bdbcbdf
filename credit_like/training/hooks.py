"""Hooks: the short vocabulary. Each method gets the trainer, and reads batch, loss and results from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any


class Hook:
    """Base of hooks: define any of the short names (``before_fit``, ``after_step``, ...; see docs/lifecycle.md).

    ``ord`` orders hooks at one event (lower first; equals keep the order in which they were given). What a hook puts
    away with ``store`` travels in the checkpoint, so it must be plain data or tensors.

    >>> class CountSteps(Hook):
    ...     def after_step(self, trainer):
    ...         if trainer.training:
    ...             self.store("steps", self.get("steps", 0) + 1)
    """

    ord: int = 0

    def store(self, key: str, value: Any) -> None:
        """Keep ``value`` under ``key``, over a resume too."""
        self._stored()[key] = value

    def get(self, key: str, default: Any = None) -> Any:
        """What was stored under ``key``."""
        return self._stored().get(key, default)

    def state_dict(self) -> dict[str, Any]:
        return dict(self._stored())

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        stored = self._stored()
        stored.clear()  # what was stored after the checkpoint has not happened
        stored.update(state)

    def _stored(self) -> dict[str, Any]:
        # Made on first use, so that a subclass need not call super().__init__().
        stored: dict[str, Any] = self.__dict__.setdefault("_hook_state", {})
        return stored


class MainProcessHook(Hook):
    """A hook that runs on rank 0 only. Nothing in it may wait for other ranks."""


class LambdaHook(Hook):
    """A hook from functions: ``LambdaHook(after_epoch=lambda trainer: print(trainer.result))``.

    Any event of either vocabulary is a keyword. Raises TypeError for another name.
    """

    def __init__(self, ord: int = 0, **events: Callable[..., Any]) -> None:
        from credit_like.training.dispatch import EVENT_NAMES  # dispatch knows Hook, so not above

        unknown = events.keys() - EVENT_NAMES
        if unknown:
            raise TypeError(f"LambdaHook: no event {sorted(unknown)}; events: {', '.join(sorted(EVENT_NAMES))}")
        self.ord = ord
        for name, function in events.items():
            setattr(self, name, function)
