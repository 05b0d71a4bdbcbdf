"""Preflight: it notices what it should, and leaves no trace."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from credit_like.training.failures import BatchOutOfMemoryError, explained
from credit_like.training.preflight import (
    DataLoadingHangError,
    bytes_in,
    estimated_bytes,
    peak_of_one_step,
    preflight,
    undone,
)
from credit_like.training.rng import rng_state
from tests.training.toys import Setup, batches_of, frozen, outcome


class Hanging:
    """A loader that waits for what never comes, until the test lets it go."""

    num_workers, prefetch_factor = 0, None

    def __init__(self) -> None:
        self.go = threading.Event()

    def __iter__(self) -> Iterator[Any]:
        self.go.wait()
        return iter(())


def test_a_loader_that_hangs_is_named_before_training(tmp_path: Path) -> None:
    setup, loader = Setup(), Hanging()
    trainer = setup.trainer(tmp_path, dataloader_timeout_s=0.05)
    with pytest.raises(
        DataLoadingHangError, match=r"DATA LOADING HANG DETECTED: no batch within 0\.05 s.*thread_workers=0"
    ):
        trainer.fit({}, loader, batches_of(), setup.build_optimizer(trainer.model), nn.MSELoss(), nn.MSELoss())
    loader.go.set()


def test_a_failing_loader_keeps_its_own_error(tmp_path: Path) -> None:
    class Broken:
        def __iter__(self) -> Iterator[Any]:
            raise OSError("the disk is gone")

    setup = Setup()
    trainer = setup.trainer(tmp_path)
    with pytest.raises(OSError, match="the disk is gone"):
        trainer.fit({}, Broken(), batches_of(), setup.build_optimizer(trainer.model), nn.MSELoss(), nn.MSELoss())


@pytest.mark.parametrize("loader", ["DataLoader", "cursor"])
def test_a_run_with_preflight_is_bit_for_bit_one_without(tmp_path: Path, loader: str) -> None:
    setup = Setup(loader=loader)
    setup.fit(tmp_path / "with", preflight=True)
    setup.fit(tmp_path / "without", preflight=False)
    assert outcome(tmp_path / "with") == outcome(tmp_path / "without")


def test_a_loader_stays_where_it_stood(tmp_path: Path) -> None:
    class GoesOn:
        """Knows no epochs: it goes on from its position, whoever draws."""

        position = 0

        def state_dict(self) -> dict[str, int]:
            return {"position": self.position}

        def __iter__(self) -> Iterator[Any]:
            while self.position < 3:
                self.position += 1
                yield batches_of()[0]

    loader = GoesOn()
    preflight(Setup().trainer(tmp_path), loader)
    assert loader.state_dict() == {"position": 0}


@pytest.mark.parametrize("optimizer", ["momentum", "adam"])
def test_a_step_is_undone_bit_for_bit(tmp_path: Path, optimizer: str) -> None:
    setup = Setup(optimizer=optimizer, epochs=1)
    trainer = setup.fit(tmp_path)

    def everything() -> Any:
        states = [trainer.model.state_dict(), trainer.optimizer.state_dict(), rng_state(), trainer.extra_state()]
        return frozen([*states, trainer.ema.state_dict() if trainer.ema else None, trainer.step_state.state_dict()])

    before = everything()
    with undone(trainer):
        trainer.train_one_epoch(0, batches_of(), trainer.optimizer, nn.MSELoss(), None, None, None)
        assert everything() != before
    assert everything() == before


def test_the_estimate_counts_what_an_optimizer_keeps(tmp_path: Path) -> None:
    trainer = Setup().trainer(tmp_path)
    weights = sum(p.nbytes for p in trainer.model.parameters())
    batch = (torch.zeros(4, 5), {"y": torch.zeros(4, dtype=torch.float64)})
    assert bytes_in(batch) == 4 * 5 * 4 + 4 * 8
    assert estimated_bytes(trainer, [batch], batch) == 5 * weights + bytes_in(batch)


def test_an_empty_loader_is_left_to_the_loop_which_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[Any] = []

    def measure(trainer: Any, batch: Any) -> int:
        measured.append(batch)
        return 0

    monkeypatch.setattr("credit_like.training.preflight.peak_of_one_step", measure)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (0, 0))
    trainer = Setup().trainer(tmp_path)
    trainer.device = torch.device("cuda")
    preflight(trainer, [])
    assert measured == []
    preflight(trainer, batches_of())
    assert len(measured) == 1


def test_a_step_that_does_not_fit_is_named_by_preflight_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a GPU the first step is that of preflight."""

    def out_of_memory(phase: str, epoch: int, batch: int) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    setup = Setup()
    trainer = setup.trainer(tmp_path)
    trainer.moment = out_of_memory
    trainer.train_criterion = nn.MSELoss()
    trainer._take({}, batches_of(), batches_of(), setup.build_optimizer(trainer.model), None, None)
    before = frozen(trainer.model.state_dict())
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: None)
    with pytest.raises(
        BatchOutOfMemoryError, match="out of memory on a batch of 4 samples, in the step that preflight"
    ):
        peak_of_one_step(trainer, batches_of()[0])
    assert frozen(trainer.model.state_dict()) == before


def test_running_out_of_memory_says_what_to_lower(tmp_path: Path) -> None:
    def out_of_memory(phase: str, epoch: int, batch: int) -> None:
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes")

    with pytest.raises(
        Exception, match=r"out of memory on a batch of 4 samples, epoch 1.*lower the loader's batch size"
    ):
        Setup().fit(tmp_path, out_of_memory)
    assert explained(ValueError("other"), 1, "") is None
