"""Preflight: what can be known to go wrong, before hours are spent."""

from __future__ import annotations

import copy
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from credit_like.config import UserError
from credit_like.training.dispatch import Dispatcher
from credit_like.training.failures import explained
from credit_like.training.progress import say
from credit_like.training.rng import rng_kept

if TYPE_CHECKING:
    from credit_like.training.base_trainer import BaseTrainer


class DataLoadingHangError(UserError):
    """The training loader gave no batch in time."""


def preflight(trainer: BaseTrainer, loader: Any) -> None:
    """Load one batch in time, compare an estimate of the memory with what is free and, on a GPU, measure one step.

    Weights, optimizer, averaged weights, random numbers and the loader's own position are bit for bit as before.
    Raises DataLoadingHangError; too little memory is said, since an estimate is no proof.
    """
    with rng_kept():
        # A loader that keeps its position must not move, and loading an old one into it would skip batches.
        probe = copy.copy(loader) if hasattr(loader, "state_dict") else loader
        batch = first_batch(probe, trainer.dataloader_timeout_s)
        if batch is None:
            return  # the loop says that the loader is empty
        needed, free = estimated_bytes(trainer, loader, batch), free_host_bytes()
        if trainer.device.type == "cpu" and needed > free:
            say(f"preflight: training needs about {_gib(needed)}, and {_gib(free)} of memory are free")
        if trainer.device.type == "cuda":
            peak, total = peak_of_one_step(trainer, batch), torch.cuda.mem_get_info(trainer.device)[1]
            say(f"preflight: a step takes {_gib(peak)} of the GPU's {_gib(total)}")


def first_batch(loader: Any, timeout: float) -> Any:
    """The loader's first batch; waits ``timeout`` seconds for it (0: for ever). An empty loader gives None."""
    if not timeout:
        return next(iter(loader), None)
    box: list[Any] = []
    failure: list[BaseException] = []

    def load() -> None:
        try:
            box.append(next(iter(loader), None))
        except BaseException as error:  # noqa: BLE001 - raised again by the thread that waits
            failure.append(error)

    thread = threading.Thread(target=load, name="preflight", daemon=True)
    thread.start()
    thread.join(timeout)
    if failure:
        raise failure[0]
    if not box:
        raise DataLoadingHangError(
            f"DATA LOADING HANG DETECTED: no batch within {timeout:g} s (trainer.dataloader_timeout_s). The loader has "
            f"thread_workers={getattr(loader, 'num_workers', 0)} and "
            f"prefetch_factor={getattr(loader, 'prefetch_factor', None)}; try no workers first, then look at what the "
            "data set waits for"
        )
    return box[0]


def estimated_bytes(trainer: BaseTrainer, loader: Any, batch: Any) -> int:
    """Weights, gradients, two moments of the optimizer, averaged weights, and the batches that are under way.

    Activations are not in it: only a step shows them.
    """
    parameters = [p for p in trainer.model.parameters() if p.requires_grad]
    weights = sum(p.nbytes for p in parameters) // (trainer.processes.size if trainer.sharded else 1)
    waiting = 1 + (getattr(loader, "num_workers", 0) or 0) * (getattr(loader, "prefetch_factor", 0) or 0)
    return weights * (4 + (trainer.ema is not None)) + waiting * bytes_in(batch)


def bytes_in(batch: Any) -> int:
    """Bytes of all tensors in a batch: a tensor, a graph batch, or tuples, lists and dicts of them."""
    if isinstance(batch, Tensor):
        return int(batch.nbytes)
    if callable(getattr(batch, "to_dict", None)):
        batch = batch.to_dict()
    if isinstance(batch, dict):
        return sum(bytes_in(value) for value in batch.values())
    return sum(bytes_in(value) for value in batch) if isinstance(batch, tuple | list) else 0


def free_host_bytes() -> int:
    """Memory that this machine can give without swapping: the kernel's estimate, else the pages that are free."""
    try:
        lines = Path("/proc/meminfo").read_text("ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def peak_of_one_step(trainer: BaseTrainer, batch: Any) -> int:
    """Peak bytes of the GPU over one step of ``train_one_epoch`` on ``batch``; everything is then as it was before.

    Raises BatchOutOfMemoryError where the step does not fit: the first that would not.
    """
    torch.cuda.reset_peak_memory_stats(trainer.device)
    with undone(trainer):
        trainer.model.train()
        criterion, scaler, schedule = trainer.train_criterion, trainer.scaler, trainer.scheduler
        try:
            trainer.train_one_epoch(0, [batch], trainer.optimizer, criterion, scaler, schedule, trainer.metrics)
        except Exception as error:
            clearer = explained(error, trainer.batch_size(batch), "in the step that preflight measures")
            if clearer is None:
                raise
            raise clearer from error
    return torch.cuda.max_memory_allocated(trainer.device)


@contextmanager
def undone(trainer: BaseTrainer) -> Iterator[None]:
    """Whatever is trained inside is undone, bit for bit; no hook and no logger hears of it."""
    parts = [part for part in (trainer.optimizer, trainer.scheduler, trainer.scaler, trainer.ema) if part is not None]
    before = copy.deepcopy([part.state_dict() for part in parts])
    model, extra = copy.deepcopy(trainer.model.state_dict()), copy.deepcopy(trainer.extra_state())
    counters, resumed, skipped = copy.copy(trainer.step_state), trainer._resumed, trainer._skipped_in_a_row
    hooks, loggers = trainer._hooks, trainer._loggers
    trainer._hooks, trainer._loggers = Dispatcher(()), []
    trainer._enter_phase("train")
    trainer._passes = 1  # not the pass over the epoch's data: nothing is saved, stopped or resumed in it
    try:
        with rng_kept():
            yield
    finally:
        trainer._abandon_batches()
        trainer._hooks, trainer._loggers, trainer.step_state = hooks, loggers, counters
        trainer._resumed, trainer._skipped_in_a_row = resumed, skipped
        trainer.model.load_state_dict(model)
        for part, state in zip(parts, before, strict=True):
            part.load_state_dict(state)
        trainer.load_extra_state(extra)
        trainer.optimizer.zero_grad(set_to_none=True)
        trainer._passes = 0
        trainer._enter_phase("none")


def _gib(count: int) -> str:
    return f"{count / 2**30:.1f} GiB"
