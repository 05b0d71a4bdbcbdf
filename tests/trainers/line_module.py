"""A module and a datamodule of one random line, for the tests of ModuleTrainer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from trainers.module import ModuleTrainer, TrainerConfig


class Regression(nn.Module):
    """A line, with the steps that a ModuleTrainer calls."""

    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(4, 1)
        self.calls: list[Any] = []

    def setup(self, datamodule: Any) -> None:
        self.calls.append("setup")

    def forward(self, x: Tensor) -> Tensor:
        return self.line(x)  # type: ignore[no-any-return]

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        self.calls.append(("train", batch_idx))
        return nn.functional.mse_loss(self(batch[0]), batch[1])

    def validation_step(self, batch: Any, batch_idx: int) -> dict[str, Tensor]:
        return {"val_loss": nn.functional.mse_loss(self(batch[0]), batch[1]), "val_bias": self.line.bias}

    def test_step(self, batch: Any, batch_idx: int, dataloader_idx: int) -> dict[str, float]:
        return {"index": float(dataloader_idx)}

    def build_optimizers(self, max_epochs: int) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.05)


class Data:
    """Batches of one random line."""

    def __init__(self, several: bool = False) -> None:
        generator = torch.Generator().manual_seed(0)
        target = torch.randn(4, 1, generator=generator)
        xs = [torch.randn(8, 4, generator=generator) for _ in range(5)]
        self.loader, self.several, self.stages = [(x, x @ target) for x in xs], several, list[str]()

    def setup(self, stage: str) -> None:
        self.stages.append(stage)

    def train_dataloader(self) -> Any:
        return tuple(self.loader)

    def val_dataloader(self) -> Any:
        return tuple(self.loader)

    def test_dataloader(self) -> Any:
        return {"known": tuple(self.loader), "unknown": tuple(self.loader)} if self.several else Repeatable(self.loader)

    def predict_dataloader(self) -> Any:
        return Repeatable(self.loader)


class Repeatable:
    """One loader that is no list, so that it is not taken for several."""

    def __init__(self, batches: list[Any]) -> None:
        self.batches = batches

    def __iter__(self) -> Any:
        return iter(self.batches)


def trainer(folder: Path, epochs: int = 3, callbacks: Any = None, **config: Any) -> ModuleTrainer:
    settings = TrainerConfig(max_epochs=epochs, default_root_dir=str(folder), accelerator="cpu", **config)
    return ModuleTrainer(settings, callbacks)
