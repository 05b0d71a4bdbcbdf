"""ModuleTrainer: a module with its own steps on the one engine."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from credit_like.training import (
    Callback,
    CheckpointError,
    EarlyStopping,
    LRMonitor,
    ModelCheckpoint,
    NonFiniteLossError,
)
from credit_like.training.checkpoint import read_checkpoint, sidecar_of
from credit_like.training.run_folder import GIVEN_UP, RunFolder
from tests.trainers.line_module import Data, Regression, trainer
from trainers.module import ModuleTrainer, TrainerConfig


def test_fit_trains_saves_and_publishes(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, data = Regression(), Data()
    checkpoints = ModelCheckpoint(monitor="val_loss")
    face = trainer(tmp_path, callbacks=[checkpoints, EarlyStopping("val_loss", patience=2), LRMonitor()], epochs=8)
    face.predict_on(model, data.loader)
    assert checkpoints.best_model_path == ""  # there is none yet
    model.calls.clear()
    row = face.fit(model, data)
    assert row["valid_loss"] < 1
    assert face.callback_metrics["val_loss"] == pytest.approx(row["valid_loss"])
    assert face.current_epoch == 7
    assert face.global_step == 40
    assert checkpoints.best_model_path == str(tmp_path / "checkpoints" / "best_model.pt")
    assert data.stages == ["fit"]
    assert model.calls[:3] == ["setup", ("train", 0), ("train", 1)]
    assert face.checkpoint_callback is checkpoints


def test_a_resume_goes_on_where_the_run_ended(tmp_path: Path) -> None:
    torch.manual_seed(0)
    straight = Regression()
    start = {name: value.clone() for name, value in straight.state_dict().items()}
    trainer(tmp_path / "a", 4).fit(straight, Data())
    torch.manual_seed(1)
    broken = Regression()
    broken.load_state_dict(start)
    trainer(tmp_path / "b", 2).fit(broken, Data())
    resumed = Regression()
    trainer(tmp_path / "b", 4).fit(resumed, Data(), ckpt_path=tmp_path / "b" / "checkpoints" / "checkpoint.pt")
    assert torch.equal(resumed.line.weight, straight.line.weight)


def test_test_tells_the_loader_index_and_keeps_names(tmp_path: Path) -> None:
    results = trainer(tmp_path).test(Regression(), Data(several=True))
    assert results == {"known/test_index": 0.0, "unknown/test_index": 1.0}


def test_weights_only_from_a_checkpoint_outside_fit(tmp_path: Path) -> None:
    model = Regression()
    trainer(tmp_path).fit(model, Data())
    fresh = Regression()
    outputs = trainer(tmp_path).predict(fresh, Data(), ckpt_path=tmp_path / "checkpoints" / "checkpoint.pt")
    assert torch.equal(fresh.line.weight, model.line.weight)
    assert [tuple(output.shape) for output in outputs] == [(8, 1)] * 5
    assert trainer(tmp_path).validate(model, Data())["val_loss"] < 5


def test_predict_step_is_told_the_batch_s_index(tmp_path: Path) -> None:
    class Indexed(Regression):
        def predict_step(self, batch: Any, batch_idx: int) -> Tensor:
            return torch.tensor(batch_idx)

    assert trainer(tmp_path).predict(Indexed(), Data()) == [0, 1, 2, 3, 4]
    assert trainer(tmp_path).predict_on(Indexed(), Data().loader) == [0, 1, 2, 3, 4]


def test_a_resume_is_from_the_file_that_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trainer(tmp_path, 4, callbacks=[ModelCheckpoint(save_top_k=4)]).fit(Regression(), Data())
    second = tmp_path / "checkpoints" / "checkpoint_epoch_0001.pt"
    elsewhere = tmp_path / "elsewhere" / "mine.pt"
    elsewhere.parent.mkdir()
    for source, target in ((second, elsewhere), (sidecar_of(second), sidecar_of(elsewhere))):
        target.write_bytes(source.read_bytes())
    for path in (second, elsewhere):
        face = trainer(tmp_path, 4)
        face.fit(Regression(), Data(), ckpt_path=path)
        assert f"resuming from {path.name}: 2 epoch(s) done" in capsys.readouterr().err
        assert face.global_step == 20
    second.write_bytes(b"damaged")
    trainer(tmp_path, 5).fit(Regression(), Data(), ckpt_path=second)
    said = capsys.readouterr().err
    assert f"not resumed from: {second} is damaged" in said
    assert "resuming from checkpoint.pt: 4 epoch(s) done" in said
    with pytest.raises(CheckpointError, match=r"no checkpoint at .*nowhere\.pt"):
        trainer(tmp_path, 5).fit(Regression(), Data(), ckpt_path=tmp_path / "checkpoints" / "nowhere.pt")


def test_what_an_older_checkpoint_leaves_behind_is_no_longer_of_the_run(tmp_path: Path) -> None:
    """Neither to fall back to, nor as its best weights; and nothing is lost."""
    folder = tmp_path / "checkpoints"
    trainer(tmp_path, 4, callbacks=[ModelCheckpoint(save_top_k=4)]).fit(Regression(), Data())
    wanted, left = folder / "checkpoint_epoch_0001.pt", {}
    for path in folder.glob("*.pt"):
        if (epoch := read_checkpoint(path)["epoch"]) > 1:
            left[path.name] = epoch
    assert len(left) == 5

    class Failing(Regression):
        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        trainer(tmp_path, 4, [ModelCheckpoint(save_top_k=4)]).fit(Failing(), Data(), ckpt_path=wanted)
    assert {path.name: read_checkpoint(path)["epoch"] for path in (folder / GIVEN_UP).glob("*.pt")} == left
    found = RunFolder(folder, "best_model.pt").newest_valid()
    assert found is not None
    assert found[1]["epoch"] == 1
    best = read_checkpoint(folder / "best_model.pt")
    assert best["epoch"] == best["patience"]["best_epoch"] == 1
    assert (
        trainer(tmp_path, 4, [ModelCheckpoint(save_top_k=4)]).fit(Regression(), Data(), ckpt_path=wanted)["epoch"] == 3
    )


def test_the_state_at_a_failure_is_no_place_to_go_on_from(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It was taken in mid-epoch, and knows nothing of where: the run goes on from its latest checkpoint."""

    class Failing(Regression):
        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            if self.calls.count(("train", 1)) == 2:
                raise ZeroDivisionError
            return super().training_step(batch, batch_idx)

    with pytest.raises(ZeroDivisionError):
        trainer(tmp_path).fit(Failing(), Data())
    aside = tmp_path / "checkpoints" / "exception_checkpoint.pt"
    model = Regression()
    trainer(tmp_path).fit(model, Data(), ckpt_path=aside)
    said = capsys.readouterr().err
    assert f"not resumed from: {aside} is the state at a failure, somewhere within epoch 2" in said
    assert "resuming from checkpoint.pt: 1 epoch(s) done" in said
    assert model.calls.count(("train", 0)) == 2


