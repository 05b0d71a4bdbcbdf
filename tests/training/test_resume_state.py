"""What a resume brings back, from which file, and what it refuses."""

from __future__ import annotations

import json
from collections import UserDict
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
import torch
from torch import nn

from credit_like.training import Callback, CheckpointError, read_checkpoint
from credit_like.training.stopping import Stopped
from tests.training.accidents import (
    BATCHES,
    FATES,
    Accident,
    accident,
    at,
    undisturbed,
)
from tests.training.toys import Setup, ToyTrainer, batches_of, outcome

pytestmark = pytest.mark.usefixtures("quick_disk")


def test_lists_returned_after_a_resume_in_mid_epoch_are_an_error_that_says_so(tmp_path: Path) -> None:
    class Lists(ToyTrainer):
        def train_one_epoch(self, epoch: int, trainloader: Any, *rest: Any) -> Any:
            losses = []
            for x, y in self.batches(trainloader):
                loss = nn.functional.mse_loss(self.model(x), y)
                self.optimize(loss)
                losses.append(float(loss.detach()))
                self._passed("train", epoch)
            return {"loss": losses}

    def fit(moment: Any) -> None:
        setup = Setup()
        trainer = Lists(setup.trainer(tmp_path).model, 0, setup.trainer(tmp_path).conf)
        trainer.moment = moment
        trainer.fit({}, setup.train_loader(), batches_of(), setup.build_optimizer(trainer.model), None, nn.MSELoss())

    with pytest.raises(Stopped):
        fit(at("train", 1, 2, FATES["sigterm"][0]))
    with pytest.raises(ValueError, match=r"train_loss has 4 values for the 7 batches.*resume in mid-epoch.*record"):
        fit(None)


def test_extra_state_and_callback_state_come_back(tmp_path: Path) -> None:
    class Counting(Callback):
        seen = 0

        def on_train_batch_end(self, trainer: Any, model: nn.Module, outputs: Any, batch: Any, batch_idx: int) -> None:
            self.seen += 1

        def state_dict(self) -> dict[str, Any]:
            return {"seen": self.seen}

        def load_state_dict(self, state: Any) -> None:
            self.seen = state["seen"]

    class Buffered(ToyTrainer):
        buffer = torch.zeros(0)

        def _passed(self, phase: str, epoch: int) -> None:
            if phase == "train":
                self.buffer = torch.cat([self.buffer, torch.rand(1)])
            super()._passed(phase, epoch)

        def extra_state(self) -> dict[str, Any]:
            return {"buffer": self.buffer}

        def load_extra_state(self, state: Any) -> None:
            self.buffer = state["buffer"]

    def fit(folder: Path, moment: Any) -> tuple[Buffered, Counting]:
        setup, counting = Setup(), Counting()
        trainer = Buffered(setup.trainer(folder).model, 0, setup.trainer(folder).conf, callbacks=[counting])
        trainer.moment = moment
        optimizer = setup.build_optimizer(trainer.model)
        trainer.fit({}, setup.train_loader(), batches_of(), optimizer, nn.MSELoss(), nn.MSELoss())
        return trainer, counting

    whole, counted = fit(tmp_path / "a", None)
    with pytest.raises(Stopped):
        fit(tmp_path / "b", at("train", 1, 3, FATES["sigterm"][0]))
    resumed, recounted = fit(tmp_path / "b", None)
    assert counted.seen == recounted.seen == 3 * BATCHES
    assert torch.equal(whole.buffer, resumed.buffer)


def test_on_train_epoch_start_does_not_fire_again_in_mid_epoch(tmp_path: Path) -> None:
    class Starts(Callback):
        def __init__(self) -> None:
            self.epochs: list[int] = []

        def on_train_epoch_start(self, trainer: Any, model: nn.Module) -> None:
            self.epochs.append(trainer.step_state.epoch)

    def fit(moment: Any) -> list[int]:
        setup, starts = Setup(), Starts()
        trainer = ToyTrainer(setup.trainer(tmp_path).model, 0, setup.trainer(tmp_path).conf, callbacks=[starts])
        trainer.moment = moment
        optimizer = setup.build_optimizer(trainer.model)
        with suppress(Stopped):
            trainer.fit({}, setup.train_loader(), batches_of(), optimizer, nn.MSELoss(), nn.MSELoss())
        return starts.epochs

    assert fit(at("train", 1, 2, FATES["sigterm"][0])) == [0, 1]
    assert fit(None) == [2]


