"""What one process of a run meets, all act upon: patience, the clock, a trial, and what cannot go on."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader

from credit_like.config import UserError
from credit_like.training import PartitionedBatchSampler
from credit_like.training.wrapping import unwrapped
from tests.training.shared_run import Run, squared
from tests.training.together import results, together
from tests.training.toys import Net, Samples, Scripted, ToyTrainer, batches_of

pytestmark = pytest.mark.usefixtures("quick_disk")


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
    assert pruned.startswith("TrialPruned pruned after epoch 3: valid_loss 4.5")
    assert (tmp_path / "pruned" / "trial_results" / "trial_4" / "checkpoint.pt").exists()


def mishap(rank: int, folder: Path, kind: type[ToyTrainer], loader: Any, mode: str = "ddp") -> str:
    """How a run ends that cannot go on, on both processes at once: these can try another one afterwards."""
    trainer = Run(kind=kind, mode=mode).trainer(rank, folder)
    valid = Run().loaders()[1]
    try:
        trainer.fit({}, loader, valid, torch.optim.SGD(trainer.model.parameters(), 0.1), squared, squared)
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


class GatheringAlone(ToyTrainer):
    """Only one process asks for the rows of all."""

    def validate(self, epoch: int, valid_loader: Any, *rest: Any) -> None:
        super().validate(epoch, valid_loader, *rest)
        if self.rank:
            self.gathered(torch.zeros(3))


class LeavingValidation(ToyTrainer):
    """Where each has a part of the weights, one process leaves its validation before the other."""

    def validate(self, epoch: int, valid_loader: Any, criterion: Any, metrics: Any) -> None:
        for x, y in self.batches(valid_loader, "valid"):
            self.record("loss", criterion(self.model(x), y))
            if self.rank:
                break


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
        "gathering alone": mishap(rank, folder / "h", GatheringAlone, own),
        "leaving validation": mishap(rank, folder / "i", LeavingValidation, own, "fsdp"),
        # Last, since process 0 only notices when the connection to process 1 breaks.
        "poisoned": mishap(rank, folder / "g", Poisoned, own),
    }


MISHAPS = {
    "unequal": "the training loaders differ in length: of batch 3 of epoch 1, process 0 has, process 1 has no more. "
    "Give each process as many batches as the others (PartitionedBatchSampler does)",
    "leaving": "the processes of this run have parted: process 0 goes on to another batch, process 1 has ended its ep",
    "bypassing": "the weights of the processes have parted in epoch 1 (their norms are [",
    "alike": "train_loader would give each of the 2 processes the same batches: give a DataLoader batch_sampler=Part",
    "wrong share": "train_loader is the share of process 1 of 3, but this is process ",
    "unknown": "done",
    "poisoned": "the training loss is nan at optimizer step ",
    "gathering alone": "the processes of this run have parted: process 0 has something to tell the others, such as an "
    "epoch's results, process 1 calls gathered. Each must go",
    "leaving validation": "the processes of this run have parted: process 0 goes on to a batch that is not for training"
    ", process 1 has something to tell the others",
}


def test_what_cannot_go_on_ends_all_by_name(tmp_path: Path) -> None:
    """The first says what it is, the others say whose message it is, and nothing hangs."""
    endings = together(mishaps, tmp_path, tmp_path)
    said = results(endings)
    for name, message in MISHAPS.items():
        for part in said:
            assert part[name].split(" failed: ")[-1].startswith(message), (name, part[name])
    doubt = "train_loader does not say that each of the 2 processes gets a share of its own"
    assert [ending.printed.count(doubt) for ending in endings] == [7, 0]