def test_the_centre_is_calibrated_before_every_test(tmp_path: Path) -> None:
    class OneClass(Regression):
        def calibrate_svdd_center(self, loader: Any, device: torch.device) -> None:
            self.calls.append(("centre", len(loader), device.type))

        def on_test_epoch_start(self) -> None:
            self.calls.append("start")

        def on_test_epoch_end(self) -> None:
            self.calls.append("end")

    model = OneClass()
    trainer(tmp_path).test(model, Data())
    assert model.calls == ["setup", ("centre", 5, "cpu"), "start", "end"]


@pytest.mark.parametrize("seams", [False, True])
def test_a_module_that_steps_itself_is_the_same_as_one_that_does_not(tmp_path: Path, seams: bool) -> None:
    class Manual(Regression):
        automatic_optimization = False

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            loss = super().training_step(batch, batch_idx)
            trainer: Any = self.trainer
            if seams:
                trainer.loss_t = loss
                trainer.do_backward()
                trainer.do_opt_step()
            else:
                trainer.optimize(loss)
            return {"loss": loss.detach()}

    class Watch(Callback):
        def __init__(self) -> None:
            self.seen: list[Any] = []

        def on_after_backward(self, trainer: Any, model: nn.Module) -> None:
            self.seen.append("backward")

        def on_train_batch_end(self, trainer: Any, model: nn.Module, outputs: Any, batch: Any, batch_idx: int) -> None:
            self.seen.append((outputs, batch_idx))

        def start(self, samples: int, epoch: int) -> None:
            self.seen.append((samples, epoch))

        def log_batch(self, values: Any, samples: int) -> None:
            self.seen.append((dict(values), samples))

        def log_epoch(self, row: Any, epoch: int) -> None:
            self.seen.append((dict(row), epoch))

        def close(self) -> None:
            self.seen.append("closed")

    torch.manual_seed(0)
    automatic = Regression()
    manual = Manual()
    manual.load_state_dict(automatic.state_dict())
    watched = []
    for name, model in (("a", automatic), ("b", manual)):
        watched.append(Watch())
        trainer(tmp_path / name, callbacks=watched[-1:], log_every_n_steps=2).fit(model, Data())
    assert watched[0].seen == watched[1].seen
    assert torch.equal(manual.line.weight, automatic.line.weight)


