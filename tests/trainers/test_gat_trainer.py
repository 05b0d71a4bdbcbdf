"""GATTrainer: it learns, says what it validates, and refuses settings that make no network."""

from __future__ import annotations

import csv
import inspect
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch_geometric.data import Batch, Data

from credit_like.config import ConfigError, UserError
from credit_like.graphs import FeatureScaler, ScalerSettings, Vocabulary
from credit_like.models import GAT
from credit_like.training import read_checkpoint
from trainers import GATTrainer
from trainers.gat import GATModelSettings, attack_probability, ranking

KEYS = torch.tensor([0x100, 0x200, 0x300])
MODEL = GATModelSettings(width=8, heads=2, fc=[8], id_dim=4, dropout=0.0)


def window(seed: int, attack: bool) -> Data:
    """Five nodes and eight edges; an attack lifts all features of one node."""
    rng = torch.Generator().manual_seed(seed)
    x = 0.1 * torch.randn(5, 36, generator=rng)
    x[0] += 1.0 * attack
    return Data(
        x=x,
        edge_index=torch.randint(0, 5, (2, 8), generator=rng),
        edge_attr=torch.randn(8, 11, generator=rng),
        y=torch.tensor([int(attack)]),
        key=KEYS[torch.randint(0, 3, (5,), generator=rng)],
    )


def batches(labels: list[bool], seed: int, size: int = 16) -> list[Batch]:
    windows = [window(1000 * seed + i, label) for i, label in enumerate(labels)]
    return [Batch.from_data_list(windows[i : i + size]) for i in range(0, len(windows), size)]


def make_trainer(folder: Path, **settings: Any) -> GATTrainer:
    torch.manual_seed(0)
    vocabulary = Vocabulary(KEYS)
    scaler = FeatureScaler.empty(len(vocabulary), ScalerSettings())
    for name, buffer in scaler.named_buffers():
        buffer.fill_(10.0 if name == "clip" else float(name.endswith("scale")))
    model = GATTrainer.build_model(MODEL, vocabulary, scaler)
    conf = {"save_loc": str(folder), "trainer": {"epochs": 6, "log_every_n_steps": 1, **settings}}
    return GATTrainer(model, rank=0, conf=conf)


def fit(trainer: GATTrainer, train: list[Batch], valid: list[Batch]) -> dict[str, float]:
    loss = GATTrainer.build_loss(trainer.settings, torch.tensor([32, 32]))
    optimizer = torch.optim.AdamW(trainer.model.parameters(), lr=1e-2)
    return trainer.fit(trainer.conf, train, valid, optimizer, loss, loss)


MIXED = [i % 2 == 0 for i in range(64)]


@pytest.mark.parametrize("loss", ["cross_entropy", "weighted", "focal"])
@pytest.mark.parametrize("use_ema", [False, True])
def test_it_learns_to_tell_attacks(loss: str, use_ema: bool, tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, loss=loss, use_ema=use_ema)
    valid = batches(MIXED, seed=2)
    row = fit(trainer, batches(MIXED, seed=1), valid)
    assert row["valid_auroc"] > 0.95
    assert row["valid_auprc"] > 0.95
    with open(tmp_path / "training_log.csv") as file:
        log = list(csv.DictReader(file))
    assert list(log[0]) == ["epoch", "train_loss", "valid_loss", "valid_auroc", "valid_auprc", "lr"]
    assert float(log[-1]["train_loss"]) < float(log[0]["train_loss"])


def test_its_predictions_are_attack_probabilities(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path)
    valid = batches(MIXED, seed=2)
    best = fit(trainer, batches(MIXED, seed=1), valid)
    scores = torch.cat(trainer.predict_on(valid, ckpt_path="best"))
    assert scores.shape == (64,)
    assert bool(((scores >= 0) & (scores <= 1)).all())
    assert scores.dtype == torch.float64
    assert float(attack_probability(torch.tensor([[0.0, 25.0]]))) < 1  # rounded to 1 in float32
    assert ranking(scores, torch.cat([batch.y for batch in valid]))["auroc"] == pytest.approx(best["valid_auroc"])


def test_a_window_whose_features_are_no_numbers_has_no_score(tmp_path: Path) -> None:
    trainer, (batch,) = make_trainer(tmp_path), batches(MIXED[:8], seed=1)
    batch.x[batch.ptr[3] + 1, 5] = math.nan
    with pytest.raises(UserError, match=r"^1 of 8 windows have features, .* not finite; the first window is number 3"):
        trainer.predict_on([batch])


def test_the_training_metric_may_be_a_ranking(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, training_metric="valid_auprc", training_metric_direction="max")
    row = fit(trainer, batches(MIXED, seed=1), batches(MIXED, seed=2))
    assert row["valid_auprc"] == max(row["valid_auprc"] for row in trainer.history.rows)


