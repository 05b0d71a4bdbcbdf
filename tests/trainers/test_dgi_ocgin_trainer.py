"""DGIOCGINTrainer: it learns from benign windows alone, its scores are a window's own, and bad input has its error."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch_geometric.data import Batch, Data

from credit_like.config import ConfigError, UserError
from credit_like.graphs import FeatureScaler, ScalerSettings, Vocabulary
from trainers import DGIOCGINTrainer
from trainers.dgi_ocgin import DGIOCGINModelSettings
from trainers.gat import ranking

KEYS = torch.tensor([0x100, 0x200, 0x300, 0x400])


def window(seed: int, attack: bool = False, nodes: int = 4, edges: int = 8) -> Data:
    """Each id has features of its own; an attack swaps those of two ids and lifts them."""
    rng = torch.Generator().manual_seed(seed)
    x = torch.linspace(-1, 1, 4 * 36).view(4, 36)[:nodes] + 0.1 * torch.randn(nodes, 36, generator=rng)
    if attack:
        x[[0, 1]] = x[[1, 0]] + 0.5
    return Data(
        x=x,
        edge_index=torch.randint(0, nodes, (2, edges), generator=rng),
        edge_attr=torch.randn(edges, 11, generator=rng),
        y=torch.tensor([int(attack)]),
        key=KEYS[:nodes],
    )


def batches(windows: list[Data], size: int = 16) -> list[Batch]:
    return [Batch.from_data_list(windows[i : i + size]) for i in range(0, len(windows), size)]


def benign(seed: int, count: int = 80) -> list[Data]:
    return [window(1000 * seed + i) for i in range(count)]


def make_trainer(folder: Path, model: dict[str, Any] | None = None, **settings: Any) -> DGIOCGINTrainer:
    torch.manual_seed(0)
    vocabulary = Vocabulary(KEYS)
    scaler = FeatureScaler.empty(len(vocabulary), ScalerSettings())
    for name, buffer in scaler.named_buffers():
        buffer.fill_(10.0 if name == "clip" else float(name.endswith("scale")))
    sizes = DGIOCGINModelSettings(width=8, heads=2, **(model or {}))
    conf = {"save_loc": str(folder), "trainer": {"epochs": 3, "log_every_n_steps": 1, **settings}}
    return DGIOCGINTrainer(DGIOCGINTrainer.build_model(sizes, vocabulary, scaler), 0, conf)


def fit(trainer: DGIOCGINTrainer, train: Any = None, valid: Any = None, lr: float = 1e-2) -> dict[str, float]:
    loss = DGIOCGINTrainer.build_loss(trainer.settings, torch.tensor([80, 0]))
    optimizer = torch.optim.AdamW(trainer.model.parameters(), lr=lr)
    train = batches(benign(1)) if train is None else train
    return trainer.fit(trainer.conf, train, batches(benign(2)) if valid is None else valid, optimizer, loss, loss)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> DGIOCGINTrainer:
    trainer = make_trainer(tmp_path_factory.mktemp("run"))
    fit(trainer)
    return trainer


@pytest.mark.parametrize("own_traffic", [False, True])
@pytest.mark.parametrize("use_ema", [False, True])
def test_it_tells_attacks_without_having_seen_one(own_traffic: bool, use_ema: bool, tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, {"own_traffic": own_traffic}, use_ema=use_ema, ema_decay=0.5)
    row = fit(trainer)
    assert row["valid_loss"] < trainer.history.rows[0]["valid_loss"]
    mixed = batches([window(9000 + i, attack=i % 2 == 0) for i in range(40)])
    scores = torch.cat(trainer.predict_on(mixed, ckpt_path="best"))
    assert scores.dtype == torch.float64
    assert ranking(scores, torch.cat([batch.y for batch in mixed]))["auroc"] > 0.95


def test_the_best_checkpoint_alone_scores(trained: DGIOCGINTrainer, tmp_path: Path) -> None:
    """Centre, covariance and p-values travel in it."""
    other = make_trainer(tmp_path)
    given_windows = batches(benign(3, 8))
    path = trained.save_loc / "best_checkpoint.pt"
    expected = torch.cat(trained.predict_on(given_windows, ckpt_path=path))
    assert torch.equal(torch.cat(other.predict_on(given_windows, ckpt_path=path)), expected)


def test_what_the_fusion_reads(trained: DGIOCGINTrainer) -> None:
    trained.model.eval()
    with torch.no_grad():
        batch = Batch.from_data_list([*benign(3, 5), window(1, attack=True)])
        found = trained.expert_outputs(batch)
    names = ["score", "p_value", "distance", "agreement", "embedding_mean", "embedding_std", "embedding_norm"]
    assert list(found) == names
    assert all(value.shape == (6,) and bool(torch.isfinite(value).all()) for value in found.values())
    assert torch.equal(found["score"], 1 - found["p_value"])
    assert bool(((found["agreement"] >= 0) & (found["agreement"] <= 1)).all())
    assert float(found["score"][5]) > float(found["score"][:5].max())


ODD = {
    "without edges": window(1, edges=0),
    "one node": window(2, nodes=1, edges=0),
    "one node, one loop": window(3, nodes=1, edges=1),
    "unseen ids": Data(**{**window(4).to_dict(), "key": torch.tensor([0x7FF, 0x7FE, 1, 2])}),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_windows_have_a_score_that_no_other_window_changes(name: str, trained: DGIOCGINTrainer) -> None:
    alone = trained.predict_on(batches([ODD[name]]))[0]
    together = trained.predict_on(batches([*benign(3, 5), ODD[name]]))[0]
    assert bool(torch.isfinite(alone).all())
    torch.testing.assert_close(together[-1:], alone, rtol=1e-5, atol=1e-8)


def test_an_unseen_id_is_farther_than_any_benign_window(trained: DGIOCGINTrainer) -> None:
    seen = Data(**window(4).to_dict())
    strange, known = trained.predict_on(batches([ODD["unseen ids"], seen]))[0].tolist()
    assert strange > 10 * known


@given(seed=st.integers(0, 10_000), edges=st.integers(0, 12))
def test_numbering_of_nodes_and_order_of_edges_do_not_matter(trained: DGIOCGINTrainer, seed: int, edges: int) -> None:
    before = window(seed, edges=edges)
    rng = torch.Generator().manual_seed(seed + 1)
    order, edge_order = torch.randperm(4, generator=rng), torch.randperm(edges, generator=rng)
    after = Data(
        x=before.x[order],
        key=before.key[order],
        edge_index=torch.argsort(order)[before.edge_index][:, edge_order],
        edge_attr=before.edge_attr[edge_order],
    )
    one, other = (trained.predict_on(batches([graph]))[0] for graph in (before, after))
    torch.testing.assert_close(other, one, rtol=1e-4, atol=1e-6)


def test_features_that_are_not_numbers_are_named(trained: DGIOCGINTrainer, tmp_path: Path) -> None:
    broken = window(1)
    broken.x[2, 5] = math.nan
    with pytest.raises(UserError, match="1 of 3 windows have features that are not finite, the first is number 2"):
        trained.predict_on(batches([*benign(3, 2), broken]))
    with pytest.raises(UserError, match="1 of 3 benign graphs have an embedding that is not finite"):
        make_trainer(tmp_path).fit_head(batches([*benign(3, 2), broken]), batches(benign(2)))


def test_windows_labelled_as_attacks_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="learns from benign windows alone; 1 are labelled as attacks"):
        fit(make_trainer(tmp_path), batches([*benign(1), window(1, attack=True)]))


def test_empty_loaders_are_refused_and_the_mode_is_put_back(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path)
    for mode in (True, False):
        trainer.model.train(mode)
        with pytest.raises(UserError, match=r"cannot be fitted: .*benign training graphs, and there is none"):
            trainer.fit_head([], batches(benign(2)))
        with pytest.raises(UserError, match="cannot be fitted: the loader has no benign window"):
            trainer.fit_head(batches(benign(1)), [])
        trainer.fit_head(batches(benign(1)), batches(benign(2)))
        assert trainer.model.training is mode


def test_a_head_of_other_weights_is_refused_until_it_is_fitted_anew(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path)
    with pytest.raises(UserError, match="was fitted with other weights than the encoder has now, or never"):
        trainer.predict_on(batches(benign(3, 4)))
    trainer.fit_head(batches(benign(1)), batches(benign(2)))
    trainer.predict_on(batches(benign(3, 4)))
    with torch.no_grad():
        next(trainer.model.dgi.encoder.parameters()).mul_(1.1)
    with pytest.raises(UserError, match="was fitted with other weights"):
        trainer.predict_on(batches(benign(3, 4)))
    with pytest.raises(UserError, match="no benign windows to fit it anew"):
        trainer.test({"": batches(benign(3, 4))})
    trainer.fit_head(batches(benign(1)), batches(benign(2)), only_if_stale=True)
    trainer.predict_on(batches(benign(3, 4)))


class Stored(list):
    """Batches of a graph store, which draw random numbers as a shuffling loader does."""

    def __init__(self, given: list[Batch], digest: str) -> None:
        super().__init__(given)
        self.store = SimpleNamespace(digest=digest)

    def __iter__(self) -> Iterator[Batch]:
        torch.rand(1)
        return super().__iter__()


def test_a_head_of_another_store_is_fitted_anew_and_the_random_numbers_are_put_back(tmp_path: Path) -> None:
    trainer, centres, before = make_trainer(tmp_path), [], torch.get_rng_state()
    for windows, digest in ((1, "aa"), (5, "aa"), (5, "bb")):
        trainer.fit_head(Stored(batches(benign(windows)), digest), batches(benign(2)), only_if_stale=True)
        centres.append(trainer.detector.head.centre.clone())
    assert torch.equal(centres[1], centres[0])
    assert not torch.equal(centres[2], centres[0])
    assert torch.equal(torch.get_rng_state(), before)


def test_one_class_training_draws_windows_to_a_frozen_centre(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, epochs=6, dgi_weight=0.1, one_class_weight=1.0, one_class_after=2)
    fit(trainer, lr=1e-3)
    assert trainer.extra_state().keys() == {"centre", "variance"}
    distances = [row["valid_one_class_loss"] for row in trainer.history.rows]
    assert distances[-1] < distances[2]


def test_the_guard_stops_one_class_training_that_collapses(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, epochs=40, dgi_weight=0.0, one_class_weight=1.0, collapse_floor=0.9)
    with pytest.raises(UserError, match=r"embeddings have collapsed: .* Lower trainer.one_class_weight"):
        fit(trainer)


def test_settings_that_learn_nothing_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="both 0; there would be nothing to learn"):
        make_trainer(tmp_path, dgi_weight=0)
    with pytest.raises(ConfigError, match="skip_validation is not possible here"):
        make_trainer(tmp_path, skip_validation=True)
    with pytest.raises(ConfigError, match="dgi_weight is 0"):
        make_trainer(tmp_path, dgi_weight=0, one_class_weight=1, one_class_after=2)
    with pytest.raises(ValueError, match="width must be a multiple of heads"):
        DGIOCGINModelSettings(width=10)
