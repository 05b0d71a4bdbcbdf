"""Learner: how an agent explores and learns; what it keeps besides its network's weights."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from credit_like.models.fusion.replay import ReplayBuffer, Transitions

Criterion = Callable[[Tensor, Tensor], Tensor]


class Learner(ABC):
    """The training half of an agent, around the network whose ``forward`` gives the expected reward of each action.

    A training loop calls ``act``, earns the rewards, calls ``observe``, adds them to the replay buffer, and for each
    optimizer step ``loss`` before and ``after_step`` behind it. ``end_epoch`` makes the weights that are in the
    network at that moment, raw or averaged, ready for use.
    """

    @abstractmethod
    def act(self, state: Tensor) -> Tensor:
        """An action for each state, with exploration: float32[B, d] -> int64[B]."""

    @abstractmethod
    def observe(self, new: Transitions) -> None:
        """What the actions have earned."""

    @abstractmethod
    def loss(self, sample: Transitions, criterion: Criterion) -> Tensor:
        """The loss of the network on transitions from the replay buffer; ``criterion(prediction, target)``."""

    @abstractmethod
    def after_step(self, buffer: ReplayBuffer) -> None:
        """The optimizer has stepped."""

    @abstractmethod
    def end_epoch(self, buffer: ReplayBuffer) -> None:
        """Fit what depends on the network's weights to those that it holds now."""

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """The exploration state, as plain data and tensors."""

    @abstractmethod
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what ``state_dict`` gave."""
