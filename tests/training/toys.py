"""A tiny model, data and trainer that the engine's tests share, and how two runs are compared bit for bit."""

from __future__ import annotations

import random
import signal
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from credit_like.training import BaseTrainer, read_checkpoint

TRAIN, VALID, BATCH = 26, 12, 4  # samples; 7 batches an epoch, the last one of 2


class Net(nn.Module):
    """Dropout draws random numbers, batch norm has float and integer buffers."""

    def __init__(self, dropout: float = 0.3) -> None:
        super().__init__()
        self.first, self.norm = nn.Linear(5, 8), nn.BatchNorm1d(8)
        self.dropout, self.last = nn.Dropout(dropout), nn.Linear(8, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.dropout(torch.relu(self.norm(self.first(x))))).squeeze(-1)


class Samples(Dataset[tuple[Tensor, Tensor]]):
    """Regression data; with ``noise`` every access draws from torch, numpy and python."""

    def __init__(self, size: int, seed: int, noise: bool = False) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.x = torch.randn(size, 5, generator=generator)
        self.y = self.x.sum(1).sin()
        self.noise = noise

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        x = self.x[index]
        if self.noise:
            x = x + 0.1 * torch.randn(5) + 0.1 * float(np.random.rand()) + 0.1 * random.random()  # noqa: NPY002
        return x, self.y[index]


