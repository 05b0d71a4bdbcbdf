"""What the engine knows of batches and loaders: where they live, how many samples they hold, whether they repeat."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from credit_like.training.progress import say


def to_device(batch: Any, device: torch.device) -> Any:
    """``batch`` on ``device``: a tensor, anything with ``.to`` (a PyG batch), or tuples, lists and dicts of them."""
    if isinstance(batch, Tensor):
        return batch if batch.device == device else batch.to(device, non_blocking=True)
    if isinstance(batch, tuple | list):
        moved = [to_device(value, device) for value in batch]
        return type(batch)(*moved) if hasattr(batch, "_fields") else type(batch)(moved)
    if isinstance(batch, Mapping):
        return {key: to_device(value, device) for key, value in batch.items()}
    move = getattr(batch, "to", None)
    return move(device) if callable(move) else batch


def samples_in(batch: Any) -> float:
    """Graphs of a graph batch, else the first dimension of the first tensor, else 1."""
    if isinstance(batch, Tensor):
        return float(batch.shape[0]) if batch.ndim else 1.0
    if isinstance(batch, tuple | list):
        return samples_in(batch[0]) if batch else 1.0
    graphs = getattr(batch, "num_graphs", None)
    if isinstance(graphs, int):
        return float(graphs)
    if isinstance(batch, Mapping) and batch:
        return samples_in(next(iter(batch.values())))
    return 1.0


def require_repeatable(loader: Any, name: str) -> None:
    """Raises TypeError for a one-shot iterator, whose second epoch would be empty; warns of persistent workers."""
    if loader is None:
        raise TypeError(f"fit needs a {name}; got None")
    if isinstance(loader, Iterator):
        raise TypeError(
            f"{name} is a one-shot {type(loader).__name__}: its second epoch would be empty. "
            "Pass something that can be iterated anew each epoch (a list, a DataLoader, a PackedLoader)"
        )
    if getattr(loader, "persistent_workers", False):
        say(f"{name} has persistent_workers=True: its workers keep state over epochs, so a resume is not exact")


def length_of(loader: Any, limit: int) -> int | None:
    """Batches that an epoch will have: the loader's length where it knows it, at most ``limit`` (0: no limit)."""
    try:
        known: int | None = len(loader)
    except TypeError:
        known = None
    if limit:
        return limit if known is None else min(limit, known)
    return known
