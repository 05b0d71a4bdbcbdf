"""The two calls that the engine knows of a study: report and should_prune."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import optuna
import pytest
import torch
from torch import nn

from credit_like.config import UserError
from credit_like.training import read_checkpoint
from credit_like.training.stopping import Stopped
from tests.training.toys import Net, Scripted, ToyTrainer, batches_of, fit_scripted, send

pytestmark = pytest.mark.usefixtures("quick_disk")


class Fake:
    def __init__(self, number: int = 7, prune_at: int = 99) -> None:
        self.number, self.prune_at = number, prune_at
        self.reports: list[tuple[float, int]] = []

    def report(self, value: float, step: int) -> None:
        self.reports.append((value, step))

    def should_prune(self) -> bool:
        return self.reports[-1][1] >= self.prune_at


def test_each_epoch_is_reported_once(tmp_path: Path) -> None:
    trial = Fake()
    fit_scripted(tmp_path, [3, 1, 2], epochs=3, fit={"trial": trial})
    assert trial.reports == [(3, 0), (1, 1), (2, 2)]


def test_each_epoch_is_reported_once_after_a_resume_too(tmp_path: Path) -> None:
    class Stopping(Scripted):
        stop = False

        def validate(self, epoch: int, *rest: Any) -> Any:
            if self.stop and epoch == 1:
                raise ZeroDivisionError
            return super().validate(epoch, *rest)

    trial = Fake()
    with pytest.raises(ZeroDivisionError):
        fit_scripted(tmp_path, [3, 1, 2], kind=type("Once", (Stopping,), {"stop": True}), fit={"trial": trial})
    fit_scripted(tmp_path, [3, 1, 2], kind=Stopping, epochs=3, load_weights=True, fit={"trial": trial})
    assert trial.reports == [(3, 0), (1, 1), (2, 2)]


def test_stopped_in_mid_epoch_and_resumed_reports_once(tmp_path: Path) -> None:
    trial = Fake()

    def fit(moment: Any) -> None:
        conf = {"save_loc": str(tmp_path), "trainer": {"epochs": 3, "load_weights": True}}
        trainer = ToyTrainer(Net(), 0, conf)
        trainer.moment = moment
        optimizer = torch.optim.SGD(trainer.model.parameters(), 0.01)
        trainer.fit({}, batches_of(), batches_of(), optimizer, nn.MSELoss(), nn.MSELoss(), trial=trial)

    with pytest.raises(Stopped):
        fit(lambda *moment: send(signal.SIGTERM) if moment == ("train", 1, 1) else None)
    fit(None)
    assert [step for _, step in trial.reports] == [0, 1, 2]


def test_a_pruned_trial_closes_everything_and_raises(tmp_path: Path) -> None:
    closed: list[str] = []

    class Logger:
        def start(self, samples: int, epoch: int) -> None: ...
        def log_batch(self, values: Any, samples: int) -> None: ...
        def log_epoch(self, row: Any, epoch: int) -> None: ...
        def close(self) -> None:
            closed.append("logger")

    trial = Fake(prune_at=1)
    trainer = Scripted(Net(), 0, {"save_loc": str(tmp_path), "trainer": {"epochs": 9}}, loggers=[Logger()])
    with pytest.raises(optuna.TrialPruned, match="epoch 2: valid_loss 1"):
        trainer.fit({}, batches_of(), batches_of(), torch.optim.SGD(trainer.model.parameters(), 0.01), trial=trial)
    assert closed == ["logger"]
    assert read_checkpoint(tmp_path / "trial_results" / "trial_7" / "checkpoint.pt")["epoch"] == 1


def test_folders_of_a_trial(tmp_path: Path) -> None:
    for number in (0, 1):
        trainer = fit_scripted(tmp_path, epochs=1, fit={"trial": Fake(number)})
        assert trainer.save_loc == tmp_path / "trial_results" / f"trial_{number}"
        assert (trainer.save_loc / "best_checkpoint.pt").exists()
        assert (tmp_path / "trial_results" / f"training_log_{number}.csv").exists()
    assert not list(tmp_path.glob("*.pt"))
    assert not (tmp_path / "training_log.csv").exists()


def test_the_log_of_a_trial_without_checkpoints_is_not_overwritten(tmp_path: Path) -> None:
    log = tmp_path / "trial_results" / "training_log_7.csv"
    log.parent.mkdir()
    log.write_text("epoch\n0\n")
    with pytest.raises(UserError, match=r"training_log_7\.csv is of a run, and .*trial_7 holds no checkpoint"):
        fit_scripted(tmp_path, fit={"trial": Fake()})
    assert log.read_text() == "epoch\n0\n"


def test_without_a_trial_nothing_prunes(tmp_path: Path) -> None:
    assert fit_scripted(tmp_path, epochs=2, fit={"trial": False}).result


def test_with_optuna(tmp_path: Path) -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    pruner = optuna.pruners.ThresholdPruner(upper=5.0)
    study = optuna.create_study(pruner=pruner)

    def objective(trial: optuna.Trial) -> float:
        loss = float(trial.number * 3)  # 0, 3, 6: the last is pruned
        return float(fit_scripted(tmp_path, [loss], epochs=2, fit={"trial": trial}).result["valid_loss"])

    study.optimize(objective, n_trials=3)
    states = [trial.state.name for trial in study.trials]
    assert states == ["COMPLETE", "COMPLETE", "PRUNED"]
    assert study.trials[1].intermediate_values == {0: 3.0, 1: 3.0}
    assert study.trials[2].intermediate_values == {0: 6.0}
