"""DQN: a network of action values, learnt from replayed decisions; epsilon-greedy, double, with a target network."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from credit_like.models.fusion.learner import Criterion, Learner
from credit_like.models.fusion.replay import ReplayBuffer, Transitions


class QNetwork(nn.Module):
    """An MLP: float32[B, width] states -> float32[B, actions], the value of each action.

    >>> QNetwork(6, actions=21)(torch.zeros(4, 6)).shape
    torch.Size([4, 21])
    """

    def __init__(self, width: int, actions: int, hidden: Sequence[int] = (64, 64)) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for a, b in pairwise([width, *hidden]):
            layers += [nn.Linear(a, b), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Linear([width, *hidden][-1], actions))

    def forward(self, state: Tensor) -> Tensor:
        return self.layers(state)


class DoubleDQN(Learner):
    """Double Q-learning (van Hasselt, Guez & Silver 2016, equation 4) with epsilon-greedy exploration.

    The target of a decision is ``r + discount * Q_target(s', argmax_a Q(s', a))``, and ``r`` alone where no window
    follows. With a discount of 0, the default, that is the reward: which alpha one window got changes nothing about
    the next one, so a decision has no consequences to be added up, and a discount would only add the noise of other
    windows. ``epsilon`` falls from ``start`` towards ``end`` by a factor of e each ``windows`` windows.

    Args:
        network: gives the value of each action.
        discount: of the next window's value, in [0, 1).
        target_every: optimizer steps after which the target network takes the network's weights.
    """

    def __init__(
        self,
        network: QNetwork,
        *,
        discount: float = 0.0,
        target_every: int = 50,
        start: float = 1.0,
        end: float = 0.05,
        windows: float = 20_000,
    ) -> None:
        self.network, self.discount, self.target_every = network, discount, target_every
        self.start, self.end, self.windows = start, end, windows
        self.target = copy.deepcopy(network).requires_grad_(False).eval()
        self.seen = self.steps = 0

    @property
    def epsilon(self) -> float:
        """The share of actions that are drawn at random now."""
        return self.end + (self.start - self.end) * math.exp(-self.seen / self.windows)

    @torch.no_grad()
    def act(self, state: Tensor) -> Tensor:
        values = self.network(state)
        drawn = torch.randint(values.shape[1], (len(state),), device=state.device)
        at_random = torch.rand(len(state), device=state.device) < self.epsilon
        return torch.where(at_random, drawn, values.argmax(dim=1))

    def observe(self, new: Transitions) -> None:
        self.seen += len(new.action)

    def loss(self, sample: Transitions, criterion: Criterion) -> Tensor:
        value = self.network(sample.state).gather(1, sample.action[:, None])[:, 0]
        return criterion(value, self._targets(sample))

    @torch.no_grad()
    def _targets(self, sample: Transitions) -> Tensor:
        if not self.discount:
            return sample.reward
        best = self.network(sample.following).argmax(dim=1, keepdim=True)
        after = self.target(sample.following).gather(1, best)[:, 0]
        return sample.reward + self.discount * torch.where(sample.last, 0.0, after)

    def after_step(self, buffer: ReplayBuffer) -> None:
        self.steps += 1
        if self.steps % self.target_every == 0:
            self.target.load_state_dict(self.network.state_dict())

    def end_epoch(self, buffer: ReplayBuffer) -> None:
        """A Q-network is ready as it is."""

    def state_dict(self) -> dict[str, Any]:
        return {"seen": self.seen, "steps": self.steps, "target": dict(self.target.state_dict())}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.seen, self.steps = int(state["seen"]), int(state["steps"])
        self.target.load_state_dict(dict(state["target"]))
