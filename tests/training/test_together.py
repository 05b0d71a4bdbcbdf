"""Two processes that train together learn what one would, log what one would, and end together whatever happens."""

from __future__ import annotations

import csv
import math
import os
import signal
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook

from credit_like.config import ConfigError, UserError
from credit_like.training import (
    CheckpointError,
    OtherProcessError,
    Stopped,
    read_checkpoint,
)
from credit_like.training.run_folder import RunFolder
from tests.training.shared_run import Run, Smooth, Weighed, squared
from tests.training.together import results, together
from tests.training.toys import Net, ToyTrainer, outcome

pytestmark = pytest.mark.usefixtures("quick_disk")


def learnt(rank: int, run: Run, folder: Path) -> dict[str, Any]:
    trainer = run.fit(rank, folder)
    assert trainer.ema is not None
    return {
        "model": trainer._model_state_dict(trainer.model),
        "ema": trainer.ema.state_dict()["shadow"],
        "rows": trainer.history.rows,
        "state": trainer.step_state,
    }


def close(one: Any, other: Any) -> None:
    torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)


RUNS = {
    "plain": Run(),
    "accumulation, last group short": Run(accumulate=3),
    "accumulation, clipped": Run(accumulate=2, clip=0.05),
    "clipped, validated whole": Run(clip=0.05, whole_validation=True),
    "adam": Run(adam=True),
    "weights of its own": Run(kind=Weighed, accumulate=3),
}


def learnt_all(rank: int, folder: Path) -> dict[str, Any]:
    return {name: learnt(rank, run, folder / name) for name, run in RUNS.items()}


def test_two_processes_learn_what_one_does(tmp_path: Path) -> None:
    """Uneven last batches, last short groups, clipping: parameters, averages, log and counters."""
    everything = results(together(learnt_all, tmp_path, tmp_path))
    for name, run in RUNS.items():
        alone = learnt(0, replace(run, mode="none"), tmp_path / f"{name}, alone")
        first, second = (part[name] for part in everything)
        close(first["model"], alone["model"])
        close(first["ema"], alone["ema"])
        for kind in ("model", "ema"):
            assert all(torch.equal(first[kind][n], second[kind][n]) for n in first[kind])
        assert first["rows"] == second["rows"]
        assert first["state"] == second["state"] == replace(alone["state"], num_processes=2)
        logged, expected = (csv_rows(tmp_path / folder) for folder in (name, f"{name}, alone"))
        assert [list(row) for row in logged] == [list(row) for row in expected]
        for row, other in zip(logged, expected, strict=True):
            for column in row:
                assert math.isclose(float(row[column]), float(other[column]), rel_tol=1e-9), (name, column)


def csv_rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "training_log.csv").open() as file:
        return list(csv.DictReader(file))


def count_shared(rank: int, run: Run, folder: Path) -> int:
    trainer = run.trainer(rank, folder)
    calls = 0

    def counted(state, bucket):  # type: ignore[no-untyped-def]  # torch reads annotations, and takes only its own
        nonlocal calls
        calls += 1
        return allreduce_hook(state, bucket)

    trainer.model.register_comm_hook(None, counted)  # type: ignore[operator]
    trainer.fit({}, *run.loaders(), torch.optim.SGD(trainer.model.parameters(), 0.1), squared, squared)
    return calls


def test_gradients_are_shared_at_the_end_of_a_group_only(tmp_path: Path) -> None:
    """7 batches, groups of 3: two full groups an epoch share in their last backward pass."""
    assert results(together(count_shared, tmp_path, Run(accumulate=3), tmp_path / "run")) == [4, 4]


NOISY = Run(model=Net, noise=True, accumulate=2, samples=28)
STOPS = [("SIGTERM", ("train", 1, 3), 1), ("SIGTERM", ("valid", 0, 1), 1), ("SIGINT", ("train", 0, 2), 0)]


def interrupted(rank: int, run: Run, folder: Path, fate: str, at: tuple[str, int, int], who: int) -> None:
    def moment(phase: str, epoch: int, batch: int) -> None:
        if (phase, epoch, batch) == at and rank == who:
            if fate == "exception":
                raise ZeroDivisionError("by zero")
            if fate == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            signal.raise_signal(getattr(signal, fate))

    run.fit(rank, folder, moment, checkpoint_every_steps=1)


def to_the_end(rank: int, run: Run, folder: Path) -> None:
    run.fit(rank, folder, checkpoint_every_steps=1)


def stopped_and_resumed(rank: int, folder: Path) -> list[str]:
    to_the_end(rank, NOISY, folder / "undisturbed")
    endings = []
    for number, stop in enumerate(STOPS):
        try:
            interrupted(rank, NOISY, folder / str(number), *stop)
        except (Stopped, KeyboardInterrupt) as error:
            endings.append(f"{type(error).__name__} {error}")
        to_the_end(rank, NOISY, folder / str(number))
    return endings


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[list[str]]]:
    folder = tmp_path_factory.mktemp("stopped")
    return folder, results(together(stopped_and_resumed, folder, folder))


