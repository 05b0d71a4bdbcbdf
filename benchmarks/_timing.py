"""Timing side by side, and tables of what came out."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch


def best(rounds: int, **actions: Callable[[], object]) -> dict[str, float]:
    """Least seconds of each action; the actions take turns, so that a disturbance hits all of them."""
    least = dict.fromkeys(actions, float("inf"))
    for _ in range(rounds):
        for name, action in actions.items():
            started = time.perf_counter()
            action()
            least[name] = min(least[name], time.perf_counter() - started)
    return least


def machine() -> dict[str, Any]:
    """Where and beside how much other work the figures came about."""
    return {
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "load_average_before": round(os.getloadavg()[0], 1),
    }


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Text columns, the first to the left and the others to the right."""
    widths = [max(len(line[column]) for line in [head, *rows]) for column in range(len(head))]
    lines = [head, ["-" * width for width in widths], *rows]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    )
