"""docs/lifecycle.md is true: every row of its two tables is held against a run."""

from __future__ import annotations

import errno
import inspect
import math
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from applications._cli import run
from credit_like.training import Callback, LambdaHook, read_checkpoint
from credit_like.training.dispatch import EVENT_NAMES, LIFECYCLE, Dispatcher
from tests.training.accidents import Accident, at, undisturbed
from tests.training.toys import BATCH, VALID, Net, Samples, Setup, batches_of, outcome, send
from trainers import StepTrainer

pytestmark = pytest.mark.usefixtures("quick_disk")
DOCUMENT = Path(__file__).parents[2] / "docs" / "lifecycle.md"
EVENTS = ("on_fit_end", "on_cancel", "on_exception")


def table(first: str) -> list[list[str]]:
    """The rows of the table whose first column is called ``first``, without backticks."""
    lines = DOCUMENT.read_text(encoding="utf-8").replace("`", "").splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(f"| {first} |"))
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


# Events ---------------------------------------------------------------------------------------------------------------


def test_the_events_stand_in_their_order() -> None:
    assert tuple((long, short) for long, short, *_ in table("long name")) == LIFECYCLE


def test_the_arguments_are_those_of_the_callback() -> None:
    for long, _, arguments, *_ in table("long name"):
        expected = ", ".join(list(inspect.signature(getattr(Callback, long)).parameters)[1:]) if long else ""
        assert arguments == expected, long


def test_the_events_are_called_so_often(tmp_path: Path) -> None:
    calls = dict.fromkeys(EVENT_NAMES, 0)

    def counting(name: str) -> Callable[..., None]:
        def count(trainer: Any, *rest: Any) -> None:
            calls[name] += 1

        return count

    def step(batch: Any, trainer: StepTrainer) -> dict[str, Tensor]:
        return {"loss": nn.functional.mse_loss(trainer.model(batch[0]), batch[1])}

    hooks = [
        LambdaHook(**{name: counting(name) for name in EVENT_NAMES if name.startswith("on_") == long})
        for long in (True, False)
    ]
    config = {"save_loc": str(tmp_path), "trainer": {"grad_accum_every": 2}}
    StepTrainer(Net(), step, batches_of(12), batches_of(8), epochs=2, hooks=hooks, config=config).fit()
    for long, short, _, _, times in table("long name"):
        assert {calls[name] for name in (long, short) if name} == {int(times)}, (long, short)


# Endings --------------------------------------------------------------------------------------------------------------


class Life:
    """One process's life of a run, and what it was heard to do. Events go to a file: one life ends with a kill."""

    def __init__(self, setup: Setup, folder: Path, patch: pytest.MonkeyPatch, **settings: Any) -> None:
        self.setup, self.folder, self.patch = setup, folder, patch
        self.trainer = setup.trainer(folder, **settings)
        self.criterion = Loss()
        self._heard = folder.with_name("heard.txt")
        self._heard.touch()
        listening = {name: lambda *_, name=name: self._hear(name) for name in EVENTS}
        self.trainer._hooks = Dispatcher([SimpleNamespace(**listening, on_train_batch_start=self._begin)])
        self.trainer._loggers = [SilentLogger(self._hear)]
        self.began_with: tuple[int, int] | None = None

    def fit(self, trial: Any = False) -> Any:
        valid = DataLoader(Samples(VALID, 2, noise=True), BATCH, shuffle=True)
        optimizer = self.setup.build_optimizer(self.trainer.model)
        return self.trainer.fit(
            {}, self.setup.train_loader(), valid, optimizer, self.criterion, self.criterion, trial=trial
        )

    @property
    def heard(self) -> list[str]:
        return self._heard.read_text().split()

    def _hear(self, event: str) -> None:
        with self._heard.open("a") as file:
            file.write(f"{event}\n")

    def _begin(self, trainer: Any, model: nn.Module, batch: Any, batch_idx: int) -> None:
        self.began_with = self.began_with or (trainer._epoch, batch_idx)


class Loss(nn.MSELoss):
    factor = 1.0

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        return super().forward(output, target) * self.factor


class SilentLogger:
    """Says when it is closed."""

    def __init__(self, hear: Callable[[str], None]) -> None:
        self.hear = hear

    def start(self, samples: int, epoch: int) -> None: ...

    def log_batch(self, values: Any, samples: int) -> None: ...

    def log_epoch(self, row: Any, epoch: int) -> None: ...

    def close(self) -> None:
        self.hear("closed")


Act = Callable[[Life], None]


def signalled(number: signal.Signals, times: int = 1) -> Act:
    def act(life: Life) -> None:
        for _ in range(times):
            send(number)

    return act


def fails(life: Life) -> None:
    raise Accident


def time_is_up(life: Life) -> None:
    life.trainer._stop._deadline = 0.0


def memory_is_full(life: Life) -> None:
    raise torch.OutOfMemoryError("CUDA out of memory")


def loss_is_nan(life: Life) -> None:
    life.criterion.factor = math.nan


def disk_is_full(life: Life) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    life.patch.setattr("os.fsync", full)


class PrunedAfter:
    number = 0

    def __init__(self, epoch: int) -> None:
        self.epoch, self.last = epoch, -1

    def report(self, value: float, step: int) -> None:
        self.last = step

    def should_prune(self) -> bool:
        return self.last == self.epoch


