"""What a trainer is given reaches what it is meant for, and what it knows can be asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from credit_like.config import ConfigError
from credit_like.training import BaseTrainer, read_checkpoint
from credit_like.training.device import choose_device
from credit_like.training.stopping import Stopped
from tests.training.accidents import FATES, Accident, accident, at, undisturbed
from tests.training.toys import Net, Setup, ToyTrainer, batches_of, fit_scripted, outcome

pytestmark = pytest.mark.usefixtures("quick_disk")


def test_arguments_reach_the_subclass_as_they_are(tmp_path: Path) -> None:
    given: dict[str, Any] = {name: object() for name in ("metrics", "train_criterion", "valid_criterion")}
    given["conf"] = {"own": 1}
    got: list[dict[str, Any]] = []

    class Asking(BaseTrainer):
        def train_one_epoch(
            self,
            epoch: int,
            trainloader: Any,
            optimizer: Any,
            criterion: Any,
            scaler: Any,
            scheduler: Any,
            metrics: Any,
        ) -> Any:
            got.append(
                {"optimizer": optimizer, "scheduler": scheduler, "train_criterion": criterion, "metrics": metrics}
            )
            assert scaler is None  # float32 needs none
            return {"loss": 1.0}

        def validate(self, epoch: int, valid_loader: Any, criterion: Any, metrics: Any) -> Any:
            got.append({"valid_criterion": criterion, "metrics": metrics, "conf": self.fit_conf})
            return {"loss": 1.0}

    trainer = Asking(Net(), 0, {"save_loc": str(tmp_path), "trainer": {}})
    given["optimizer"] = torch.optim.SGD(trainer.model.parameters(), 0.1)
    given["scheduler"] = torch.optim.lr_scheduler.ExponentialLR(given["optimizer"], 0.9)
    trainer.fit(train_loader=[1], valid_loader=[1], scaler=torch.amp.GradScaler("cpu"), **given)
    assert len(got) == 2
    for received in got:
        for name, value in received.items():
            assert value is given[name], name


def test_the_device_is_that_of_the_local_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert choose_device("auto") == torch.device("cuda", 0)
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert choose_device("cuda") == torch.device("cuda", 1)
    assert choose_device("cpu") == torch.device("cpu")
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(ConfigError, match=r"LOCAL_RANK is 2, but this machine has 2 GPU"):
        choose_device("auto")


def test_checkpoints_by_the_minute(tmp_path: Path) -> None:
    """Less than a nanosecond is over at each batch: an exception costs none."""
    setup = Setup(epochs=1)
    with pytest.raises(Accident):
        setup.fit(tmp_path, at("train", 0, 4, accident), checkpoint_every_minutes=1e-12)
    assert read_checkpoint(tmp_path / "checkpoint.pt")["position"]["batches"] == 4
    setup.fit(tmp_path)
    assert outcome(tmp_path) == undisturbed(setup)


@pytest.mark.parametrize("fate", ["exception", "sigterm"])
def test_a_loop_of_one_s_own_resumes_by_epoch(fate: str, tmp_path: Path) -> None:
    class OwnLoop(ToyTrainer):
        def train_one_epoch(self, epoch: int, trainloader: Any, *rest: Any) -> Any:
            losses = []
            for number, (x, y) in enumerate(trainloader):
                loss = nn.functional.mse_loss(self.model(x), y)
                self.optimize(loss, weight=len(x))
                losses.append(float(loss.detach()))
                if self.moment is not None:
                    self.moment("train", epoch, number)
            return {"loss": sum(losses) / len(losses)}

    def fit(folder: Path, moment: Any) -> None:
        setup = Setup(accumulate=2)
        trainer = OwnLoop(setup.trainer(folder).model, 0, setup.trainer(folder).conf)
        trainer.moment = moment
        optimizer = setup.build_optimizer(trainer.model)
        trainer.fit({}, setup.train_loader(), batches_of(), optimizer, nn.MSELoss(), nn.MSELoss())

    act, raised = FATES[fate]
    fit(tmp_path / "undisturbed", None)
    with pytest.raises(raised):
        fit(tmp_path / "resumed", at("train", 1, 3, act))
    state = read_checkpoint(tmp_path / "resumed" / "checkpoint.pt")
    assert state["position"] is None
    assert state["epoch"] == (1 if raised is Stopped else 0)  # a signal waits for the epoch's end
    fit(tmp_path / "resumed", None)
    assert outcome(tmp_path / "resumed") == outcome(tmp_path / "undisturbed")


def test_too_little_memory_is_said_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("credit_like.training.preflight.free_host_bytes", lambda: 2**30)
    fit_scripted(tmp_path / "enough", epochs=1, device="cpu")
    assert "preflight" not in capsys.readouterr().err
    monkeypatch.setattr("credit_like.training.preflight.estimated_bytes", lambda *_: 3 * 2**30)
    fit_scripted(tmp_path / "short", epochs=1, device="cpu")
    assert "preflight: training needs about 3.0 GiB, and 1.0 GiB of memory are free" in capsys.readouterr().err


def test_the_bar_shows_running_means_then_the_learning_rate(tmp_path: Path) -> None:
    class Bar:
        described: tuple[str, ...] = ()

        def set_description(self, text: str, refresh: bool) -> None:
            self.described += (text,)

    trainer = fit_scripted(tmp_path, epochs=3)
    bar = Bar()
    trainer._log_batch_progress(1, {"loss": 0.5, "accuracy": 0.25}, trainer.optimizer, bar, "train")
    trainer.display_metrics = ("accuracy",)
    trainer._log_batch_progress(2, {"loss": 0.5, "accuracy": 0.25}, trainer.optimizer, bar, "train")
    assert bar.described == (
        "train 2/3 loss 0.5 accuracy 0.25 lr 1.00e-02",
        "train 3/3 accuracy 0.25 lr 1.00e-02",
    )
