"""Neural-LinUCB: a network learns features, one ridge an action learns what they are worth and how sure that is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from credit_like.models.fusion.dqn import QNetwork
from credit_like.models.fusion.learner import Criterion, Learner
from credit_like.models.fusion.replay import ReplayBuffer, Transitions
from credit_like.models.fusion.ridge import RidgeArms, unsureness


class LinUCBNetwork(nn.Module):
    """float32[B, width] states -> float64[B, actions], what each action earns at least, as far as its ridge knows:
    ``x . theta_a - caution * sqrt(x^T inverse_a x)`` with ``x = [features(state), 1]``.

    In training the sign of the second part is the other one: what is unsure is tried. In use it is avoided, because an
    action that was seldom taken in states like this one has an estimate that nothing corrects any more (pessimism, as
    for learning from a fixed data set: Jin, Yang & Wang 2021).

    ``theta`` (float64 buffer [actions, features + 1]) and ``inverse`` (float64 [actions, features + 1, features + 1])
    are the ridges', and no gradient changes them; the features are trained through a linear head of their own.
    """

    theta: Tensor
    inverse: Tensor

    def __init__(
        self, width: int, actions: int, hidden: Sequence[int] = (64,), features: int = 32, caution: float = 1.0
    ) -> None:
        super().__init__()
        self.caution = caution
        self.encoder = QNetwork(width, features, hidden)
        self.head = nn.Linear(features, actions)
        self.register_buffer("theta", torch.zeros(actions, features + 1, dtype=torch.float64))
        self.register_buffer("inverse", torch.eye(features + 1, dtype=torch.float64).repeat(actions, 1, 1))

    def features(self, state: Tensor) -> Tensor:
        """float32[B, features] of length 1, so that how unsure a ridge is does not grow with the weights."""
        return functional.normalize(self.encoder(state), dim=1)

    def augmented(self, state: Tensor) -> Tensor:
        """The features and a constant 1 for the intercept, float64[B, features + 1]."""
        return functional.pad(self.features(state).double(), (0, 1), value=1.0)

    def forward(self, state: Tensor) -> Tensor:
        x = self.augmented(state)
        return x @ self.theta.T - self.caution * unsureness(x, self.inverse)


class NeuralLinUCB(Learner):
    """Chooses the action with the highest ``mean + ucb * width`` (Xu, Wen, Zhao & Gu 2020, algorithm 1).

    The ridges take in every decision as it is earned. The network's features drift with each optimizer step, so after
    ``refit_every`` of them the ridges are fitted anew to the replay buffer in the present features: what they know
    survives the refit of the network (as in Riquelme, Tucker & Snoek 2018, "NeuralLinear"; Xu et al. keep the old
    features' statistics). Of equal actions one is drawn.

    Args:
        network: whose ``theta`` and ``inverse`` this fits.
        ucb: weight of the exploration bonus.
        penalty: of each ridge.
        refit_every: optimizer steps between two refits.
        device: where the ridges live.
    """

    def __init__(
        self,
        network: LinUCBNetwork,
        *,
        ucb: float = 1.0,
        penalty: float = 1.0,
        refit_every: int = 20,
        device: torch.device | str = "cpu",
    ) -> None:
        self.network, self.ucb, self.refit_every = network, ucb, refit_every
        self.arms = RidgeArms(*network.theta.shape, penalty=penalty, device=device)
        self.steps = 0

    @torch.no_grad()
    def act(self, state: Tensor) -> Tensor:
        x = self.network.augmented(state)
        bound = x @ self.arms.theta.T + self.ucb * unsureness(x, self.arms.inverse)
        best = bound >= bound.max(dim=1, keepdim=True).values - 1e-9
        return torch.where(best, torch.rand_like(bound), -1.0).argmax(dim=1)

    @torch.no_grad()
    def observe(self, new: Transitions) -> None:
        self.arms.update(self.network.augmented(new.state), new.action, new.reward)

    def loss(self, sample: Transitions, criterion: Criterion) -> Tensor:
        value = self.network.head(self.network.features(sample.state)).gather(1, sample.action[:, None])[:, 0]
        return criterion(value, sample.reward)

    def after_step(self, buffer: ReplayBuffer) -> None:
        self.steps += 1
        if self.steps % self.refit_every == 0:
            self._refit(buffer)

    @torch.no_grad()
    def end_epoch(self, buffer: ReplayBuffer) -> None:
        """``theta`` and ``inverse`` for the weights that are in the network now, from everything in the buffer."""
        self._refit(buffer)
        self.network.inverse.copy_(self.arms.inverse)
        self.network.theta.copy_(self.arms.theta)

    @torch.no_grad()
    def _refit(self, buffer: ReplayBuffer) -> None:
        known = buffer.everything()
        self.arms.refit(self.network.augmented(known.state), known.action, known.reward)

    def state_dict(self) -> dict[str, Any]:
        return {"steps": self.steps, **self.arms.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.steps = int(state["steps"])
        self.arms.load_state_dict(state)
