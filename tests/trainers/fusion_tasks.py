"""Constructed tasks for the fusion: two experts whose right and wrong is known, and columns that tell who is right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from credit_like.models.fusion import FusionPolicy
from trainers.expert_table import ExpertLoader, ExpertTable
from trainers.rl_fusion import RLFusionTrainer

Bools = NDArray[np.bool_]


def table(n: int, seed: int, *, gat_right: Any) -> ExpertTable:
    """``n`` windows, two of five attacks. ``gat_right(rng, n)`` bool[n] says where the GAT is right; the anomaly expert
    is right where it is not. A noisy hint of which it is stands among the columns, beside one of mere noise."""
    rng = np.random.default_rng(seed)
    label = (rng.random(n) < 0.4).astype(np.int64)
    right: Bools = gat_right(rng, n)
    hint = np.where(right, 1.0, -1.0) + 0.25 * rng.standard_normal(n)
    gat = scores(rng, np.where(right, label, 1 - label))
    anomaly = scores(rng, np.where(right, 1 - label, label))
    outputs = [torch.from_numpy(x) for x in (gat, hint, rng.standard_normal(n), anomaly, 1 - anomaly)]
    return ExpertTable.join(
        {"score": outputs[0], "hint": outputs[1], "noise": outputs[2]},
        {"score": outputs[3], "p_value": outputs[4]},
        label,
        np.append(np.arange(1, n), -1),
    )


def scores(rng: np.random.Generator, said: NDArray[np.int64]) -> NDArray[np.float64]:
    """Scores above a half where 1 is said, below where 0 is, by at least a tenth."""
    distance = 0.5 * rng.uniform(0.2, 1.0, len(said))
    return 0.5 + np.where(said == 1, distance, -distance)


def either(rng: np.random.Generator, n: int) -> Bools:
    """Each expert is right in about half of the windows."""
    return rng.random(n) < 0.5


def always(rng: np.random.Generator, n: int) -> Bools:
    """The GAT is always right."""
    return np.ones(n, np.bool_)


def make_trainer(folder: Path, train: ExpertTable, agent: str = "dqn", **settings: Any) -> RLFusionTrainer:
    """A trainer whose policy knows the statistics of ``train``; scores are mixed as they are."""
    torch.manual_seed(0)
    chosen = RLFusionTrainer.ModelSettings(agent=agent, align_fpr=0.0, hidden=[32], features=16)
    policy = RLFusionTrainer.build_model(chosen, len(train.names))
    RLFusionTrainer.fit_model(policy, chosen, train)
    given = {"epsilon_windows": 2000, "use_ema": True, "ema_decay": 0.95, "training_metric": "valid_regret", **settings}
    return RLFusionTrainer(policy, 0, {"save_loc": str(folder), "trainer": given})


def arguments(
    trainer: RLFusionTrainer, train: ExpertTable, valid: ExpertTable, batch_size: int = 128
) -> dict[str, Any]:
    """What ``fit`` is given besides ``conf``."""
    follow = trainer.settings.discount > 0
    criterion = RLFusionTrainer.build_loss(trainer.settings, torch.tensor([1, 1]))
    return {
        "train_loader": ExpertLoader(train, batch_size, shuffle=True, follow=follow),
        "valid_loader": ExpertLoader(valid, 4 * batch_size),
        "optimizer": torch.optim.AdamW(trainer.model.parameters(), lr=5e-3),
        "train_criterion": criterion,
        "valid_criterion": criterion,
    }


def rewards(trainer: RLFusionTrainer, windows: ExpertTable) -> torch.Tensor:
    """The reward of every alpha, float64[n, actions]."""
    policy: FusionPolicy = trainer.policy
    return trainer.reward_of(policy.fused(windows.values), windows.label)
