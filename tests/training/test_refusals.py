"""What a run refuses, and in which words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from credit_like.config import ConfigError, UserError
from credit_like.training import BaseTrainer
from credit_like.training.batches import require_repeatable
from tests.training.toys import Net, Samples, Scripted, batches_of, fit_scripted

pytestmark = pytest.mark.usefixtures("quick_disk")


def test_a_one_shot_generator_is_refused(tmp_path: Path) -> None:
    trainer = Scripted(Net(), 0, {"save_loc": str(tmp_path)})
    optimizer = torch.optim.SGD(trainer.model.parameters(), 0.01)
    for loaders in ((iter(batches_of()), batches_of()), (batches_of(), (b for b in batches_of()))):
        with pytest.raises(TypeError, match=r"loader is a one-shot .*its second epoch would be empty"):
            trainer.fit({}, *loaders, optimizer)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((None,), "needs a train_loader"), (([1],), "needs a valid_loader"), (([1], [1]), "needs an optimizer")],
)
def test_missing_arguments_are_named(arguments: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=message):
        Scripted(Net(), 0, {"save_loc": str(tmp_path)}).fit({}, *arguments)


@pytest.mark.parametrize(("which", "phase"), [(0, "train"), (1, "valid")])
def test_an_empty_loader_is_an_error(which: int, phase: str, tmp_path: Path) -> None:
    trainer = Scripted(Net(), 0, {"save_loc": str(tmp_path)})
    loaders: list[Any] = [batches_of(), batches_of()]
    loaders[which] = []
    with pytest.raises(UserError, match=f"the {phase} loader gave no batch in epoch 1; is the data set empty"):
        trainer.fit({}, *loaders, torch.optim.SGD(trainer.model.parameters(), 0.01))


@pytest.mark.parametrize(
    "left",
    ["checkpoint.pt", "backup_checkpoint.pt", "best_checkpoint.pt", "checkpoint_epoch_0003.pt"],
)
def test_a_folder_that_holds_a_run_is_refused_and_left_alone(left: str, tmp_path: Path) -> None:
    (tmp_path / left).write_text("precious")
    with pytest.raises(
        UserError, match=r"holds a run already; resume it \(trainer\.load_weights: true\) or name another"
    ):
        fit_scripted(tmp_path)
    assert (tmp_path / left).read_text() == "precious"


def test_the_log_of_a_run_without_a_checkpoint_is_left_alone_with_a_remedy_that_helps(tmp_path: Path) -> None:
    log = tmp_path / "training_log.csv"
    log.write_text("precious")
    with pytest.raises(UserError, match=r"no checkpoint to resume from; remove the log to begin anew, or name another"):
        fit_scripted(tmp_path)
    assert log.read_text() == "precious"
    log.unlink()
    fit_scripted(tmp_path)


def test_an_unknown_setting_is_refused_with_the_closest_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"stoping_patience.*did you mean 'stopping_patience'"):
        Scripted(Net(), 0, {"save_loc": str(tmp_path), "trainer": {"stoping_patience": 3}})


@pytest.mark.parametrize("wrong", [{"epochs": -1}, {"stopping_patience": 0}, {"ema_decay": 2}, {"precision": "8"}])
def test_a_wrong_value_is_refused_by_name(wrong: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        Scripted(Net(), 0, {"save_loc": str(tmp_path), "trainer": wrong})


def test_workers_that_outlive_an_epoch_are_warned_about(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    loader = torch.utils.data.DataLoader(Samples(8, 0), 4, num_workers=1, persistent_workers=True)
    require_repeatable(loader, "train_loader")
    assert "train_loader has persistent_workers=True: its workers keep state" in capsys.readouterr().err


#: Public attributes of a trainer and their defaults.
DEFAULTS = {
    "start_epoch": 0, "epochs": 1, "num_epoch": None, "skip_validation": False, "load_weights": False,
    "use_scheduler": True, "scheduler_type": "", "scheduler": None, "amp": True, "precision": "auto",
    "grad_max_norm": 0.0, "grad_accum_every": 1, "batches_per_epoch": 0, "valid_batches_per_epoch": 0,
    "ensemble_size": 1, "save_best_weights": True, "save_backup_weights": True, "save_every_epoch": False,
    "stopping_patience": 100, "stop_after_epoch": False, "train_one_epoch_mode": False, "save_metric_vars": True,
    "training_metric": "valid_loss", "training_metric_direction": "min", "use_ema": False, "ema_decay": 0.9999,
    "use_tensorboard": False, "mode": "none", "rank": 0, "distributed": False, "direction": "min", "ema": None,
}  # fmt: skip


def test_settings_are_attributes_with_these_defaults(tmp_path: Path) -> None:
    trainer = Scripted(Net(), 0, {"save_loc": str(tmp_path)})
    assert {name: getattr(trainer, name) for name in DEFAULTS} == DEFAULTS
    silent = Scripted(Net(), 0, {"save_loc": str(tmp_path), "trainer": {"skip_validation": True}})
    assert silent.training_metric == "train_loss"
    planned = Scripted(Net(), 0, {"save_loc": str(tmp_path), "trainer": {"scheduler": {"scheduler_type": "lambda"}}})
    assert (planned.scheduler_type, planned.scheduler) == ("lambda", None)


def test_a_subclass_extends_the_schema(tmp_path: Path) -> None:
    class Wider(Scripted):
        class Settings(BaseTrainer.Settings):
            margin: float = 1.0

    conf = {"save_loc": str(tmp_path), "trainer": {"margin": 2.0}}
    assert Wider(Net(), 0, conf).margin == 2.0  # type: ignore[attr-defined]
    with pytest.raises(ConfigError, match="margin"):
        Scripted(Net(), 0, conf)


def test_environment_variables_in_save_loc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREDIT_LIKE_TEST_RUNS", str(tmp_path))
    trainer = Scripted(Net(), 0, {"save_loc": "$CREDIT_LIKE_TEST_RUNS/a"})
    assert trainer.save_loc == tmp_path / "a"
    with pytest.raises(ConfigError, match="names an environment variable that is not set"):
        Scripted(Net(), 0, {"save_loc": "$CREDIT_LIKE_TEST_NOTHING/a"})
    with pytest.raises(ConfigError, match="conf has no save_loc"):
        Scripted(Net(), 0, {})


def test_rank_is_checked_against_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    with pytest.raises(ValueError, match="rank is 0, but the environment says RANK=1"):
        Scripted(Net(), 0, {"save_loc": str(tmp_path)})


@pytest.mark.parametrize(
    ("what", "scheduler"),
    [
        ("optimizer", ""), ("optimizer", "lambda"), ("scaler", ""), ("scaler", "plateau"), ("scheduler", "lambda"),
        ("scheduler", "plateau"), ("scheduler", "linear-warmup-cosine"),
    ],
)  # fmt: skip
def test_stepping_elsewhere_is_an_error_that_names_the_place(what: str, scheduler: str, tmp_path: Path) -> None:
    class Cheating(Scripted):
        def train_one_epoch(
            self,
            epoch: int,
            trainloader: Any,
            optimizer: Any,
            criterion: Any,
            scaler: Any,
            scheduler: Any,
            metrics: Any,
        ) -> None:
            for x, y in self.batches(trainloader):
                self.optimize(nn.functional.mse_loss(self.model(x), y))
                if what == "optimizer":
                    optimizer.step()  # HERE
                elif what == "scaler":
                    scaler.update()  # HERE
                else:
                    scheduler.step()  # HERE

    source = Path(__file__).read_text().splitlines()
    lines = [number for number, line in enumerate(source, start=1) if line.endswith("  # HERE")]
    line = dict(zip(("optimizer", "scaler", "scheduler"), lines, strict=True))[what]
    with pytest.raises(
        RuntimeError, match=rf"\(\) was called at .*test_refusals\.py:{line}; in a trainer only self\.optimize"
    ):
        fit_scripted(tmp_path, kind=Cheating, precision="16", scheduler={"scheduler_type": scheduler, "total": 9})


def test_after_the_run_the_optimizer_is_the_caller_s_again(tmp_path: Path) -> None:
    trainer = fit_scripted(tmp_path, epochs=1, scheduler={"scheduler_type": "lambda"})
    trainer.optimizer.step()
    trainer.scheduler.step()
    assert type(trainer.scheduler) is torch.optim.lr_scheduler.LambdaLR
