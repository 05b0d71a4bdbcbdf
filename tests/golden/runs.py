"""python -m tests.golden.runs: rewrite the golden loss curves beside this file; say in the commit why they moved.

Tiny runs of fixed seed, one for each way into the engine and each detector. They have no dropout (its masks differ
between builds of torch) and no Adam with a tiny epsilon (it makes steps of rounding errors), so that their curves are
the same on another machine to about 1e-6; a change of the engine, of a model or of the data that matters moves them
more.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn

from credit_like.graphs import FeatureScaler, GraphStore, PackedLoader, ScalerSettings, Vocabulary
from credit_like.training import BaseTrainer
from tests.graphs.conftest import SETTINGS, three_way_plan, two_captures
from tests.trainers.fusion_tasks import arguments, either, make_trainer, table
from trainers import DGIOCGINTrainer, GATTrainer, ModuleTrainer, StepTrainer, TrainerConfig

FOLDER = Path(__file__).parent
Curves = dict[str, list[float]]
Batches = list[tuple[Tensor, Tensor]]


def regression(seed: int, sizes: tuple[int, ...] = (8, 8, 8, 5)) -> Batches:
    """Batches of a smooth function of four numbers; the last one is short."""
    generator = torch.Generator().manual_seed(seed)
    xs = [torch.rand(size, 4, generator=generator) * 2 - 1 for size in sizes]
    return [(x, (2 * x[:, :1]).sin() + x[:, 1:2] * x[:, 2:3]) for x in xs]


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 1))


class Regression(BaseTrainer):
    def train_one_epoch(
        self, epoch: int, trainloader: Any, optimizer: Any, criterion: Any, scaler: Any, scheduler: Any, metrics: Any
    ) -> None:
        for x, y in self.batches(trainloader):
            loss = criterion(self.model(x), y)
            self.optimize(loss)
            self.record("loss", loss)

    def validate(self, epoch: int, valid_loader: Any, criterion: Any, metrics: Any) -> None:
        for x, y in self.batches(valid_loader, "valid"):
            self.record("loss", criterion(self.model(x), y))


def mlp(folder: Path) -> Curves:
    """BaseTrainer with accumulation, a short last group, clipping, averaged weights and a schedule."""
    settings = {
        "epochs": 6, "grad_accum_every": 3, "grad_max_norm": 0.3, "use_ema": True, "ema_decay": 0.8,
        "validate_raw": True, "scheduler": {"scheduler_type": "lambda", "warmup": 2},
    }  # fmt: skip
    trainer = Regression(network(), 0, {"save_loc": str(folder), "trainer": settings})
    optimizer = torch.optim.AdamW(trainer.model.parameters(), lr=0.05, eps=1e-2)
    trainer.fit({}, regression(1), regression(2), optimizer, nn.MSELoss(), nn.MSELoss())
    return losses(trainer)


def step(folder: Path) -> Curves:
    """StepTrainer with a schedule per step."""

    def mse(batch: Any, trainer: StepTrainer) -> dict[str, Tensor]:
        return {"loss": nn.functional.mse_loss(trainer.model(batch[0]), batch[1])}

    scheduler = {"scheduler_type": "linear-warmup-cosine", "warmup": 4, "total": 30}
    config = {"save_loc": str(folder), "trainer": {"scheduler": scheduler}}
    net = network()
    sgd = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, nesterov=True)
    face = StepTrainer(net, mse, regression(1), regression(2), optim=sgd, epochs=6, config=config)
    face.fit()
    return losses(face._engine)


class Carried(nn.Module):
    """A module that carries its steps and its schedule."""

    def __init__(self) -> None:
        super().__init__()
        self.net = network()

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return nn.functional.smooth_l1_loss(self.net(batch[0]), batch[1])

    def validation_step(self, batch: Any, batch_idx: int) -> dict[str, Tensor]:
        return {"val_loss": nn.functional.mse_loss(self.net(batch[0]), batch[1])}

    def build_optimizers(self, max_epochs: int) -> Any:
        optimizer = torch.optim.SGD(self.parameters(), lr=0.2, momentum=0.5, weight_decay=1e-3)
        return optimizer, torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max_epochs)


class Data:
    def setup(self, stage: str) -> None: ...

    def train_dataloader(self) -> Batches:
        return regression(1)

    def val_dataloader(self) -> Batches:
        return regression(2)


def module(folder: Path) -> Curves:
    """ModuleTrainer, with the clipping that it has by default."""
    face = ModuleTrainer(TrainerConfig(max_epochs=6, default_root_dir=str(folder), accelerator="cpu"))
    face.fit(Carried(), Data())
    return losses(face.engine)


def gat(folder: Path) -> Curves:
    """GATTrainer from frames on: windows, features, vocabulary, scaler, packed batches, attention."""
    store = GraphStore.build(folder / "store", two_captures(), three_way_plan(), SETTINGS, progress=False)
    train, benign = store.select("train"), store.select("train", label=0)
    vocabulary = Vocabulary.fit(store, train)
    scaler = FeatureScaler.fit(store, benign, vocabulary, ScalerSettings())
    torch.manual_seed(0)
    sizes = GATTrainer.ModelSettings(width=16, heads=2, fc=[8], id_dim=4, dropout=0)
    conf = {"save_loc": str(folder / "run"), "trainer": {"epochs": 6, "use_ema": True, "ema_decay": 0.8}}
    trainer = GATTrainer(GATTrainer.build_model(sizes, vocabulary, scaler), 0, conf)
    loss = GATTrainer.build_loss(GATTrainer.Settings(), torch.tensor([len(benign), len(train) - len(benign)]))
    loaders = PackedLoader(store, train, 16, shuffle=True), PackedLoader(store, store.select("test/known"), 16)
    trainer.fit({}, *loaders, torch.optim.SGD(trainer.model.parameters(), lr=0.02, momentum=0.9), loss, loss)
    return losses(trainer)


def dgi_ocgin(folder: Path) -> Curves:
    """DGIOCGINTrainer on benign windows, its centre frozen after two epochs."""
    store = GraphStore.build(folder / "store", two_captures(), three_way_plan(), SETTINGS, progress=False)
    train = store.select("train", label=0)
    vocabulary = Vocabulary.fit(store, train)
    scaler = FeatureScaler.fit(store, train, vocabulary, ScalerSettings())
    torch.manual_seed(0)
    sizes = DGIOCGINTrainer.ModelSettings(width=16, heads=2)
    conf = {
        "save_loc": str(folder / "run"),
        "trainer": {"epochs": 8, "use_ema": True, "ema_decay": 0.8, "one_class_weight": 0.01, "one_class_after": 2},
    }
    trainer = DGIOCGINTrainer(DGIOCGINTrainer.build_model(sizes, vocabulary, scaler), 0, conf)
    loss = DGIOCGINTrainer.build_loss(DGIOCGINTrainer.Settings(), torch.tensor([len(train), 0]))
    loaders = PackedLoader(store, train, 16, shuffle=True), PackedLoader(store, store.select("validation", label=0), 16)
    trainer.fit({}, *loaders, torch.optim.SGD(trainer.model.parameters(), lr=0.05, momentum=0.9), loss, loss)
    return losses(trainer)


def fusion(folder: Path) -> Curves:
    """RLFusionTrainer with ridges, averaged weights and both phases' full rewards."""
    train, valid = table(300, 1, gat_right=either), table(100, 2, gat_right=either)
    settings = {"epochs": 6, "ema_decay": 0.8, "replay_batch": 64, "refit_every": 4, "validate_raw": True}
    trainer = make_trainer(folder, train, "neural_linucb", **settings)
    optimizer = torch.optim.SGD(trainer.model.parameters(), lr=0.05, momentum=0.9)
    trainer.fit({}, **{**arguments(trainer, train, valid, batch_size=50), "optimizer": optimizer})
    return losses(trainer)


def losses(trainer: BaseTrainer) -> Curves:
    rows = trainer.history.rows
    return {name: [row[name] for row in rows] for name in rows[0] if "loss" in name}


RUNS: dict[str, Callable[[Path], Curves]] = {run.__name__: run for run in (mlp, step, module, gat, dgi_ocgin, fusion)}


def golden_file(name: str) -> Path:
    return FOLDER / f"{name}.json"


if __name__ == "__main__":
    for name, run in RUNS.items():
        with TemporaryDirectory() as scratch:
            golden_file(name).write_text(json.dumps(run(Path(scratch)), indent=1) + "\n")