def test_a_signal_to_one_process_stops_both_and_a_resume_is_exact(stopped: tuple[Path, list[list[str]]]) -> None:
    folder, endings = stopped
    go_on = "the checkpoint is written, resume to go on"
    said = f"Stopped stopped by signal SIGTERM; {go_on}"
    assert endings == 2 * [[said, said, f"KeyboardInterrupt {go_on}"]]
    for number in range(len(STOPS)):
        assert outcome(folder / str(number)) == outcome(folder / "undisturbed")


@pytest.mark.parametrize(
    ("at", "who"),
    [
        (("train", 1, 5), 1),
        pytest.param(("valid", 1, 2), 1, marks=pytest.mark.slow),
        pytest.param(("train", 0, 6), 0, marks=pytest.mark.slow),
    ],
)
def test_a_failure_of_one_process_ends_both_and_a_resume_is_exact(
    at: tuple[str, int, int], who: int, tmp_path: Path, stopped: tuple[Path, Any]
) -> None:
    endings = together(interrupted, tmp_path, NOISY, tmp_path / "run", "exception", at, who)
    assert isinstance(endings[who].error, ZeroDivisionError), endings
    assert isinstance(endings[1 - who].error, OtherProcessError), endings
    assert str(endings[1 - who].error) == f"process {who} of 2 failed: ZeroDivisionError: by zero"
    results(together(to_the_end, tmp_path, NOISY, tmp_path / "run"))
    assert outcome(tmp_path / "run") == outcome(stopped[0] / "undisturbed")


