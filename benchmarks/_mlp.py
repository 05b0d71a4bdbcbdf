"""What every training loop runs here: two layers, batches of 32, the gradient clipped. Needs torch only."""

from __future__ import annotations

import time
from collections.abc import Iterable

import torch
from torch import Tensor, nn

INPUTS, WIDTH, CLASSES, BATCH = 64, 128, 10, 32
STEPS = 500
MAX_NORM = 1.0
Batches = list[tuple[Tensor, Tensor]]


class TwoLayers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(INPUTS, WIDTH), nn.Linear(WIDTH, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(torch.relu(self.first(x)))


def make_model() -> nn.Module:
    torch.manual_seed(0)
    return TwoLayers()


def make_optimizer(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.Adam(model.parameters(), lr=1e-3)


def make_batches(device: str = "cpu", steps: int = STEPS) -> Batches:
    """In memory, so that no loader is measured."""
    generator = torch.Generator().manual_seed(0)
    return [
        (
            torch.randn(BATCH, INPUTS, generator=generator).to(device),
            torch.randint(CLASSES, (BATCH,), generator=generator).to(device),
        )
        for _ in range(steps)
    ]


def now(device: str = "cpu") -> float:
    """Seconds: the process's own on a CPU, where others may be at work too; the wall's, after a sync, on a GPU."""
    if device == "cpu":
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


def bare_loop(batches: Iterable[tuple[Tensor, Tensor]], device: str = "cpu") -> float:
    """Seconds of an epoch as one writes it by hand, the mean of the loss kept."""
    model, criterion = make_model().to(device), nn.CrossEntropyLoss()
    optimizer = make_optimizer(model)
    model.train()
    total: float | Tensor = 0.0
    started = now(device)
    for x, y in batches:
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), MAX_NORM)
        optimizer.step()
        total += (loss.item() if device == "cpu" else loss.detach()) * len(x)
    return now(device) - started