def test_ranking_of_one_class_is_undefined_and_no_error(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, epochs=1)
    row = fit(trainer, batches(MIXED, seed=1), batches([False] * 32, seed=2))
    assert math.isnan(row["valid_auroc"])
    assert math.isnan(row["valid_auprc"])


def test_averaged_passes_with_dropout_report_their_spread(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, epochs=1, ensemble_size=3)
    trainer.model.network.dropout.p = 0.5
    assert fit(trainer, batches(MIXED, seed=1), batches(MIXED, seed=2))["valid_std"] > 0


def test_settings_and_network_have_the_same_defaults() -> None:
    of_network = {name: p.default for name, p in inspect.signature(GAT).parameters.items()}
    for name, value in GATModelSettings().model_dump(exclude={"own_traffic"}).items():  # that is not of the network
        default = of_network[name]
        assert value == (list(default) if isinstance(default, tuple) else default), name


def test_wrong_settings_are_refused_with_the_rule(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"focal_gama: unknown key \(did you mean 'focal_gamma'\?\)"):
        make_trainer(tmp_path, focal_gama=3)
    with pytest.raises(ValueError, match="width must be a multiple of heads; got width 10 and 4 heads"):
        GATModelSettings(width=10)
    with pytest.raises(ValueError, match="hash_buckets must be a power of two; got 1000"):
        GATModelSettings(hash_buckets=1000)


def test_a_student_imitates_its_teacher_and_never_changes_it(tmp_path: Path) -> None:
    """Labels are turned round, so what the student knows of attacks it has from the teacher."""
    train, valid = batches(MIXED, seed=1), batches(MIXED, seed=2)
    taught = make_trainer(tmp_path / "teacher")
    fit(taught, train, valid)
    teacher = taught.model
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    for batch in train:
        batch.y = 1 - batch.y
    student = make_trainer(tmp_path / "student", teacher_weight=1.0)
    student.learn_from(teacher)
    row = fit(student, train, valid)
    assert row["valid_auroc"] > 0.95
    assert all(torch.equal(before[name], value) for name, value in teacher.state_dict().items())
    assert not any("teacher" in name for name in read_checkpoint(tmp_path / "student" / "checkpoint.pt")["model"])

    alone = make_trainer(tmp_path / "alone", teacher_weight=0.0)
    alone.learn_from(teacher)
    assert fit(alone, train, valid)["valid_auroc"] < 0.5


class Weighted(list):
    """Batches that note the weights they are given."""

    def __init__(self, given: list[Batch]) -> None:
        super().__init__(given)
        self.weights: list[np.ndarray] = []

    def set_weights(self, weights: np.ndarray) -> None:
        self.weights.append(weights)


def test_a_curriculum_draws_more_hard_normals_each_epoch(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, epochs=3, hard_share=0.6)
    labels = np.array([i % 2 == 0 for i in range(64)]).astype(int)
    trainer.order_by(np.arange(64.0), labels)
    loader, loss = Weighted(batches(MIXED, seed=1)), GATTrainer.build_loss(trainer.settings, torch.tensor([32, 32]))
    optimizer = torch.optim.AdamW(trainer.model.parameters(), lr=1e-2)
    trainer.fit(trainer.conf, loader, batches(MIXED, seed=2), optimizer, loss, loss, rollout_scheduler=trainer.rollout)
    normal = labels == 0
    hard = normal & (np.arange(64) > 64 - 2 * round(32 / 3))  # every second window is normal
    assert hard.sum() == 11
    for weights, share in zip(loader.weights, (0.0, 0.3, 0.6), strict=True):
        assert weights[hard].sum() / weights[normal].sum() == pytest.approx(share)
        assert weights[normal].sum() == pytest.approx(32)
        assert (weights[~normal] == 1).all()


def test_a_curriculum_without_normal_windows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least 2 normal windows; got 0"):
        make_trainer(tmp_path).order_by(np.arange(4.0), np.ones(4, int))


def test_tau_norm_of_the_settings_divides_the_last_layer_once(tmp_path: Path) -> None:
    rows = {}
    for tau in (0.0, 1.0):
        folder = tmp_path / str(tau)
        fit(make_trainer(folder, tau_norm=tau, epochs=2), batches(MIXED, seed=1), batches(MIXED, seed=2))
        rows[tau] = read_checkpoint(folder / "best_checkpoint.pt")["model"]["network.fc_layers.1.weight"]
    torch.testing.assert_close(rows[1.0], rows[0.0] / rows[0.0].norm(dim=1, keepdim=True))
    with pytest.raises(ConfigError, match="tau_norm"):
        make_trainer(tmp_path, tau_norm=2.0)
