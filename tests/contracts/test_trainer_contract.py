"""Every trainer of ours keeps the contract of trainers; and the contract notices those that don't."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import SkipTest

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from credit_like.config import Settings
from credit_like.graphs import FeatureScaler, GraphStore, PackedLoader, ScalerSettings, Vocabulary
from credit_like.testing import TrainerContract
from credit_like.training import BaseTrainer
from credit_like.training.ema import put_into_model
from tests.trainers.fusion_tasks import arguments, either, make_trainer, table
from tests.training.toys import Net, Samples, ToyTrainer, batches_of
from trainers import DGIOCGINTrainer, GATTrainer, ModuleTrainer, StepTrainer, TrainerConfig
from trainers.module import _ModuleEngine

pytestmark = pytest.mark.usefixtures("quick_runs")
Made = tuple[BaseTrainer, dict[str, Any]]


def sgd(trainer: BaseTrainer) -> torch.optim.Optimizer:
    return torch.optim.SGD(trainer.model.parameters(), 0.02, momentum=0.9)


class TestPlainTrainer(TrainerContract):
    """Fifteen lines on BaseTrainer, on data whose every access draws random numbers."""

    def make(self, folder: Path, **settings: Any) -> Made:
        trainer = ToyTrainer(Net(), 0, {"save_loc": str(folder), "trainer": settings})
        loaders = [DataLoader(Samples(18, seed, noise=True), 4, shuffle=True) for seed in (1, 2)]
        return trainer, {
            "train_loader": loaders[0], "valid_loader": loaders[1], "optimizer": sgd(trainer),
            "train_criterion": nn.MSELoss(), "valid_criterion": nn.MSELoss(),
        }  # fmt: skip


class TestWithEverythingOn(TestPlainTrainer):
    def make(self, folder: Path, **settings: Any) -> Made:
        schedule = {"scheduler_type": "linear-warmup-cosine", "warmup": 2, "total": 20}
        given = {"use_ema": True, "grad_accum_every": 2, "grad_max_norm": 0.5, "scheduler": schedule, "seed": 3}
        return super().make(folder, **{**given, "precision": "bf16", "ensemble_size": 2, **settings})


class TestWithoutValidation(TestPlainTrainer):
    def make(self, folder: Path, **settings: Any) -> Made:
        return super().make(folder, skip_validation=True, **settings)


class TestGATTrainer(TrainerContract):
    @pytest.fixture(autouse=True)
    def _store(self, store: GraphStore) -> None:
        self.store = store

    def make(self, folder: Path, **settings: Any) -> Made:
        train = self.store.select("train")
        vocabulary = Vocabulary.fit(self.store, train)
        scaler = FeatureScaler.fit(self.store, self.store.select("train", label=0), vocabulary, ScalerSettings())
        sizes = GATTrainer.ModelSettings(width=8, heads=2, fc=[4], id_dim=4)
        model = GATTrainer.build_model(sizes, vocabulary, scaler)
        trainer = GATTrainer(model, 0, {"save_loc": str(folder), "trainer": settings})
        loss = GATTrainer.build_loss(GATTrainer.Settings(loss="weighted"), torch.tensor([50, 10]))
        loaders = [
            PackedLoader(self.store, indices, 16, shuffle=shuffle)
            for indices, shuffle in ((train, True), (self.store.select("test/known"), False))
        ]
        return trainer, {
            "train_loader": loaders[0], "valid_loader": loaders[1], "optimizer": sgd(trainer),
            "train_criterion": loss, "valid_criterion": loss,
        }  # fmt: skip


class TestDGIOCGINTrainer(TrainerContract):
    """With a one-class loss whose centre is frozen before the second epoch."""

    @pytest.fixture(autouse=True)
    def _store(self, store: GraphStore) -> None:
        self.store = store

    def make(self, folder: Path, **settings: Any) -> Made:
        train = self.store.select("train", label=0)
        vocabulary = Vocabulary.fit(self.store, train)
        scaler = FeatureScaler.fit(self.store, train, vocabulary, ScalerSettings())
        model = DGIOCGINTrainer.build_model(DGIOCGINTrainer.ModelSettings(width=8, heads=2), vocabulary, scaler)
        given = {"one_class_weight": 0.01, "one_class_after": 1, **settings}
        trainer = DGIOCGINTrainer(model, 0, {"save_loc": str(folder), "trainer": given})
        loss = DGIOCGINTrainer.build_loss(DGIOCGINTrainer.Settings(), torch.tensor([len(train), 0]))
        valid = self.store.select("validation", label=0)
        return trainer, {
            "train_loader": PackedLoader(self.store, train, 16, shuffle=True),
            "valid_loader": PackedLoader(self.store, valid, 16), "optimizer": sgd(trainer),
            "train_criterion": loss, "valid_criterion": loss,
        }  # fmt: skip


class TestRLFusionTrainer(TrainerContract):
    """A resumed run has the buffer, the exploration and the target network or the ridges of one left alone."""

    agent = "dqn"

    def make(self, folder: Path, **settings: Any) -> Made:
        train, valid = table(40, 1, gat_right=either), table(24, 2, gat_right=either)
        given = {"replay_capacity": 32, "replay_batch": 16, "target_every": 3, "refit_every": 3, "use_ema": False}
        trainer = make_trainer(folder, train, self.agent, **{**given, "discount": 0.3, **settings})
        return trainer, {**arguments(trainer, train, valid, batch_size=8), "optimizer": sgd(trainer)}


class TestRLFusionTrainerWithRidges(TestRLFusionTrainer):
    agent = "neural_linucb"

    def make(self, folder: Path, **settings: Any) -> Made:
        return super().make(folder, **{"use_ema": True, "discount": 0.0, **settings})


class TestStepTrainer(TrainerContract):
    """The engine behind the face is held to the contract; the face's ``fit`` passes the same to it."""

    def make(self, folder: Path, **settings: Any) -> Made:
        def step(batch: Any, trainer: StepTrainer) -> dict[str, Any]:
            trainer.state["batches"] = trainer.state.get("batches", 0) + trainer.training
            return {"loss": nn.functional.mse_loss(trainer.model(batch[0]), batch[1])}

        config = {"save_loc": str(folder), "trainer": settings}
        face = StepTrainer(Net(), step, batches_of(18), batches_of(8, seed=2), config=config)
        return face._engine, {"train_loader": face.train_dl, "valid_loader": face.valid_dl, "optimizer": face.opt}


