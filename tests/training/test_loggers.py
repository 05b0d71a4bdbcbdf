"""TensorBoard, read back from its event files: after a resume no point is doubled and none is lost."""

from __future__ import annotations

import math
import signal
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.summary.writer import event_file_writer
from torch import nn

from credit_like.training import Logger, TensorBoardLogger
from credit_like.training.stopping import Stopped
from tests.training.toys import Net, Setup, ToyTrainer, batches_of, send

pytestmark = pytest.mark.usefixtures("quick_disk", "later_each_time")
Points = dict[str, list[tuple[int, float]]]


@pytest.fixture
def later_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Event files are read in the order of their names, which begin with the second they were made in."""
    asked = 0

    def clock() -> float:
        nonlocal asked
        asked += 1
        return time.time() + 10 * asked

    monkeypatch.setattr(event_file_writer, "time", SimpleNamespace(time=clock))


def points(folder: Path, writer: str) -> Points:
    events = EventAccumulator(str(folder / "tensorboard" / writer), size_guidance={"scalars": 0})
    events.Reload()
    return {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def test_names_and_steps_of_what_a_run_logs(tmp_path: Path) -> None:
    setup = Setup(epochs=2)
    rows = setup.fit(tmp_path, use_tensorboard=True).history.rows
    epochs = points(tmp_path, "epochs")
    assert set(epochs) == {"loss/train", "loss/valid", "mae/valid", "train/lr"}
    assert epochs["loss/valid"] == [(row["epoch"], pytest.approx(row["valid_loss"])) for row in rows]
    batches = points(tmp_path, "batches")
    assert set(batches) == {"loss/train"}
    assert [step for step, _ in batches["loss/train"]] == [8, 16, 24, 30, 38, 46, 52]  # samples seen


@pytest.mark.parametrize("how", ["signal", "exception", "before the first checkpoint"])
def test_after_a_resume_no_point_is_doubled_or_lost(how: str, tmp_path: Path) -> None:
    setup = Setup(epochs=3)
    setup.fit(tmp_path / "undisturbed", use_tensorboard=True)

    def stop(*moment: Any) -> None:
        if how == "signal" and moment in (("train", 0, 4), ("train", 2, 2)):
            send(signal.SIGTERM)
        elif (how == "exception" and moment[1:] == (1, 5)) or (how[0] == "b" and moment == ("valid", 0, 1)):
            raise ZeroDivisionError

    for _ in range(2 if how == "signal" else 1):
        with pytest.raises((Stopped, ZeroDivisionError)):
            setup.fit(tmp_path / "resumed", stop, use_tensorboard=True)
    setup.fit(tmp_path / "resumed", use_tensorboard=True)
    for writer in ("batches", "epochs"):
        assert points(tmp_path / "resumed", writer) == points(tmp_path / "undisturbed", writer)


def test_a_value_that_is_recorded_rarely_is_logged_on_after_a_resume(tmp_path: Path) -> None:
    """At each logged step loggers are told the latest value of each name, also of one from before the checkpoint."""

    class Rarely(ToyTrainer):
        def _passed(self, phase: str, epoch: int) -> None:
            if phase == "train" and len(self._weights) == 0:
                self.record("temperature", 7.0)
            super()._passed(phase, epoch)

    def fit(folder: Path, stop_at: tuple[str, int, int] | None) -> None:
        setup = Setup(epochs=1)
        trainer = Rarely(setup.trainer(folder).model, 0, setup.trainer(folder, use_tensorboard=True).conf)
        trainer.moment = lambda *moment: send(signal.SIGTERM) if moment == stop_at else None
        optimizer = setup.build_optimizer(trainer.model)
        trainer.fit({}, setup.train_loader(), batches_of(), optimizer, nn.MSELoss(), nn.MSELoss())

    fit(tmp_path / "undisturbed", None)
    with pytest.raises(Stopped):
        fit(tmp_path / "resumed", ("train", 0, 3))
    fit(tmp_path / "resumed", None)
    expected = points(tmp_path / "undisturbed", "batches")
    assert len(expected["temperature/train"]) == 3
    assert points(tmp_path / "resumed", "batches") == expected


def test_batch_values_are_on_disk_at_once(tmp_path: Path) -> None:
    """A killed process flushes nothing; the resumed one goes on behind its checkpoint."""
    logger = TensorBoardLogger(tmp_path / "tensorboard")
    logger.start(0, 0)
    logger.log_batch({"train_loss": 1.5}, 4)
    logger.log_epoch({"valid_loss": 2.5}, 0)
    assert points(tmp_path, "batches") == {"loss/train": [(4, 1.5)]}
    assert points(tmp_path, "epochs") == {"loss/valid": [(0, 2.5)]}
    logger.close()


def test_non_finite_values_are_left_out_with_one_warning_a_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    logger = TensorBoardLogger(tmp_path / "tensorboard")
    logger.start(0, 0)
    for epoch, value in enumerate((1.0, math.nan, math.inf, 2.0)):
        logger.log_epoch({"valid_loss": value, "valid_mae": -value}, epoch)
    logger.close()
    assert points(tmp_path, "epochs")["loss/valid"] == [(0, 1.0), (3, 2.0)]
    said = capsys.readouterr().err
    assert said.count("tensorboard: valid_loss is nan; non-finite values are left out") == 1
    assert said.count("tensorboard:") == 2


class Listed:
    def __init__(self) -> None:
        self.told: list[Any] = []

    def start(self, samples: int, epoch: int) -> None:
        self.told.append(("start", samples, epoch))

    def log_batch(self, values: Any, samples: int) -> None:
        self.told.append(("batch", samples))

    def log_epoch(self, row: Any, epoch: int) -> None:
        self.told.append(("epoch", epoch, sorted(row)))

    def close(self) -> None:
        self.told.append("close")


def test_what_a_logger_is_told(tmp_path: Path) -> None:
    logger = Listed()
    assert isinstance(logger, Logger)
    conf = {"save_loc": str(tmp_path), "trainer": {"log_every_n_steps": 2}}
    trainer = ToyTrainer(Net(), 0, conf, loggers=[logger])
    optimizer = torch.optim.SGD(trainer.model.parameters(), 0.01)
    trainer.fit({}, batches_of(16), batches_of(), optimizer, nn.MSELoss(), nn.MSELoss())
    row = ["lr", "train_loss", "valid_loss", "valid_mae"]
    assert logger.told == [("start", 0, 0), ("batch", 8), ("batch", 16), ("epoch", 0, row), "close"]


def test_loggers_are_closed_after_an_exception(tmp_path: Path) -> None:
    logger = Listed()
    trainer = ToyTrainer(Net(), 0, {"save_loc": str(tmp_path), "trainer": {}}, loggers=[logger])
    optimizer = torch.optim.SGD(trainer.model.parameters(), 0.01)
    with pytest.raises(TypeError):
        trainer.fit({}, batches_of(16), batches_of(), optimizer, None)  # no criterion to call
    assert logger.told == [("start", 0, 0), "close"]


def test_only_rank_0_logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    conf = {"save_loc": str(tmp_path), "trainer": {"use_tensorboard": True}}
    for rank, loggers in ((0, 2), (1, 0)):
        monkeypatch.setenv("RANK", str(rank))
        assert len(ToyTrainer(Net(), rank, conf, loggers=[Listed()])._loggers) == loggers
