"""Stochastic passes: the same data n times with dropout active, averaged (Gal & Ghahramani 2016, section 4)."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

from credit_like.training.history import Row


@contextmanager
def dropout_active(model: nn.Module, active: bool) -> Iterator[None]:
    """Evaluation mode, but with the dropout layers in training mode; afterwards as before."""
    layers = [m for m in model.modules() if active and isinstance(m, _DropoutNd) and not m.training]
    for layer in layers:
        layer.train()
    try:
        yield
    finally:
        for layer in layers:
            layer.eval()


def mean_and_spread(rows: Sequence[Row]) -> Row:
    """The mean of each metric over the passes, and the standard deviation of the loss as ``valid_std``."""
    mean = {name: statistics.fmean(row[name] for row in rows) for name in rows[0]}
    spread_of = "valid_loss" if "valid_loss" in mean else next(iter(mean), None)
    if len(rows) > 1 and spread_of is not None:
        mean["valid_std"] = statistics.pstdev(row[spread_of] for row in rows)
    return mean


def mean_outputs(outputs: Sequence[Any]) -> Any:
    """The mean of several outputs of one batch: tensors, or tuples, lists and dicts of them."""
    first = outputs[0]
    if len(outputs) == 1:
        return first
    if isinstance(first, Tensor):
        return torch.stack(list(outputs)).mean(0)
    if isinstance(first, Mapping):
        return {key: mean_outputs([output[key] for output in outputs]) for key in first}
    if isinstance(first, tuple | list):
        return type(first)(mean_outputs(parts) for parts in zip(*outputs, strict=True))
    raise TypeError(f"ensemble_size > 1 averages tensors; predict_step returned {type(first).__name__}")