class Carried(nn.Module):
    """A module that carries its steps."""

    def __init__(self) -> None:
        super().__init__()
        self.net = Net()

    def training_step(self, batch: Any, batch_idx: int) -> dict[str, Tensor]:
        output = self.net(batch[0])
        return {"loss": nn.functional.mse_loss(output, batch[1]), "spread": output.detach().std()}

    def validation_step(self, batch: Any, batch_idx: int) -> dict[str, Tensor]:
        return {"val_loss": nn.functional.mse_loss(self.net(batch[0]), batch[1])}


class TestModuleTrainer(TrainerContract):
    def make(self, folder: Path, **settings: Any) -> Made:
        face = ModuleTrainer(TrainerConfig(accelerator="cpu"))
        engine = _ModuleEngine(
            face, Carried(), {"save_loc": str(folder), "trainer": {"grad_max_norm": 1.0, **settings}}
        )
        loaders = {"train_loader": batches_of(18), "valid_loader": batches_of(8, seed=2)}
        return engine, {**loaders, "optimizer": sgd(engine)}


class TestModuleTrainerByHand(TestModuleTrainer):
    """With ``automatic_optimization = False`` the module calls ``optimize``."""

    def make(self, folder: Path, **settings: Any) -> Made:
        engine, arguments = super().make(folder, **settings)
        module: Any = engine.model
        automatic = module.training_step

        def by_hand(batch: Any, batch_idx: int) -> Any:
            result = automatic(batch, batch_idx)
            engine.optimize(result["loss"])
            return result

        module.automatic_optimization, module.training_step = False, by_hand
        return engine, arguments


# What the contract is for: trainers that break one of its rules -------------------------------------------------------


class Forgets(ToyTrainer):
    """Its loss depends on how many batches it has seen, which no checkpoint holds."""

    seen = 0

    def train_one_epoch(self, epoch: int, trainloader: Any, *rest: Any) -> None:
        for x, y in self.batches(trainloader):
            self.seen += 1
            loss = nn.functional.mse_loss(self.model(x), y) * self.seen
            self.optimize(loss)
            self.record("loss", loss)


