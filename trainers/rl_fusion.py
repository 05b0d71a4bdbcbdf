"""RLFusionTrainer: learns for each window how far to trust which of two experts."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any, Literal, cast

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from credit_like.config import ExpandedPath, Settings
from credit_like.models.fusion import (
    ANOMALY,
    EITHER,
    GAT,
    POLICY,
    DoubleDQN,
    FusionPolicy,
    FusionReward,
    Learner,
    LinUCBNetwork,
    NeuralLinUCB,
    QNetwork,
    ReplayBuffer,
    Transitions,
)
from credit_like.training import BaseTrainer, Logger
from credit_like.training.wrapping import unwrapped
from trainers.expert_table import ExpertTable
from trainers.fusion_rule import deployed_rule
from trainers.gat import ranking


class ActionCollapseWarning(UserWarning):
    """A policy gives nearly every window the same alpha."""


class RewardSettings(Settings):
    """What a decision is worth; see ``credit_like.models.fusion.FusionReward``."""

    true_positive: float = Field(1.0, description="an attack window that alarms")
    true_negative: float = Field(0.2, description="a benign window that does not")
    false_positive: float = Field(-1.0, description="a benign window that alarms")
    false_negative: float = Field(-2.0, description="an attack window that does not")
    confidence: float = Field(0.2, ge=0, description="bonus of an attack window that alarms, times how sure it is")

    @model_validator(mode="after")
    def _right_is_better(self) -> RewardSettings:
        if self.true_positive <= self.false_negative or self.true_negative <= self.false_positive:
            raise ValueError("a right decision must be worth more than a wrong one, for attack and benign windows")
        return self


class RLFusionSettings(BaseTrainer.Settings):
    """The ``trainer`` section of a fusion job: the engine's settings, the reward, and how the agent explores."""

    reward: RewardSettings = Field(RewardSettings(), description="what each outcome of a decision is worth")
    replay_capacity: int = Field(20_000, ge=1, description="decisions that are kept to learn from")
    replay_batch: int = Field(1024, ge=1, description="decisions drawn for an optimizer step")
    updates: int = Field(2, ge=1, description="optimizer steps a batch of windows")
    discount: float = Field(
        0.0, ge=0, lt=1, description="of the next window's value (dqn); 0 since no decision changes the next window"
    )
    target_every: int = Field(50, ge=1, description="optimizer steps between updates of the target network (dqn)")
    epsilon_start: float = Field(1.0, ge=0, le=1, description="share of random actions at first (dqn)")
    epsilon_end: float = Field(0.05, ge=0, le=1, description="share of random actions in the end (dqn)")
    epsilon_windows: float = Field(
        20_000, gt=0, description="windows in which epsilon falls by a factor of e towards its end (dqn)"
    )
    ucb: float = Field(0.3, ge=0, description="weight of the exploration bonus (neural_linucb)")
    ridge: float = Field(1.0, gt=0, description="penalty of each action's ridge (neural_linucb)")
    refit_every: int = Field(
        20, ge=1, description="optimizer steps before the ridges are fitted to the new features (neural_linucb)"
    )
    collapse_share: float = Field(
        0.95, gt=0, le=1, description="of validation windows with one and the same alpha, above which a warning is due"
    )
    deploy_margin: float = Field(
        1.0, ge=0, description="standard errors by which the policy must beat both experts on validation"
    )
    deploy: Literal["earned", "either"] = Field(
        "earned",
        description="earned: the policy, or the better expert, by validation windows. either: alarm when either expert "
        "would, for attacks of kinds that validation does not show",
    )

    @model_validator(mode="after")
    def _is_proven(self) -> RLFusionSettings:
        if self.skip_validation:
            raise ValueError("skip_validation must be false: validation decides whether the policy is used at all")
        return self


class RLFusionModelSettings(Settings):
    """The ``model`` section of a fusion job."""

    agent: Literal["dqn", "neural_linucb"] = Field("dqn", description="who chooses alpha")
    actions: int = Field(21, ge=2, description="values of alpha, in equal steps from 0 (anomaly) to 1 (gat)")
    threshold: float = Field(0.5, gt=0, lt=1, description="a window alarms when its fused score is above it")
    align_fpr: float = Field(
        0.01,
        ge=0,
        lt=1,
        description="each expert's own threshold at this false-alarm rate is put to `threshold`; 0: scores as they are",
    )
    hidden: list[int] = Field([64, 64], min_length=1, description="widths of the network's hidden layers")
    features: int = Field(32, ge=1, description="features that the network gives to the ridges (neural_linucb)")
    caution: float = Field(
        1.0, ge=0, description="in use, how far to mistrust actions that were seldom tried (neural_linucb)"
    )


