"""Two processes that train together learn what one would, log what one would, and end together whatever happens."""

from __future__ import annotations

import csv
import math
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook
from torch.utils.data import DataLoader

from credit_like.config import ConfigError, UserError
from credit_like.training import (
    CheckpointError,
    OtherProcessError,
    PartitionedBatchSampler,
    Stopped,
    read_checkpoint,
)
from credit_like.training.run_folder import RunFolder
from credit_like.training.wrapping import unwrapped
from tests.training.together import results, together
from tests.training.toys import Net, Samples, Scripted, ToyTrainer, batches_of, outcome

pytestmark = pytest.mark.usefixtures("quick_disk")
EPOCHS, BATCH = 2, 4


class Smooth(nn.Module):
    """float64 and nothing random, so that a sum in another order is all that may differ."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(5)
        self.first, self.last = nn.Linear(5, 7).double(), nn.Linear(7, 1).double()
        for p in self.parameters():
            p.data = torch.randn(p.shape, generator=generator, dtype=torch.float64) / 2

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.tanh(self.first(x.double()))).squeeze(-1)


class Weighed(ToyTrainer):
    """Its loss is a mean over something else than samples, and says so."""

    def train_one_epoch(self, epoch: int, trainloader: Any, *rest: Any) -> None:
        for x, y in self.batches(trainloader):
            weights = 1 + x[:, 0].double().abs()
            loss = (weights * (self.model(x) - y) ** 2).sum() / weights.sum()
            self.optimize(loss, weight=float(weights.sum()))
            self.record("loss", loss, weight=float(weights.sum()))


@dataclass(frozen=True)
class Run:
    """What a run is made of; ``mode`` and the number of processes are all that may differ between two of them."""

    mode: str = "ddp"
    samples: int = 27
    accumulate: int = 1
    clip: float = 0.0
    model: Callable[[], nn.Module] = Smooth
    kind: type[ToyTrainer] = ToyTrainer
    adam: bool = False
    noise: bool = False
    whole_validation: bool = False
    epochs: int = EPOCHS

    def trainer(self, rank: int, folder: Path, **settings: Any) -> ToyTrainer:
        torch.manual_seed(rank)  # rank 0's weights are what counts
        conf = {
            "epochs": self.epochs, "mode": self.mode, "use_ema": True, "ema_decay": 0.9, "log_every_n_steps": 2,
            "grad_accum_every": self.accumulate, "grad_max_norm": self.clip, "load_weights": True, "seed": 3,
        }  # fmt: skip
        return self.kind(self.model(), rank, {"save_loc": str(folder), "trainer": {**conf, **settings}})

    def loaders(self) -> tuple[Any, Any]:
        train, valid = Samples(self.samples, 1, noise=self.noise), Samples(11, 2)
        share: dict[str, Any] = {"rank": 0, "num_replicas": 1} if self.whole_validation else {}
        return (
            DataLoader(train, batch_sampler=PartitionedBatchSampler(len(train), BATCH, seed=3)),
            DataLoader(valid, batch_sampler=PartitionedBatchSampler(len(valid), BATCH, shuffle=False, **share)),
        )

    def fit(self, rank: int, folder: Path, moment: Any = None, **settings: Any) -> ToyTrainer:
        trainer = self.trainer(rank, folder, **settings)
        trainer.moment = moment
        optimizer: torch.optim.Optimizer = torch.optim.SGD(trainer.model.parameters(), 0.1, momentum=0.9)
        if self.adam:
            optimizer = torch.optim.Adam(trainer.model.parameters(), 0.01)
        trainer.fit({}, *self.loaders(), optimizer, squared, squared)
        return trainer


def squared(output: Tensor, target: Tensor) -> Tensor:
    return ((output - target) ** 2).mean()


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
    said = "Stopped stopped by signal SIGTERM; the checkpoint is written, resume to go on"
    assert endings == 2 * [[said, said, "KeyboardInterrupt "]]
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


@pytest.mark.slow
@pytest.mark.parametrize("who", [0, 1])
def test_a_killed_process_ends_the_other_and_a_resume_is_exact(
    who: int, tmp_path: Path, stopped: tuple[Path, Any]
) -> None:
    endings = together(interrupted, tmp_path, NOISY, tmp_path / "run", "killed", ("train", 1, 4), who)
    assert endings[who].code == -signal.SIGKILL
    assert isinstance(endings[1 - who].error, OtherProcessError)
    assert "another process of this run ended without a word (killed, or out of memory?)" in str(endings[1 - who].error)
    results(together(to_the_end, tmp_path, NOISY, tmp_path / "run"))
    assert outcome(tmp_path / "run") == outcome(stopped[0] / "undisturbed")


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


class Patient(Scripted):
    """Each process sees losses of its own: what counts is their mean."""

    def validate(self, epoch: int, valid_loader: Any, *rest: Any) -> dict[str, float]:
        for _ in self.batches(valid_loader, "valid"):
            pass
        return {"loss": [[3.0, 1.0, 9.0, 9.0], [1.0, 2.0, 0.0, 0.0]][self.rank][min(epoch, 3)]}


class Fake:
    number = 4

    def report(self, value: float, step: int) -> None:
        self.step = step

    def should_prune(self) -> bool:
        return self.step >= 2


def scripted(rank: int, folder: Path, settings: dict[str, Any], trial: Any = False, size: int = 12) -> list[Any]:
    conf = {"save_loc": str(folder), "trainer": {"epochs": 6, "mode": "ddp", **settings}}
    trainer = Patient(Net(0.0), rank, conf)
    data = Samples(size, 0)
    loader = DataLoader(data, batch_sampler=PartitionedBatchSampler(size, 4))
    trainer.fit({}, loader, batches_of(8), torch.optim.SGD(trainer.model.parameters(), 0.01), trial=trial and Fake())
    return [(row["epoch"], row["valid_loss"]) for row in trainer.history.rows]


def decisions(rank: int, folder: Path) -> list[Any]:
    patient = scripted(rank, folder / "patient", {"stopping_patience": 2})
    said = []
    for name, settings, trial in (("limited", {"time_limit_minutes": 1e-9}, False), ("pruned", {}, rank == 0)):
        try:
            scripted(rank, folder / name, settings, trial)  # of the trial, only rank 0 knows
        except BaseException as error:  # noqa: BLE001
            said.append(f"{type(error).__name__} {error}")
    return [patient, *said]


def test_every_process_takes_the_same_decision(tmp_path: Path) -> None:
    """Patience judges the mean of what the processes saw; one clock and one trial decide for all."""
    first, second = results(together(decisions, tmp_path, tmp_path))
    assert first == second
    rows, limited, pruned = first
    assert rows == [(0, 2.0), (1, 1.5), (2, 4.5), (3, 4.5)]
    assert limited.startswith("Stopped stopped by the time limit of 1e-09 minutes")
    assert pruned.startswith("TrialPruned pruned after epoch 2: valid_loss 4.5")
    assert (tmp_path / "pruned" / "trial_results" / "trial_4" / "checkpoint.pt").exists()


def mishap(rank: int, folder: Path, kind: type[ToyTrainer], loader: Any) -> str:
    """How a run ends that cannot go on, on both processes at once: these can try another one afterwards."""
    trainer = Run(kind=kind).trainer(rank, folder)
    try:
        trainer.fit({}, loader, batches_of(8), torch.optim.SGD(trainer.model.parameters(), 0.1), squared, squared)
    except UserError as error:
        return str(error)
    return "done"


class Poisoned(ToyTrainer):
    """One process has a loss that is not finite."""

    def train_one_epoch(self, epoch: int, trainloader: Any, *rest: Any) -> None:
        for index, (x, y) in enumerate(self.batches(trainloader)):
            loss = squared(self.model(x), y)
            self.optimize(loss * math.nan if self.rank and index == 1 else loss)


class Leaving(ToyTrainer):
    """One process leaves its epoch before the other."""

    def train_one_epoch(self, epoch: int, trainloader: Any, *rest: Any) -> None:
        for index, (x, y) in enumerate(self.batches(trainloader)):
            self.optimize(squared(self.model(x), y))
            if self.rank and index == 1:
                break


class Bypassing(ToyTrainer):
    """The module inside the wrapper knows nothing of gradients that are to be shared."""

    def train_one_epoch(self, epoch: int, trainloader: Any, *rest: Any) -> None:
        for x, y in self.batches(trainloader):
            self.optimize(squared(unwrapped(self.model)(x), y))


def mishaps(rank: int, folder: Path) -> dict[str, str]:
    own = batches_of(16, seed=rank)
    wrong = DataLoader(Samples(8, 0), batch_sampler=PartitionedBatchSampler(8, 4, rank=1, num_replicas=3))
    return {
        "unequal": mishap(rank, folder / "a", ToyTrainer, own if rank == 0 else own[:2]),
        "leaving": mishap(rank, folder / "b", Leaving, own),
        "bypassing": mishap(rank, folder / "c", Bypassing, own),
        "alike": mishap(rank, folder / "d", ToyTrainer, DataLoader(Samples(8, 0), 4)),
        "wrong share": mishap(rank, folder / "e", ToyTrainer, wrong),
        "unknown": mishap(rank, folder / "f", ToyTrainer, own),
        "poisoned": mishap(rank, folder / "g", Poisoned, own),
    }


MISHAPS = {
    "unequal": "the training loaders differ in length: of batch 3 of epoch 0, process 0 has, process 1 has no more. "
    "Give each process as many batches as the others (PartitionedBatchSampler does)",
    "leaving": "the processes of this run have parted: process 0 goes on to another batch, process 1 has ended its ep",
    "bypassing": "the weights of the processes have parted in epoch 0 (their norms are [",
    "alike": "train_loader would give each of the 2 processes the same batches: give a DataLoader batch_sampler=Part",
    "wrong share": "train_loader is the share of process 1 of 3, but this is process ",
    "unknown": "done",
    "poisoned": "the training loss is nan at optimizer step ",
}


def test_what_cannot_go_on_ends_all_by_name(tmp_path: Path) -> None:
    """The first says what it is, the others say whose message it is, and nothing hangs."""
    endings = together(mishaps, tmp_path, tmp_path)
    said = results(endings)
    for name, message in MISHAPS.items():
        for part in said:
            assert part[name].split(" failed: ")[-1].startswith(message), (name, part[name])
    doubt = "train_loader does not say that each of the 2 processes gets a share of its own"
    assert [ending.printed.count(doubt) for ending in endings] == [5, 0]


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
    with pytest.raises(ConfigError, match=r"trainer\.mode fsdp .* is not supported; .* set trainer\.mode: ddp"):
        Run(mode="fsdp").trainer(0, tmp_path)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match=r"torchrun has started 2 processes, but trainer\.mode is none: each would"):
        Run(mode="none").fit(0, tmp_path)


def test_names_in_a_checkpoint_are_the_models_own(stopped: tuple[Path, Any]) -> None:
    state = read_checkpoint(stopped[0] / "undisturbed" / "checkpoint.pt")
    assert list(state["model"]) == list(Net().state_dict())
