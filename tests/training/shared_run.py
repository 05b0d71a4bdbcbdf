"""A run that one process or several can make, equal but for the order of sums: what the tests of several begin with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from credit_like.training import PartitionedBatchSampler
from tests.training.toys import Samples, ToyTrainer

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
    more: dict[str, Any] = field(default_factory=dict)  # settings

    def trainer(self, rank: int, folder: Path, **settings: Any) -> ToyTrainer:
        torch.manual_seed(rank)  # rank 0's weights are what counts
        conf = {
            "epochs": self.epochs, "mode": self.mode, "use_ema": True, "ema_decay": 0.9, "log_every_n_steps": 2,
            "grad_accum_every": self.accumulate, "grad_max_norm": self.clip, "load_weights": True, "seed": 3,
        }  # fmt: skip
        return self.kind(self.model(), rank, {"save_loc": str(folder), "trainer": {**conf, **self.more, **settings}})

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
