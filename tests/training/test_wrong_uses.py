"""What somebody in a hurry does wrong, and the one message that each of it gives."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from credit_like.config import ConfigError, UserError
from credit_like.training import Callback
from tests.training.toys import Net, Scripted, Setup, batches_of, fit_scripted

pytestmark = pytest.mark.usefixtures("quick_disk")

LOSSES: dict[str, tuple[Callable[[Tensor], Any], str]] = {
    "a number": (lambda loss: 0.5, r"needs the loss as a tensor, not 0.5 \(float\): leave .item\(\) and float\(\) out"),
    "nothing": (lambda loss: None, r"needs the loss as a tensor, not None"),
    "not reduced": (lambda loss: loss * torch.ones(3), r"needs a loss of one element, got the shape \(3,\): take its"),
    "detached": (lambda loss: loss.detach(), "the loss depends on no weight that is trained: it was detached"),
}


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_that_cannot_be_learnt_from(name: str, tmp_path: Path) -> None:
    wrong, message = LOSSES[name]

    class Wrong(Scripted):
        def train_one_epoch(self, epoch: int, trainloader: Any, *rest: Any) -> None:
            for x, _ in self.batches(trainloader):
                self.optimize(wrong(self.model(x).mean()))

    with pytest.raises((TypeError, RuntimeError), match=message):
        fit_scripted(tmp_path, kind=Wrong)


RESULTS: dict[str, tuple[Any, str]] = {
    "no dict": (0.5, r"train_one_epoch must return a dict of results, or None; got 0.5 \(float\)"),
    "a word": ({"accuracy": "good"}, "train_accuracy must be a number, or a list of one a batch; got 'good'"),
    "a vector": ({"accuracy": torch.zeros(2)}, "train_accuracy must be a number, or a list of one a batch; got tensor"),
}


@pytest.mark.parametrize("name", RESULTS)
def test_results_that_are_no_numbers(name: str, tmp_path: Path) -> None:
    returned, message = RESULTS[name]

    class Wrong(Scripted):
        def train_one_epoch(self, epoch: int, trainloader: Any, *rest: Any) -> Any:
            super().train_one_epoch(epoch, trainloader)
            return returned

    with pytest.raises((TypeError, ValueError), match=message):
        fit_scripted(tmp_path, kind=Wrong)


def test_a_recorded_value_that_is_no_number(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"record\('speed'\): needs a number, got 'fast'"):
        Setup().trainer(tmp_path).record("speed", "fast")  # type: ignore[arg-type]


def test_a_backward_pass_of_ones_own_before_optimize(tmp_path: Path) -> None:
    class Twice(Scripted):
        def train_one_epoch(self, epoch: int, trainloader: Any, *rest: Any) -> None:
            for x, y in self.batches(trainloader):
                loss = nn.functional.mse_loss(self.model(x), y)
                loss.backward()  # type: ignore[no-untyped-call]
                self.optimize(loss)

    with pytest.raises(UserError, match=r"self.optimize\(loss\) makes the backward pass itself, so leave loss.backw"):
        fit_scripted(tmp_path, kind=Twice)


def test_a_setting_beside_its_section_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Scripted(Net(), 0, {"save_loc": str(tmp_path), "epochs": 5, "path": "own"})
    said = "conf has epochs beside its section trainer, where the engine does not look: put it inside"
    assert said in capsys.readouterr().err


def of_another_model(trainer: Scripted) -> dict[str, Any]:
    return {"optimizer": torch.optim.SGD(Net().parameters(), 0.1)}


FITS: dict[str, tuple[Callable[[Scripted], dict[str, Any]], str]] = {
    "another model's optimizer": (of_another_model, "none of the optimizer's parameters is one of trainer.model's, wh"),
    "a class": (
        lambda trainer: {"optimizer": torch.optim.SGD},
        "over trainer.model's parameters; got the class SGD an",
    ),
    "a schedule's name": (lambda trainer: {"scheduler": "plateau"}, r"by name goes into the setting trainer\.schedule"),
    "no conf": (lambda trainer: {"conf": batches_of()}, "conf must be a mapping, as with save_loc and .*; got a list"),
}


@pytest.mark.parametrize("name", FITS)
def test_what_fit_cannot_take(name: str, tmp_path: Path) -> None:
    given, message = FITS[name]
    trainer = Scripted(Net(), 0, {"save_loc": str(tmp_path)})
    right = {"optimizer": torch.optim.SGD(trainer.model.parameters(), 0.1), "conf": {}}
    with pytest.raises((TypeError, ConfigError), match=message):
        trainer.fit(train_loader=batches_of(), valid_loader=batches_of(), **right | given(trainer))  # type: ignore[arg-type]


def test_an_optimizer_may_hold_a_criterions_weights_too(tmp_path: Path) -> None:
    trainer = Scripted(Net(), 0, {"save_loc": str(tmp_path)})
    parameters = [nn.Parameter(torch.zeros(1)), *trainer.model.parameters()]
    assert trainer.fit({}, batches_of(), batches_of(8), torch.optim.SGD(parameters, 0.1))["epoch"] == 0


CONSTRUCTIONS: dict[str, tuple[tuple[Any, ...], str]] = {
    "no module": ((lambda x: x, 0, {}), "a trainer's model is a torch.nn.Module; got a function"),
    "rank as text": ((Net(), "0", {}), "rank must be an int; got '0'"),
    "rank of nobody": ((Net(), 1, {}), r"rank is 1, but this process is alone \(trainer.mode is none\): pass 0"),
    "a file's name": ((Net(), 0, "conf.yml"), "conf must be a mapping, .*; got 'conf.yml'"),
    "no section": ((Net(), 0, {"trainer": [1]}), r"conf\['trainer'\] must be a mapping of settings; got \[1\]"),
    "a callback in no list": (
        (Net(), 0, {}, Callback()),
        r"callbacks are a list, of one too: callbacks=\[...\]; got a Callback",
    ),
    "a logger's name": ((Net(), 0, {}, (), ["csv"]), "a logger has start, log_batch, log_epoch and close; got 'csv'"),
}


@pytest.mark.parametrize("name", CONSTRUCTIONS)
def test_what_a_trainer_cannot_be_made_of(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RANK", raising=False)
    (model, rank, conf, *rest), message = CONSTRUCTIONS[name]
    conf = {"save_loc": str(tmp_path), **conf} if isinstance(conf, dict) else conf
    with pytest.raises((TypeError, ValueError, ConfigError), match=message):
        Scripted(model, rank, conf, *rest)


def test_an_epoch_that_learns_nothing_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    class Forgetful(Scripted):
        def train_one_epoch(self, epoch: int, trainloader: Any, *rest: Any) -> None:
            for x, _ in self.batches(trainloader):
                self.record("loss", self.model(x).mean())

    said = "epoch 1 made no optimizer step: nothing called optimize(loss)"
    fit_scripted(tmp_path / "a", kind=Forgetful, epochs=1)
    assert said in capsys.readouterr().err
    fit_scripted(tmp_path / "b", epochs=1)
    assert said not in capsys.readouterr().err


def test_passes_that_cannot_differ_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    conf = {"save_loc": str(tmp_path), "trainer": {"ensemble_size": 3}}
    said = re.compile(r"trainer\.ensemble_size is 3, but Linear has no module such as nn\.Dropout")
    Scripted(nn.Linear(5, 1), 0, conf)
    assert said.search(capsys.readouterr().err)
    Scripted(Net(), 0, conf)
    assert not said.search(capsys.readouterr().err)
