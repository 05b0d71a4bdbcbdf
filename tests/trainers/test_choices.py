"""Every choice that a GAT or DGI-OCGIN job can make: it trains, goes on after a break as if there had been none, and
scores; a name that is no choice is answered with those that are."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch

from applications._job import job_schema
from credit_like.config import ConfigError, Settings, read_config, validate
from credit_like.graphs import FeatureScaler, ScalerSettings, Vocabulary
from credit_like.training import BaseTrainer
from tests.trainers import test_dgi_ocgin_trainer as anomaly
from tests.trainers import test_gat_trainer as gat
from trainers import DGIOCGINTrainer, GATTrainer, RLFusionTrainer
from trainers.dgi_ocgin import DGIOCGINModelSettings
from trainers.gat import GATModelSettings

CONVS = ("gatv2", "gat", "transformer", "gin")
JUMPS = ("last", "cat", "max", "lstm")

QUICK = {"epochs": 2, "use_ema": True, "preflight": False}

#: Each value of each setting, and of those that meet in the network each pair.
GAT_CHOICES: list[tuple[dict[str, Any], dict[str, Any]]] = [
    *(({"conv": conv, "jump": jump}, {}) for conv, jump in product(CONVS, JUMPS)),
    *(({"id_encoder": kind, "unknown_rate": 0.3}, {}) for kind in ("hash", "none", "lookup")),
    *(({"pooling": list(kinds)}, {}) for kinds in (("mean",), ("max",), ("sum",), ("sum", "max", "mean"))),
    *(({"projection": 6, "layers": 1, "fc": []}, {"loss": loss}) for loss in ("cross_entropy", "weighted", "focal")),
]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> Any:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    monkeypatch.setattr("os.fsync", lambda descriptor: None)
    yield
    torch.set_num_threads(threads)


def gat_trainer(folder: Path, model: dict[str, Any], **settings: Any) -> GATTrainer:
    torch.manual_seed(0)
    scaler = FeatureScaler.empty(4, ScalerSettings())
    for name, buffer in scaler.named_buffers():
        buffer.fill_(10.0 if name == "clip" else float(name.endswith("scale")))
    sizes = GATModelSettings(**{"width": 8, "heads": 2, "fc": [4], "id_dim": 4, **model})
    detector = GATTrainer.build_model(sizes, Vocabulary(gat.KEYS), scaler)
    return GATTrainer(detector, 0, {"save_loc": str(folder), "trainer": {**QUICK, **settings}})


def in_two_parts_and_in_one(make: Any, train: Any, valid: Any, optimizer: type, loss: Any) -> Any:
    """Trains two epochs at once, and one and then the other; requires the same weights; returns the trainer."""
    ended = {}
    for name in ("whole", "parts"):
        for part in ({},) if name == "whole" else ({"stop_after_epoch": True}, {"load_weights": True}):
            trainer: BaseTrainer = make(name, **part)
            trainer.fit(trainer.conf, train, valid, optimizer(trainer.model.parameters(), lr=1e-2), loss, loss)
        ended[name] = trainer
    one, other = (dict(ended[name].model.state_dict()) for name in ("whole", "parts"))
    assert all(torch.equal(value, other[key]) for key, value in one.items())
    assert any(not torch.equal(value, one[key]) for key, value in make("fresh").model.state_dict().items())
    return ended["parts"]


@pytest.mark.parametrize(("model", "settings"), GAT_CHOICES, ids=str)
def test_every_gat_trains_resumes_and_scores(model: dict[str, Any], settings: dict[str, Any], tmp_path: Path) -> None:
    train, valid = gat.batches(gat.MIXED[:16], seed=1, size=8), gat.batches(gat.MIXED[:8], seed=2)
    loss = GATTrainer.build_loss(GATTrainer.Settings(**settings), torch.tensor([24, 8]))
    trainer = in_two_parts_and_in_one(
        lambda name, **part: gat_trainer(tmp_path / name, model, **settings, **part),
        train, valid, torch.optim.AdamW, loss,
    )  # fmt: skip
    scores = torch.cat(trainer.predict_on(valid, ckpt_path="best"))
    assert scores.shape == (8,)
    assert bool(((scores > 0) & (scores < 1)).all())


@pytest.mark.parametrize(
    "model",
    [*({"conv": conv} for conv in CONVS), {"own_traffic": False}, {"whiten": False}, {"layers": 1}],
    ids=str,
)
def test_every_anomaly_detector_trains_resumes_and_scores(model: dict[str, Any], tmp_path: Path) -> None:
    train, valid = anomaly.batches(anomaly.benign(1, 48), 16), anomaly.batches(anomaly.benign(2, 24))
    trainer = in_two_parts_and_in_one(
        lambda name, **part: anomaly.make_trainer(tmp_path / name, model, **QUICK, **part),
        train, valid, torch.optim.AdamW, DGIOCGINTrainer.build_loss(DGIOCGINTrainer.Settings(), torch.tensor([48, 0])),
    )  # fmt: skip
    scores = torch.cat(trainer.predict_on(valid, ckpt_path="best"))
    assert scores.shape == (24,)
    assert bool((scores >= 0).all())


WRONG = [
    (GATTrainer, "gat", "model.conv", "gcn", "'gatv2', 'gat', 'transformer' or 'gin'"),
    (GATTrainer, "gat", "model.jump", "sum", "'last', 'cat', 'max' or 'lstm'"),
    (GATTrainer, "gat", "model.pooling.0", "median", "'mean', 'max' or 'sum'"),
    (GATTrainer, "gat", "model.id_encoder", "onehot", "'lookup', 'hash' or 'none'"),
    (GATTrainer, "gat", "trainer.loss", "hinge", "'cross_entropy', 'weighted' or 'focal'"),
    (DGIOCGINTrainer, "dgi_ocgin", "model.conv", "gcn", "'gatv2', 'gat', 'transformer' or 'gin'"),
    (RLFusionTrainer, "rl_fusion", "model.agent", "ppo", "'dqn' or 'neural_linucb'"),
]


@pytest.mark.parametrize(("trainer", "conf", "key", "value", "choices"), WRONG)
def test_a_name_that_is_no_choice_is_answered_with_those_that_are(
    trainer: Any, conf: str, key: str, value: str, choices: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        validate(read_config(conf, [f"{key}={value}"]), job_schema(trainer))
    assert f"{key}={value}: expected {choices}" in str(caught.value)
    assert f"received '{value}'" in str(caught.value)


def test_the_choices_tried_here_are_all_there_are() -> None:
    def allowed(settings: type[Settings], name: str) -> set[str]:
        field = settings.model_json_schema()["properties"][name]
        return set(field.get("items", field)["enum"])

    tried = [model | settings for model, settings in GAT_CHOICES]
    for name in ("conv", "jump", "id_encoder"):
        assert allowed(GATModelSettings, name) == {choice[name] for choice in tried if name in choice}
    assert allowed(GATModelSettings, "pooling") == {kind for choice in tried for kind in choice.get("pooling", [])}
    assert allowed(GATTrainer.Settings, "loss") == {choice["loss"] for choice in tried if "loss" in choice}
    assert allowed(DGIOCGINModelSettings, "conv") == set(CONVS)
