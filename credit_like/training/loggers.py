"""Loggers: where batch and epoch values go besides training_log.csv."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol, runtime_checkable

from credit_like.training.progress import say


@runtime_checkable
class Logger(Protocol):
    """What the engine calls, on rank 0 only. ``samples`` counts over all processes; epochs count from 0."""

    def start(self, samples: int, epoch: int) -> None:
        """Training begins or resumes here; what was logged at or beyond is void."""

    def log_batch(self, values: Mapping[str, float], samples: int) -> None: ...

    def log_epoch(self, row: Mapping[str, float], epoch: int) -> None: ...

    def close(self) -> None: ...


class TensorBoardLogger:
    """``train_x -> x/train``, ``valid_x -> x/valid``, others ``train/<key>``.

    Batch values (step = samples seen) and epoch values (step = epoch) have writers of their own, in ``batches/`` and
    ``epochs/`` below ``folder``, so that a resume purges each exactly. Non-finite values are skipped, said once a name.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._skipped: set[str] = set()

    def start(self, samples: int, epoch: int) -> None:
        from torch.utils.tensorboard import SummaryWriter  # costs a second of import that only its users should pay

        self._batches = SummaryWriter(str(self.folder / "batches"), purge_step=samples + 1)
        self._epochs = SummaryWriter(str(self.folder / "epochs"), purge_step=epoch)

    def log_batch(self, values: Mapping[str, float], samples: int) -> None:
        for name, value in self._finite(values):
            self._batches.add_scalar(_tag(name), value, samples)
        self._batches.flush()  # what a checkpoint is ahead of must be on disk: a killed run resumes behind it

    def log_epoch(self, row: Mapping[str, float], epoch: int) -> None:
        for name, value in self._finite(row):
            self._epochs.add_scalar(_tag(name), value, epoch)
        self._epochs.flush()

    def close(self) -> None:
        self._batches.close()
        self._epochs.close()

    def _finite(self, values: Mapping[str, float]) -> list[tuple[str, float]]:
        for name, value in values.items():
            if not math.isfinite(value) and name not in self._skipped:
                self._skipped.add(name)
                say(f"tensorboard: {name} is {value}; non-finite values are left out")
        return [(name, value) for name, value in values.items() if name != "epoch" and math.isfinite(value)]


def _tag(name: str) -> str:
    for phase in ("train", "valid"):
        if name.startswith(phase + "_"):
            return f"{name.removeprefix(phase + '_')}/{phase}"
    return f"train/{name}"