class SometimesUsed(Smooth):
    """Process 1 uses a weight that process 0 does not, and would wait for its gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.branch = nn.Linear(5, 1).double()

    def forward(self, x: Tensor) -> Tensor:
        own = self.branch(x.double()).squeeze(-1) if torch.distributed.get_rank() else 0.0
        return super().forward(x) + own


class FailingInTest(ToyTrainer):
    def validate(self, *arguments: Any) -> None:
        if self.rank and self._phase == "test":
            raise ZeroDivisionError("by zero")
        super().validate(*arguments)


def failing(rank: int, where: str, folder: Path) -> None:
    run = Run(epochs=1, kind=FailingInTest, model=SometimesUsed if where == "a weight" else Smooth)
    trainer = run.trainer(rank, folder)
    train, valid = run.loaders()
    optimizer = torch.optim.SGD(trainer.model.parameters(), 0.1)
    trainer.fit({}, iter(train) if rank and where == "an argument" else train, valid, optimizer, squared, squared)
    trainer.test(valid)


FAILURES = {
    "a weight": (0, "the loss did not depend on branch.weight, branch.bias, and with trainer.mode: ddp it must"),
    "test": (1, "ZeroDivisionError: by zero"),
    "an argument": (1, "TypeError: train_loader is a one-shot"),
}


@pytest.mark.parametrize("where", ["a weight", "test", pytest.param("an argument", marks=pytest.mark.slow)])
def test_a_failure_of_one_process_is_what_the_other_reports(where: str, tmp_path: Path) -> None:
    """Before the first batch, in a backward pass that the other waits in, and outside ``fit``."""
    who, message = FAILURES[where]
    endings = together(failing, tmp_path, where, tmp_path / "run")
    assert message in f"{type(endings[who].error).__name__}: {endings[who].error}"
    assert isinstance(endings[1 - who].error, OtherProcessError), endings
    assert str(endings[1 - who].error).startswith(f"process {who} of 2 failed: {message}")


@pytest.mark.slow
@pytest.mark.parametrize("who", [0, 1])
def test_a_killed_process_ends_the_other_and_a_resume_is_exact(
    who: int, tmp_path: Path, stopped: tuple[Path, Any]
) -> None:
    endings = together(interrupted, tmp_path, NOISY, tmp_path / "run", "killed", ("train", 1, 4), who)
    assert endings[who].code == -signal.SIGKILL
    assert isinstance(endings[1 - who].error, OtherProcessError)
    lost = f"process {who} of 2 was lost: killed, out of memory, or silent for longer than trainer.process_timeout_s"
    assert lost in str(endings[1 - who].error)
    results(together(to_the_end, tmp_path, NOISY, tmp_path / "run"))
    assert outcome(tmp_path / "run") == outcome(stopped[0] / "undisturbed")


def silent(rank: int, run: Run, folder: Path) -> None:
    """Process 1 hangs in its second epoch: it lives, and says nothing any more."""

    def moment(phase: str, epoch: int, batch: int) -> None:
        if (phase, epoch, batch, rank) == ("train", 1, 2, 1):
            threading.Event().wait()

    run.trainer(rank, folder.with_name("another"))  # whose time is the default
    run.fit(rank, folder, moment, process_timeout_s=2)


@pytest.mark.slow
def test_a_process_that_hangs_ends_the_run_in_the_configured_time_and_is_named(tmp_path: Path) -> None:
    waiting, _ = together(silent, tmp_path, NOISY, tmp_path / "run", hanging=1)
    assert isinstance(waiting.error, OtherProcessError), waiting
    assert "process 1 of 2 was lost: killed, out of memory, or silent for longer than" in str(waiting.error)


def with_a_nan(rank: int, folder: Path) -> None:
    """A configuration that is nowhere unlike, though NaN is unlike itself."""
    run = Run(epochs=1)
    trainer = ToyTrainer(Smooth(), rank, {"save_loc": str(folder), "weight": math.nan, "trainer": {"mode": "ddp"}})
    trainer.fit({}, *run.loaders(), torch.optim.SGD(trainer.model.parameters(), 0.1), squared, squared)


def other_settings(rank: int, folder: Path) -> str:
    with_a_nan(rank, folder.with_name("nan"))
    try:
        Run(accumulate=1 + rank, clip=rank).fit(rank, folder)
    except UserError as error:
        return str(error)
    return "nothing was refused"


def test_processes_with_different_configurations_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    for said in results(together(other_settings, tmp_path, tmp_path / "run")):
        assert "the configuration differs between the processes of this run: trainer.grad_accum_every is 1 on" in said
        assert "2 on process 1; and so do trainer.grad_max_norm. Start all of them with the same" in said
    assert not (tmp_path / "run" / "checkpoint.pt").exists()


def test_random_numbers_differ_between_processes_and_are_kept_for_each(stopped: tuple[Path, Any]) -> None:
    state = read_checkpoint(stopped[0] / "undisturbed" / "checkpoint.pt")
    (other,) = state["other_processes"]
    assert not torch.equal(state["rng"]["now"]["torch"], other["rng"]["now"]["torch"])
    assert state["step_state"]["num_processes"] == 2


def speak(rank: int, folder: Path) -> tuple[int, str]:
    run = Run()
    trainer = run.trainer(rank, folder, use_tensorboard=True)
    sgd = torch.optim.SGD(trainer.model.parameters(), 0.1)
    trainer.fit({}, *run.loaders(), sgd, squared, squared)
    held = RunFolder(folder)
    if rank == 0:
        held.acquire()
    try:
        run.fit(rank, folder)
    except UserError as error:
        return len(trainer._loggers), str(error)
    finally:
        held.release()
    return 0, "a folder in use was taken"


def test_only_rank_0_writes_and_speaks_and_holds_the_folder(tmp_path: Path) -> None:
    speaker, silent = endings = together(speak, tmp_path, tmp_path / "run")
    (loggers, refused), (no_loggers, told) = results(endings)
    assert speaker.printed.count("epoch 1/2 ") == 1, speaker.printed
    assert silent.printed == ""
    assert (loggers, no_loggers) == (1, 0)
    assert len(list((tmp_path / "run" / "tensorboard" / "epochs").iterdir())) == 1
    assert "is in use by process" in refused
    assert told == f"process 0 of 2 failed: {refused}"


def test_another_number_of_processes_goes_on_from_the_end_of_an_epoch(tmp_path: Path) -> None:
    run = Run(epochs=1)
    two = results(together(learnt, tmp_path, run, tmp_path / "run"))[0]
    alone = learnt(0, replace(run, mode="none"), tmp_path / "run")  # the epochs are done: this is what was loaded
    assert all(torch.equal(alone["model"][name], two["model"][name]) for name in two["model"])
    assert all(torch.equal(alone["ema"][name], two["ema"][name]) for name in two["ema"])
    more = learnt(0, replace(run, mode="none", epochs=2), tmp_path / "run")
    undisturbed = learnt(0, replace(run, mode="none", epochs=2), tmp_path / "alone")
    close(more["model"], undisturbed["model"])
    back = results(together(learnt, tmp_path, replace(run, epochs=3), tmp_path / "run"))
    close(back[1]["model"], learnt(0, replace(run, mode="none", epochs=3), tmp_path / "alone 3")["model"])


def test_another_number_of_processes_is_refused_in_mid_epoch(tmp_path: Path) -> None:
    together(interrupted, tmp_path, NOISY, tmp_path / "run", "SIGTERM", ("train", 1, 3), 0)
    with pytest.raises(CheckpointError, match=r"taken in the middle of an epoch by 2 process\(es\).*now there are 1"):
        replace(NOISY, mode="none").fit(0, tmp_path / "run")


def test_a_mode_without_torchrun_and_torchrun_without_a_mode_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match=r"trainer\.mode is ddp, but torchrun has not started this process"):
        Run(mode="ddp").trainer(0, tmp_path)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match=r"torchrun has started 2 processes, but trainer\.mode is none: each would"):
        Run(mode="none").fit(0, tmp_path)


def test_names_in_a_checkpoint_are_the_models_own(stopped: tuple[Path, Any]) -> None:
    state = read_checkpoint(stopped[0] / "undisturbed" / "checkpoint.pt")
    assert list(state["model"]) == list(Net().state_dict())