def test_resumed_from_the_backup_when_the_latest_is_damaged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    setup = Setup(every_steps=3)
    with pytest.raises(Accident):
        setup.fit(tmp_path, at("train", 2, 4, accident))
    latest = tmp_path / "checkpoint.pt"
    content = bytearray(latest.read_bytes())
    content[len(content) // 2] ^= 1
    latest.unlink()  # another name of the same content must stay whole
    latest.write_bytes(content)
    setup.fit(tmp_path)
    said = capsys.readouterr().err
    assert f"not resumed from: {latest} is damaged" in said
    assert "resuming from backup_checkpoint.pt" in said
    assert outcome(tmp_path) == undisturbed(setup)


def test_the_good_backup_outlives_the_first_save_after_a_fall_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The damaged latest must not become the backup: a kill right then would leave no checkpoint at all."""
    setup = Setup()
    with pytest.raises(Accident):
        setup.fit(tmp_path, at("train", 2, 4, accident))
    latest = tmp_path / "checkpoint.pt"
    latest.unlink()
    latest.write_bytes(b"not a checkpoint")
    with monkeypatch.context() as patch:
        patch.setattr("credit_like.training.run_folder.replace", lambda *_: accident())
        with pytest.raises(Accident):
            setup.fit(tmp_path)
    assert read_checkpoint(tmp_path / "backup_checkpoint.pt")["epoch"] == 0
    setup.fit(tmp_path)
    assert outcome(tmp_path) == undisturbed(setup)


def test_all_checkpoints_damaged_is_an_error_and_not_a_fresh_start(tmp_path: Path) -> None:
    setup = Setup(epochs=2)
    setup.fit(tmp_path)
    for path in tmp_path.glob("*.pt"):
        path.unlink()
        path.write_bytes(b"rubbish")
    with pytest.raises(CheckpointError, match=r"no checkpoint of this run can be resumed from:\n.*checkpoint\.pt"):
        setup.fit(tmp_path)


@pytest.mark.parametrize("kind", [MappingProxyType, UserDict])
def test_a_configuration_of_any_mapping_can_be_resumed(
    kind: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def fit(epochs: int) -> None:
        trainer = kind({"epochs": epochs, "load_weights": True})
        conf = kind({"save_loc": tmp_path, 7: "seven", "trainer": trainer, "list": (kind({"a": 1}),)})
        toy = ToyTrainer(Setup().trainer(tmp_path).model, 0, conf)
        optimizer = torch.optim.SGD(toy.model.parameters(), 0.1)
        toy.fit(conf, batches_of(), batches_of(), optimizer, nn.MSELoss(), nn.MSELoss())

    fit(1)
    saved = json.loads(read_checkpoint(tmp_path / "checkpoint.pt")["config"])
    assert saved == {
        "save_loc": str(tmp_path),
        "7": "seven",
        "trainer": {"epochs": 1, "load_weights": True},
        "list": [{"a": 1}],
    }
    fit(2)
    assert "changed since the checkpoint: trainer.epochs 1 -> 2" in capsys.readouterr().err


def test_nothing_to_resume_from_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Setup(epochs=1).fit(tmp_path)
    assert f"nothing to resume from in {tmp_path}: a fresh start" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "part"),
    [({"ema": False}, "ema"), ({"scheduler": "lambda"}, "scheduler"), ({"precision": "16"}, "scaler")],
)
def test_another_setup_is_refused_by_the_part_that_differs(change: dict[str, Any], part: str, tmp_path: Path) -> None:
    setup = Setup(epochs=1)
    setup.fit(tmp_path)
    with pytest.raises(CheckpointError, match=f"checkpoint.pt.* {part} "):
        replace(setup, epochs=2, **change).fit(tmp_path)


def test_a_shorter_loader_is_refused(tmp_path: Path) -> None:
    setup = Setup()
    with pytest.raises(Stopped):
        setup.fit(tmp_path, at("train", 0, 5, FATES["sigterm"][0]))
    trainer = setup.trainer(tmp_path)
    with pytest.raises(CheckpointError, match="after 6 batches of its epoch, but the loader has only 3"):
        trainer.fit({}, batches_of(12), batches_of(), setup.build_optimizer(trainer.model), nn.MSELoss(), nn.MSELoss())


def test_the_amp_scale_survives(tmp_path: Path) -> None:
    class OddScale(Setup):
        def fit(self, folder: Path, moment: Any = None, **settings: Any) -> ToyTrainer:
            trainer = self.trainer(folder, **settings)
            trainer.moment = moment
            scaler = torch.amp.GradScaler("cpu", init_scale=2.0**5, growth_interval=3)
            optimizer = self.build_optimizer(trainer.model)
            loaders = (self.train_loader(), batches_of())
            trainer.result = trainer.fit({}, *loaders, optimizer, nn.MSELoss(), nn.MSELoss(), scaler=scaler)
            return trainer

    setup = OddScale(precision="16")
    whole = setup.fit(tmp_path / "a")
    with pytest.raises(Stopped):
        setup.fit(tmp_path / "b", at("train", 1, 3, FATES["sigterm"][0]))
    resumed = setup.fit(tmp_path / "b")
    assert whole.scaler is not None
    assert resumed.scaler is not None
    assert whole.scaler.get_scale() == resumed.scaler.get_scale() == 2.0**12
    assert outcome(tmp_path / "a") == outcome(tmp_path / "b")