@dataclass(frozen=True)
class Ending:
    """How a run ends: ``act`` comes during batch ``batch`` of epoch 1; without it the run ends by itself."""

    act: Act | None = None
    phase: str = "train"
    setup: Setup = Setup()  # noqa: RUF009  frozen
    setting: tuple[str, Any] = ("num_epoch", None)  # of the first call only
    pruned: bool = False


EPOCH, BATCH_IDX = 1, 2
ENDINGS = {
    "the last epoch is done": Ending(),
    "patience is exhausted": Ending(setup=Setup(epochs=9, patience=1)),
    "num_epoch: 2": Ending(setting=("num_epoch", 2)),
    "stop_after_epoch": Ending(setting=("stop_after_epoch", True)),
    "exception in training": Ending(fails),
    "exception in training, checkpoint_every_steps: 1": Ending(fails, setup=Setup(every_steps=1)),
    "exception in validation": Ending(fails, "valid"),
    "the loss is not finite": Ending(loss_is_nan),
    "a batch does not fit into memory": Ending(memory_is_full),
    "the disk is full": Ending(disk_is_full),
    "Ctrl-C in training": Ending(signalled(signal.SIGINT)),
    "Ctrl-C in validation": Ending(signalled(signal.SIGINT), "valid"),
    "Ctrl-C twice": Ending(signalled(signal.SIGINT, times=2)),
    "SIGTERM in training": Ending(signalled(signal.SIGTERM)),
    "SIGUSR1 in training": Ending(signalled(signal.SIGUSR1)),
    "SIGTERM in validation": Ending(signalled(signal.SIGTERM), "valid"),
    "the time limit in training": Ending(time_is_up),
    "the trial is pruned": Ending(pruned=True),
    "kill -9, power cut": Ending(signalled(signal.SIGKILL)),
}


def test_every_ending_of_the_table_is_tried() -> None:
    assert [row[0] for row in table("ending")] == list(ENDINGS)


@pytest.mark.parametrize("name", ENDINGS)
def test_an_ending(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ending, folder = ENDINGS[name], tmp_path / "run"
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)]
    life = Life(ending.setup, folder, monkeypatch, **dict([ending.setting]))
    if ending.act is not None:
        act = ending.act
        life.trainer.moment = at(ending.phase, EPOCH, BATCH_IDX, lambda: act(life))
    trial = PrunedAfter(EPOCH) if ending.pruned else False

    if "kill" in name:
        raised, code, heard = None, code_of_a_child(life), life.heard
    else:
        raised = error_of(lambda: life.fit(trial))
        code, heard = run(lambda argv: raised_again(raised), []), life.heard
        assert heard.count("closed") == 1
        assert life.trainer._folder._lock is None
        assert life.trainer.ema is not None
        assert not life.trainer.ema.swapped
        assert handlers == [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)]

    monkeypatch.setattr("os.fsync", lambda descriptor: None)
    saved = folder / "trial_results" / "trial_0" if ending.pruned else folder
    state = read_checkpoint(saved / "checkpoint.pt")
    ended_in = int(life.trainer.history.rows[-1]["epoch"]) if ending.act is None else EPOCH
    aside = (saved / "exception_checkpoint.pt").exists()

    resumed = Life(ending.setup, folder, monkeypatch)
    resumed.fit(PrunedAfter(99) if ending.pruned else False)
    if not ending.pruned:
        assert outcome(folder) == undisturbed(ending.setup)

    assert dict(zip(HEAD, next(row for row in table("ending") if row[0] == name), strict=True)) == {
        "ending": name,
        **{event: "yes" if event in heard else "no" for event in EVENTS},
        "checkpoint": reaches(state, ended_in),
        "aside": "yes" if aside else "no",
        "fit": "" if "kill" in name else described(raised),
        "exit code": "" if ending.pruned else str(code),  # of a study, and not of a run
        "a resume begins with": beginning(resumed.began_with, ended_in),
    }


HEAD = ("ending", *EVENTS, "checkpoint", "aside", "fit", "exit code", "a resume begins with")


def error_of(call: Callable[[], Any]) -> BaseException | None:
    try:
        call()
    except BaseException as error:  # noqa: BLE001  the table names it
        return error
    return None


def raised_again(error: BaseException | None) -> int:
    if error is not None:
        raise error
    return 0


def code_of_a_child(life: Life) -> int:
    """What a shell shows of a process that is killed in ``fit``."""
    child = os.fork()
    if child == 0:
        life.fit()
        os._exit(0)
    return 128 - os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def described(error: BaseException | None) -> str:
    if error is None:
        return "returns"
    return "raises it" if isinstance(error, Accident) else f"raises {type(error).__name__}"


def reaches(state: dict[str, Any], epoch: int) -> str:
    if state["position"] is None:
        return {epoch: "this epoch", epoch - 1: "the epoch before"}[state["epoch"]]
    assert state["epoch"] == epoch
    return {BATCH_IDX + 1: "this batch", BATCH_IDX: "the batch before"}[state["position"]["batches"]]


def beginning(first: tuple[int, int] | None, epoch: int) -> str:
    """What the first batch of a resumed run is to the moment at which the run had ended."""
    return {
        None: "nothing, all is done",
        (epoch, 0): "this epoch",
        (epoch + 1, 0): "the next epoch",
        (epoch, BATCH_IDX): "this batch",
        (epoch, BATCH_IDX + 1): "the next batch",
    }[first]
