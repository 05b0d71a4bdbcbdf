"""RLFusionTrainer: its agents find who is right, and the policy is used only where it beats both experts."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from credit_like.config import ConfigError, UserError
from credit_like.models.fusion import COMPONENTS, GAT, POLICY
from tests.trainers.fusion_tasks import always, arguments, either, make_trainer, rewards, table
from trainers.expert_table import ExpertTable
from trainers.rl_fusion import ActionCollapseWarning, RLFusionTrainer

AGENTS = pytest.mark.parametrize("agent", ["dqn", "neural_linucb"])


@pytest.fixture(autouse=True)
def _one_thread() -> Any:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def fitted(folder: Path, agent: str, task: Any, *, epochs: int = 4, n: int = 6000, **settings: Any) -> Any:
    train, valid = table(n, 1, gat_right=task), table(3000, 2, gat_right=task)
    trainer = make_trainer(folder, train, agent, epochs=epochs, **settings)
    row = trainer.fit({}, **arguments(trainer, train, valid))
    return trainer, row, valid


@AGENTS
def test_where_neither_is_right_everywhere_the_policy_gains_nearly_what_an_oracle_would(
    agent: str, tmp_path: Path
) -> None:
    trainer, row, valid = fitted(tmp_path, agent, either)
    reward = rewards(trainer, valid)
    oracle, best_fixed = float(reward.max(dim=1).values.mean()), float(reward.mean(dim=0).max())
    assert row["valid_reward"] - best_fixed >= 0.95 * (oracle - best_fixed)
    assert row["valid_regret"] == pytest.approx(oracle - row["valid_reward"])
    assert (
        row["valid_deployed_reward"] == row["valid_reward"] > max(row["valid_gat_reward"], row["valid_anomaly_reward"])
    )
    scores = torch.cat(trainer.predict_on(arguments(trainer, valid, valid)["valid_loader"], ckpt_path="best"))
    assert float(trainer.reward_of(scores, valid.label).mean()) == pytest.approx(row["valid_reward"])


@AGENTS
def test_where_one_expert_is_always_right_the_policy_matches_it(agent: str, tmp_path: Path) -> None:
    trainer, row, valid = fitted(tmp_path, agent, always)
    expert = float(rewards(trainer, valid)[:, -1].mean())
    assert row["valid_gat_reward"] == pytest.approx(expert)
    assert row["valid_reward"] >= 0.98 * expert
    assert row["valid_deployed_reward"] >= expert - 1e-12


@AGENTS
def test_both_phases_log_parts_of_the_reward_that_sum_to_it(agent: str, tmp_path: Path) -> None:
    trainer, _, _ = fitted(tmp_path, agent, either, epochs=2, n=600, validate_raw=True)
    for row in trainer.history.rows:
        for phase in ("train", "valid", "valid_raw"):
            parts = [row[f"{phase}_reward_{name}"] for name in COMPONENTS]
            assert sum(parts) == pytest.approx(row[f"{phase}_reward"], abs=1e-9)
            assert row[f"{phase}_regret"] >= 0
        assert row["train_loss"] > 0


def test_an_untrained_policy_is_not_deployed_and_predictions_follow_the_expert(tmp_path: Path) -> None:
    trainer, row, valid = fitted(tmp_path, "dqn", always, epochs=1, n=200, updates=1)
    assert row["valid_reward"] < row["valid_gat_reward"] == row["valid_deployed_reward"]
    loader = arguments(trainer, valid, valid)["valid_loader"]
    scores = torch.cat(trainer.predict_on(loader, ckpt_path="best"))
    assert torch.equal(scores, trainer.policy.aligned(valid.values)[:, GAT])


def test_either_expert_may_alarm_where_that_is_asked_for(tmp_path: Path) -> None:
    trainer, row, valid = fitted(tmp_path, "dqn", always, epochs=1, n=200, updates=1, deploy="either")
    loader = arguments(trainer, valid, valid)["valid_loader"]
    scores = torch.cat(trainer.predict_on(loader, ckpt_path="best"))
    assert torch.equal(scores, trainer.policy.aligned(valid.values).amax(dim=1))
    alarms = scores > trainer.policy.threshold
    assert torch.equal(alarms, (trainer.policy.aligned(valid.values) > trainer.policy.threshold).any(dim=1))
    assert row["valid_deployed_reward"] != row["valid_gat_reward"]


def test_a_test_set_does_not_choose_the_rule_that_it_judges(tmp_path: Path) -> None:
    trainer, _, _ = fitted(tmp_path, "dqn", either, epochs=2, use_ema=False)
    assert int(trainer.policy.rule) == POLICY
    other = table(500, 3, gat_right=always)
    loader = arguments(trainer, other, other)["valid_loader"]
    results = trainer.test({"": loader})
    assert results["test_gat_reward"] > results["test_reward"]
    assert int(trainer.policy.rule) == POLICY


def test_a_policy_that_gives_every_window_the_same_alpha_is_named_once(tmp_path: Path) -> None:
    with pytest.warns(ActionCollapseWarning) as caught:
        trainer, _, _ = fitted(tmp_path, "dqn", always, epochs=2, n=300, collapse_share=0.01)
    mine = [str(w.message) for w in caught if w.category is ActionCollapseWarning]
    assert len(mine) == 1
    assert mine[0].startswith("epoch 1: ")
    histogram = mine[0].rpartition("Windows by alpha: ")[2]
    assert sum(int(part.split(": ")[1]) for part in histogram.split(", ")) == 3000
    with warnings.catch_warnings():
        warnings.simplefilter("error", ActionCollapseWarning)
        trainer._warn_of_collapse(5, torch.full((21,), 10))


def test_a_discount_learns_from_the_windows_that_follow(tmp_path: Path) -> None:
    trainer, row, _ = fitted(tmp_path, "dqn", either, epochs=2, n=2000, discount=0.5, target_every=5)
    assert row["valid_reward"] > row["valid_gat_reward"]
    known = trainer.buffer.everything()
    assert known.following.shape == known.state.shape
    assert int(known.last.sum()) == 2  # the last window of the table, once an epoch


def test_settings_that_prove_nothing_are_refused(tmp_path: Path) -> None:
    small = table(20, 1, gat_right=either)
    with pytest.raises(ConfigError, match="skip_validation must be false: validation decides"):
        make_trainer(tmp_path, small, skip_validation=True)
    with pytest.raises(ConfigError, match="a right decision must be worth more than a wrong one"):
        make_trainer(tmp_path, small, reward={"false_negative": 3.0})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"score": torch.tensor([0.5, float("nan"), 0.1])},
            "the gat expert's 'score' is not a finite number for 1 of 3",
        ),
        (
            {"score": torch.tensor([0.5, 1.5, 0.1])},
            r"score must lie in \[0, 1\]; the gat expert's runs from 0.1 to 1.5",
        ),
        ({"score": torch.tensor([0.5])}, r"must speak of the same windows.*'score' of the gat expert has shape \(1,\)"),
        ({"hint": torch.tensor([1.0, 2.0])}, "must speak of the same windows"),
        ({"hint": torch.tensor([1.0, float("inf"), 0])}, "the gat expert's 'hint' is not a finite number"),
    ],
)
def test_expert_outputs_that_cannot_be_used_are_named(change: dict[str, torch.Tensor], message: str) -> None:
    good = {"score": torch.tensor([0.1, 0.2, 0.3])}
    with pytest.raises(UserError, match=message):
        ExpertTable.join({**good, **change}, good, np.array([0, 1, 0]))
    with pytest.raises(UserError, match="the anomaly expert gives no 'score'; it gives p_value"):
        ExpertTable.join(good, {"p_value": good["score"]}, np.array([0, 1, 0]))


def test_a_part_of_a_table_keeps_what_follows_within_it() -> None:
    whole = table(6, 1, gat_right=either)
    part = whole[np.array([4, 1, 2, 5])]
    assert part.label.tolist() == whole.label[[4, 1, 2, 5]].tolist()
    assert part.next_row.tolist() == [3, 2, -1, -1]


def test_statistics_need_a_benign_window(tmp_path: Path) -> None:
    attacks = table(50, 1, gat_right=either)
    only = attacks[np.flatnonzero(attacks.label.numpy() == 1)]
    settings = RLFusionTrainer.ModelSettings()
    with pytest.raises(ValueError, match="come from benign windows and there is none"):
        RLFusionTrainer.fit_model(RLFusionTrainer.build_model(settings, len(only.names)), settings, only)