class DrawsEarly(ToyTrainer):
    """Draws when ``fit`` has not seeded anything yet."""

    def fit(self, *arguments: Any, **named: Any) -> Any:
        self.factor = float(torch.rand(()))
        return super().fit(*arguments, **named)

    def train_one_epoch(self, epoch: int, trainloader: Any, *rest: Any) -> None:
        for x, y in self.batches(trainloader):
            loss = nn.functional.mse_loss(self.model(x), y) * self.factor
            self.optimize(loss)
            self.record("loss", loss)


class NeverFinite(ToyTrainer):
    def validate(self, *rest: Any) -> Any:
        return {"loss": float("nan")}


class Frozen(ToyTrainer):
    def train_one_epoch(self, epoch: int, trainloader: Any, *rest: Any) -> Any:
        return {"loss": 1.0}


class Swallows(ToyTrainer):
    """Goes on whatever happens."""

    def train_one_epoch(self, *arguments: Any) -> Any:
        try:
            super().train_one_epoch(*arguments)
        except Exception:  # noqa: BLE001  the defect
            return {"loss": 1.0}


class Calibrates(ToyTrainer):
    """Changes the model where it should only look at it."""

    def validate(self, *arguments: Any) -> None:
        super().validate(*arguments)
        with torch.no_grad():
            self.model.last.bias += 1


class KeepsAverages(ToyTrainer):
    """Leaves the averaged weights in the model of a run that failed."""

    def fit(self, *arguments: Any, **named: Any) -> Any:
        try:
            return super().fit(*arguments, **named)
        except Exception:
            if self.ema is not None:
                put_into_model(self.ema.shadow, self.model)
            raise


class Loose(ToyTrainer):
    class Settings(BaseTrainer.Settings):
        model_config = Settings.model_config | {"extra": "ignore"}


@pytest.mark.parametrize(
    ("kind", "test", "message"),
    [
        (Forgets, "interrupted_and_resumed_by_epoch", "a resumed run differs from one that was never interrupted"),
        (Forgets, "interrupted_and_resumed_it_ends_as_if_nothing_had_happened", "a resumed run differs"),
        (DrawsEarly, "only_the_seed_decides", "two runs of the same seed differ"),
        (NeverFinite, "two_epochs_train_and_leave_log_and_checkpoint", "valid_loss decides what is best, and no epoch"),
        (Frozen, "two_epochs_train_and_leave_log_and_checkpoint", "two epochs have not changed one weight"),
        (Swallows, "interrupted_and_resumed_by_epoch", r"an exception at step \d+ became None"),
        (Calibrates, "testing_changes_neither_weights_nor_random_numbers", "test has moved .*last.bias"),
        (KeepsAverages, "raw_weights_are_back_after_an_exception_in_validation", "does not hold its own weights"),
        (Loose, "an_unknown_setting_is_refused", "epochz is no setting; a ConfigError was due, not None"),
    ],
)
def test_the_contract_notices(kind: type[BaseTrainer], test: str, message: str, tmp_path: Path) -> None:
    class Broken(TrainerContract):
        def make(self, folder: Path, **settings: Any) -> Made:
            trainer = kind(Net(), 0, {"save_loc": str(folder), "trainer": settings})
            criteria = {"train_criterion": nn.MSELoss(), "valid_criterion": nn.MSELoss()}
            loaders = {"train_loader": batches_of(18), "valid_loader": batches_of(8)}
            return trainer, {**loaders, **criteria, "optimizer": sgd(trainer)}

    check: Callable[[Path], None] = getattr(Broken(), f"test_{test}")
    with pytest.raises(AssertionError, match=message):
        check(tmp_path)


def test_what_does_not_validate_or_step_skips_what_needs_it(tmp_path: Path) -> None:
    class NoSteps(TestWithoutValidation):
        def make(self, folder: Path, **settings: Any) -> Made:
            trainer, arguments = super().make(folder, **settings)
            frozen = Frozen(Net(), 0, trainer.conf)
            return frozen, {**arguments, "optimizer": sgd(frozen)}

    for name in dir(NoSteps):
        if name.startswith(("test_interrupted", "test_testing", "test_raw")):
            with pytest.raises(SkipTest, match="this trainer"):
                getattr(NoSteps(), name)(tmp_path / name)