class ExpertSettings(Settings):
    """The ``experts`` section of a fusion job: finished runs whose split certificates agree."""

    gat: ExpandedPath = Field(description="run folder of a supervised detector")
    anomaly: ExpandedPath = Field(description="run folder of a detector that knows benign traffic alone")


class RLFusionTrainer(BaseTrainer):
    """Trains a ``FusionPolicy`` on batches of an ``ExpertLoader``.

    An action's reward is seen for the alpha that was taken, as an agent would see it; but labels tell the reward of
    every alpha, so each phase also records ``regret``, how far the mean reward is below that of the best alpha for each
    window. Validation records ``loss`` (of the values of all actions), ``reward`` and ``reward_<component>`` of the
    greedy policy, ``auroc`` of its score, the rewards of either expert alone, ``gat_reward`` and ``anomaly_reward``,
    and ``deployed_reward``, that of the rule that is put to use (see ``deployed_rule``); with ``deploy: either`` the
    greater of both experts' scores. The rule is kept with the weights it was judged with (raw and averaged ones each
    have their own), and ``predict_step`` follows it.
    """

    Settings = RLFusionSettings
    ModelSettings = RLFusionModelSettings
    display_metrics = ("loss", "reward", "regret", "auroc", "deployed_reward")
    ExpertSettings = ExpertSettings

    def __init__(
        self,
        model: nn.Module,
        rank: int,
        conf: Mapping[str, Any],
        callbacks: Sequence[Any] = (),
        loggers: Sequence[Logger] = (),
    ) -> None:
        super().__init__(model, rank, conf, callbacks, loggers)
        self.chosen = chosen = cast(RLFusionSettings, self.settings)
        self.reward_of = FusionReward(threshold=self.policy.threshold, **chosen.reward.model_dump())
        self.buffer = ReplayBuffer(
            chosen.replay_capacity,
            len(self.policy.mean) + 2,
            follows=chosen.discount > 0,
            device=self.device,
        )
        self.learner = self._make_learner(chosen)
        self._collapsed = False

    @classmethod
    def build_model(cls, settings: RLFusionModelSettings, columns: int) -> FusionPolicy:
        """The untrained policy for ``columns`` expert outputs; its statistics are those of ``fit_model``'s table or of
        a checkpoint."""
        width, actions = columns + 2, settings.actions
        agent: nn.Module
        if settings.agent == "dqn":
            agent = QNetwork(width, actions, settings.hidden)
        else:
            agent = LinUCBNetwork(width, actions, settings.hidden, settings.features, settings.caution)
        return FusionPolicy(columns, agent, actions=actions, threshold=settings.threshold)

    @classmethod
    def fit_model(cls, model: FusionPolicy, settings: RLFusionModelSettings, table: ExpertTable) -> None:
        """Take the statistics of the windows that the fusion is trained on."""
        model.fit(table.values, table.label == 0, settings.align_fpr)

    @classmethod
    def build_loss(cls, settings: RLFusionSettings, counts: Tensor) -> nn.Module:
        """Of predicted against seen rewards; Huber's, so that a rare costly outcome does not rule a step."""
        return nn.SmoothL1Loss()

    @property
    def policy(self) -> FusionPolicy:
        """The model, whatever wraps it."""
        return cast(FusionPolicy, unwrapped(self.model))

    def batch_size(self, batch: Any) -> float:
        return float(len(batch["columns"]))

    def train_one_epoch(
        self, epoch: int, trainloader: Any, optimizer: Any, criterion: Any, scaler: Any, scheduler: Any, metrics: Any
    ) -> None:
        for batch in self.batches(trainloader):
            new, rewards = self._decide(batch)
            self.learner.observe(new)
            self.buffer.add(new)
            for _ in range(self.chosen.updates):
                loss = self.learner.loss(self.buffer.sample(self.chosen.replay_batch), criterion)
                self.optimize(loss)
                self.learner.after_step(self.buffer)
                self.record("loss", loss)
            self._record_rewards(batch, new.action, rewards)
        with nullcontext() if self.ema is None else self.ema.averaged(self.model):
            self.learner.end_epoch(self.buffer)
        self.learner.end_epoch(self.buffer)  # the raw weights last: training goes on with them

    @torch.no_grad()
    def _decide(self, batch: Any) -> tuple[Transitions, Tensor]:
        """One explored decision a window, and the rewards of all actions, float64[B, A]."""
        policy = self.policy
        state = policy.state(batch["columns"])
        action = self.learner.act(state)
        rewards = self.reward_of(policy.fused(batch["columns"]), batch["y"])
        earned = rewards.gather(1, action[:, None])[:, 0].float()
        if self.buffer.follows:
            following, last = policy.state(batch["following"]), batch["last"]
        else:
            following, last = state[:0], state.new_zeros(0, dtype=torch.bool)
        return Transitions(state, action, earned, following, last), rewards

    def _record_rewards(self, batch: Any, action: Tensor, rewards: Tensor) -> Tensor:
        """Record what the actions earned, in parts and against the best; returns it, float64[B]."""
        fused = self.policy.fused(batch["columns"]).gather(1, action[:, None])[:, 0]
        earned = rewards.gather(1, action[:, None])[:, 0]
        self.record("reward", earned.mean())
        for name, part in self.reward_of.components(fused, batch["y"]).items():
            self.record(f"reward_{name}", part.mean())
        self.record("regret", (rewards.max(dim=1).values - earned).mean())
        return earned

    def validate(self, epoch: int, valid_loader: Any, criterion: Any, metrics: Any) -> None:
        policy, scores, labels = self.policy, [], []
        taken = torch.zeros(len(policy.alphas), dtype=torch.int64, device=self.device)
        earned: list[Tensor] = []  # float64[B, 4] a batch, in the order of RULES
        for batch in self.batches(valid_loader, "valid"):
            values = policy.values(batch["columns"])
            fused = policy.fused(batch["columns"])
            rewards = self.reward_of(fused, batch["y"])
            self.record("loss", criterion(values.double(), rewards))
            action = values.argmax(dim=1)
            mine = self._record_rewards(batch, action, rewards)
            either = self.reward_of(policy.aligned(batch["columns"]).amax(dim=1), batch["y"])
            earned.append(torch.stack([rewards[:, 0], rewards[:, -1], mine, either], dim=1))
            taken += torch.bincount(action, minlength=len(taken))
            scores.append(torch.stack([fused[:, 0], fused[:, -1], fused.gather(1, action[:, None])[:, 0]], dim=1))
            labels.append(batch["y"])
        all_earned, all_scores = self.gathered(torch.cat(earned)), self.gathered(torch.cat(scores))
        all_labels = self.gathered(torch.cat(labels))
        rule = EITHER
        if self.chosen.deploy == "earned":
            rule = deployed_rule(all_earned[:, :EITHER], all_scores, all_labels, self.chosen.deploy_margin)
        means = all_earned.mean(dim=0)
        for name, value in (
            ("auroc", ranking(all_scores[:, POLICY], all_labels)["auroc"]),
            ("gat_reward", means[GAT]),
            ("anomaly_reward", means[ANOMALY]),
            ("deployed_reward", means[rule]),
        ):
            self.record(name, value, weight=1.0)
        if self._phase == "valid":  # a test set must not choose the rule that it judges
            policy.rule.fill_(rule)
            self._warn_of_collapse(epoch, taken)

    def _warn_of_collapse(self, epoch: int, taken: Tensor) -> None:
        """Once when it sets in, not each epoch that it lasts."""
        mode, share = int(taken.argmax()), float(taken.max() / taken.sum())
        collapsed = share > self.chosen.collapse_share
        if collapsed and not self._collapsed:
            alphas = self.policy.alphas.tolist()
            histogram = ", ".join(f"{a:.2f}: {n}" for a, n in zip(alphas, taken.tolist(), strict=True) if n)
            warnings.warn(
                f"epoch {epoch + 1}: {share:.1%} of the validation windows get alpha {alphas[mode]:.2f}: "
                f"a fixed alpha does as well as this policy. Windows by alpha: {histogram}",
                ActionCollapseWarning,
                stacklevel=2,
            )
        self._collapsed = collapsed

    def predict_step(self, batch: Any) -> Tensor:
        """The score of each window by the rule in use, float64[B]."""
        score: Tensor = self.model(batch["columns"])
        return score

    def extra_state(self) -> dict[str, Any]:
        return {
            "replay": self.buffer.state_dict(),
            "learner": self.learner.state_dict(),
            "collapsed": self._collapsed,
        }

    def load_extra_state(self, state: Mapping[str, Any]) -> None:
        self.buffer.load_state_dict(state["replay"])
        self.learner.load_state_dict(state["learner"])
        self._collapsed = bool(state["collapsed"])

    def _make_learner(self, chosen: RLFusionSettings) -> Learner:
        agent = self.policy.agent
        if isinstance(agent, LinUCBNetwork):
            return NeuralLinUCB(
                agent, ucb=chosen.ucb, penalty=chosen.ridge, refit_every=chosen.refit_every, device=self.device
            )
        if not isinstance(agent, QNetwork):
            raise TypeError(f"the agent of a FusionPolicy is a QNetwork or a LinUCBNetwork; got {type(agent).__name__}")
        return DoubleDQN(
            agent,
            discount=chosen.discount,
            target_every=chosen.target_every,
            start=chosen.epsilon_start,
            end=chosen.epsilon_end,
            windows=chosen.epsilon_windows,
        )