def test_a_loss_that_is_not_finite_is_named_where_a_module_steps_itself(tmp_path: Path) -> None:
    class Manual(Regression):
        automatic_optimization = False

        def training_step(self, batch: Any, batch_idx: int) -> None:
            trainer: Any = self.trainer
            trainer.loss_t = super().training_step(batch, batch_idx) * (math.nan if batch_idx == 1 else 1)
            trainer.do_backward()
            trainer.do_opt_step()

    with pytest.raises(NonFiniteLossError, match="the training loss is nan at optimizer step 1"):
        trainer(tmp_path).fit(Manual(), Data())


def test_should_stop_ends_after_the_epoch(tmp_path: Path) -> None:
    face = trainer(tmp_path, epochs=5)

    class Stopping(Regression):
        def validation_step(self, batch: Any, batch_idx: int) -> dict[str, Tensor]:
            face.should_stop = True
            return super().validation_step(batch, batch_idx)

    face.fit(Stopping(), Data())
    assert face.current_epoch == 0


def test_fitted_again_it_does_not_stop_because_it_was_stopped_before(tmp_path: Path) -> None:
    face = trainer(tmp_path, epochs=2)
    face.should_stop = True
    face.fit(Regression(), Data())
    assert face.current_epoch == 1


def test_mixed_precision_on_a_cpu_is_float32_beside_a_gpu_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for accelerator, precision in (("cpu", "32"), ("gpu", "16"), ("auto", "16")):
        face = ModuleTrainer(TrainerConfig(accelerator=accelerator, default_root_dir=tmp_path))
        assert face._conf(None)["trainer"]["precision"] == precision
    for name, precision in (("bf16-mixed", "bf16"), ("32", "32")):
        assert ModuleTrainer(TrainerConfig(precision=name))._conf(None)["trainer"]["precision"] == precision


def test_the_settings_reach_the_engine(tmp_path: Path) -> None:
    face = trainer(tmp_path, 9, gradient_clip_val=0.25, log_every_n_steps=7)
    face.predict_on(Regression(), Data().loader)
    engine = face.engine
    assert (engine.epochs, engine.grad_max_norm, engine.log_every_n_steps) == (9, 0.25, 7)
    assert (engine.device.type, engine.save_loc) == ("cpu", tmp_path / "checkpoints")


def test_settings_and_their_defaults() -> None:
    assert TrainerConfig().model_dump() == {
        "max_epochs": 300, "precision": "16-mixed", "gradient_clip_val": 1.0, "log_every_n_steps": 50,
        "accelerator": "auto", "devices": "auto", "default_root_dir": "",
    }  # fmt: skip


def test_public_attributes_before_and_after(tmp_path: Path) -> None:
    callbacks = [LRMonitor()]
    face = trainer(tmp_path, 2, callbacks)
    before = {"max_epochs": 2, "current_epoch": 0, "global_step": 0, "callback_metrics": {}, "should_stop": False}
    nothing = {"datamodule": None, "checkpoint_callback": None, "early_stopping_callback": None, "loggers": []}
    expected: dict[str, Any] = {**before, **nothing, "default_root_dir": str(tmp_path), "callbacks": callbacks}
    assert {name: getattr(face, name) for name in expected} == expected
    data = Data()
    face.fit(Regression(), data)
    assert face.datamodule is data
    assert (face.current_epoch, face.global_step) == (1, 10)
    assert {"train_loss", "val_loss", "val_bias"} <= face.callback_metrics.keys()
    assert face.engine.autocast_dtype is None  # 16-mixed on a CPU