class CursorLoader:
    """A loader that knows its own position: its order is a function of (seed, epoch), it never needs winding."""

    def __init__(self, data: Samples, batch: int = BATCH) -> None:
        self.data, self.batch, self.epoch, self.done, self._begin = data, batch, 0, 0, 0
        self.fetched = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch, self.done = epoch, 0

    def state_dict(self) -> dict[str, Any]:
        return {"done": self.done}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._begin = state["done"]

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        order = np.random.default_rng(self.epoch).permutation(len(self.data))
        begin, self._begin = self._begin, 0
        for number in range(begin, -(-len(order) // self.batch)):
            rows = order[number * self.batch : (number + 1) * self.batch]
            self.done, self.fetched = number + 1, self.fetched + 1
            samples = [self.data[int(row)] for row in rows]
            yield torch.stack([x for x, _ in samples]), torch.stack([y for _, y in samples])


Moment = Callable[[str, int, int], None]


class ToyTrainer(BaseTrainer):
    """Fifteen honest lines, and a place where tests make things go wrong: ``moment(phase, epoch, batch)``."""

    moment: Moment | None = None

    def train_one_epoch(
        self, epoch: int, trainloader: Any, optimizer: Any, criterion: Any, scaler: Any, scheduler: Any, metrics: Any
    ) -> None:
        for x, y in self.batches(trainloader):
            loss = criterion(self.model(x), y)
            self.optimize(loss)
            self.record("loss", loss)
            self._passed("train", epoch)

    def validate(self, epoch: int, valid_loader: Any, criterion: Any, metrics: Any) -> None:
        for x, y in self.batches(valid_loader, "valid"):
            output = self.model(x)
            self.record("loss", criterion(output, y))
            self.record("mae", (output - y).abs().mean())
            self._passed("valid", epoch)

    def _passed(self, phase: str, epoch: int) -> None:
        if self.moment is not None:
            self.moment(phase, epoch, len(self._weights))


@dataclass(frozen=True)
class Setup:
    """What a run is made of, but for its folder."""

    epochs: int = 3
    optimizer: str = "momentum"
    scheduler: str = ""
    accumulate: int = 1
    workers: int = 0
    loader: str = "DataLoader"
    generator: bool = False
    ema: bool = True
    precision: str = "auto"
    every_steps: int = 0
    patience: int = 100
    clip: float = 0.0

    def trainer(self, folder: Path, **settings: Any) -> ToyTrainer:
        torch.manual_seed(11)
        conf = {
            "epochs": self.epochs, "use_ema": self.ema, "ema_decay": 0.95, "grad_accum_every": self.accumulate,
            "checkpoint_every_steps": self.every_steps, "load_weights": True, "precision": self.precision,
            "scheduler": {"scheduler_type": self.scheduler, "total": 40, "warmup": 1, "patience": 0},
            "stopping_patience": self.patience, "grad_max_norm": self.clip, "log_every_n_steps": 2, "seed": 3,
        }  # fmt: skip
        return ToyTrainer(Net(), 0, {"save_loc": str(folder), "trainer": {**conf, **settings}})

    def train_loader(self) -> Any:
        data = Samples(TRAIN, 1, noise=True)
        if self.loader == "cursor":
            return CursorLoader(data)
        own = torch.Generator() if self.generator else None
        return DataLoader(data, BATCH, shuffle=True, num_workers=self.workers, generator=own)

    def build_optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        if self.optimizer == "adam":
            return torch.optim.Adam(model.parameters(), 0.01, amsgrad=True)
        return torch.optim.SGD(model.parameters(), 0.02, momentum=0.9, nesterov=True)

    def fit(self, folder: Path, moment: Moment | None = None, **settings: Any) -> ToyTrainer:
        """One process's life: everything is built afresh, as after a restart."""
        trainer = self.trainer(folder, **settings)
        trainer.moment = moment
        valid = DataLoader(Samples(VALID, 2, noise=True), BATCH, shuffle=True)
        trainer.result = trainer.fit(
            trainer.conf, self.train_loader(), valid, self.build_optimizer(trainer.model), nn.MSELoss(), nn.MSELoss()
        )
        return trainer


def checkpoint_state(number: int, size: int = 200) -> dict[str, Any]:
    """What might stand in a checkpoint, small, and different for each number."""
    generator = torch.Generator().manual_seed(number)
    return {
        "epoch": number,
        "position": None,
        "model": OrderedDict(weight=torch.randn(size, generator=generator), bias=torch.randn(3, generator=generator)),
        "rows": [{"epoch": number, "loss": 0.5}],
    }


def batches_of(size: int = 12, batch: int = 4, seed: int = 0) -> list[tuple[Tensor, Tensor]]:
    """Plain lists are loaders too."""
    data = Samples(size, seed)
    return [(data.x[i : i + batch], data.y[i : i + batch]) for i in range(0, size, batch)]


class Scripted(BaseTrainer):
    """Its validation losses are given; everything that happens is written down."""

    losses: Sequence[float] = (1.0,)

    def train_one_epoch(self, epoch: int, trainloader: Any, *rest: Any) -> None:
        for x, y in self.batches(trainloader):
            loss = nn.functional.mse_loss(self.model(x), y)
            self.optimize(loss)
            self.record("loss", loss)

    def validate(self, epoch: int, valid_loader: Any, *rest: Any) -> dict[str, float]:
        for _ in self.batches(valid_loader, "valid"):
            pass
        return {"loss": self.losses[min(epoch, len(self.losses) - 1)]}


def fit_scripted(
    folder: Path, losses: Sequence[float] = (1.0,), kind: type[BaseTrainer] = Scripted, fit: Any = None, **settings: Any
) -> Any:
    torch.manual_seed(0)
    trainer: Any = kind(Net(0.0), 0, {"save_loc": str(folder), "trainer": {"epochs": 10, **settings}})
    trainer.losses = losses
    optimizer = torch.optim.SGD(trainer.model.parameters(), 0.01)
    trainer.result = trainer.fit({}, batches_of(), batches_of(8), optimizer, nn.MSELoss(), nn.MSELoss(), **(fit or {}))
    return trainer


def epochs_of(trainer: BaseTrainer) -> list[int]:
    return [int(row["epoch"]) for row in trainer.history.rows]


def send(number: signal.Signals) -> None:
    """A signal to this process; its handler has run when this returns."""
    signal.raise_signal(number)


def frozen(value: Any) -> Any:
    """``value`` with tensors as their bytes, so that ``==`` is bit for bit (NaN equals NaN)."""
    if isinstance(value, Tensor):
        return (
            str(value.dtype),
            tuple(value.shape),
            value.detach().cpu().contiguous().flatten().view(torch.uint8).tolist(),
        )
    if isinstance(value, Mapping):
        return {key: frozen(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [frozen(entry) for entry in value]
    return repr(value) if isinstance(value, float) else value


def outcome(folder: Path) -> dict[str, Any]:
    """All that a finished run leaves, comparable: log bytes, latest and best checkpoint by dotted names.

    Not the configuration, which holds the folder's name.
    """
    found: dict[str, Any] = {"log": (folder / "training_log.csv").read_bytes()}
    for name in ("checkpoint.pt", "best_checkpoint.pt"):
        for part, value in frozen(read_checkpoint(folder / name)).items():
            if not part.startswith("config"):
                found |= {f"{name}: {part}.{key}": entry for key, entry in _flat(value)}
    return found


def _flat(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, entry in value.items():
            yield from _flat(entry, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, value
