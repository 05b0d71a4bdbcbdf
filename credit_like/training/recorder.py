"""Recorder: weighted means of what a phase records, without a device-to-host sync until somebody reads."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from credit_like.config import UserError

_READ_AT = 512  # unread tensors that are kept at most: bounds the memory of a run that never logs


class NonFiniteLossError(UserError):
    """The loss was NaN or infinite under ``on_nonfinite: raise``."""


class Recorder:
    """Sums of value x weight, added up one by one in the order they came, in float64 on the host.

    Values stay on their device, unread, until a mean is asked for: one stacked transfer then brings all of them over.
    Adding one by one makes the sum independent of when it was read, so that a resumed run's means are bit for bit
    those of an undisturbed one.
    """

    def __init__(self) -> None:
        self.latest: dict[str, float] = {}  # the last value of each name, as of the last read
        self._sums: dict[str, list[float]] = {}
        self._unread: list[tuple[str, Tensor | float, float]] = []

    def add(self, name: str, value: Any, weight: float) -> None:
        """Take a scalar in: a number or a tensor of one element. Raises ValueError for anything longer."""
        if isinstance(value, Tensor):
            if value.numel() != 1:
                raise ValueError(f"record({name!r}): needs a scalar, got a tensor of shape {tuple(value.shape)}")
            # On the CPU nothing has to be waited for. Elsewhere it is read later, when the caller may have changed it.
            value = value.item() if value.is_cpu else value.detach().clone()
        self._unread.append((name, value, float(weight)))
        if len(self._unread) >= _READ_AT:
            self._read()

    def means(self) -> dict[str, float]:
        """The weighted mean of every name, in the order of first use. One sync."""
        self._read()
        return {name: total / weight if weight else math.nan for name, (total, weight) in self._sums.items()}

    def weights(self) -> dict[str, float]:
        """The total weight behind every mean."""
        self._read()
        return {name: weight for name, (_, weight) in self._sums.items()}

    def reset(self) -> None:
        self.latest, self._sums, self._unread = {}, {}, []

    def state_dict(self) -> dict[str, list[float]]:
        self._read()
        return {name: list(pair) for name, pair in self._sums.items()}

    def load_state_dict(self, state: Mapping[str, Sequence[float]]) -> None:
        self._sums, self._unread = {name: list(pair) for name, pair in state.items()}, []

    def _read(self) -> None:
        unread, self._unread = self._unread, []
        for (name, _, weight), value in zip(unread, to_host([value for _, value, _ in unread]), strict=True):
            pair = self._sums.setdefault(name, [0.0, 0.0])
            pair[0] += value * weight
            pair[1] += weight
            self.latest[name] = value


class FiniteWatch:
    """Notices a non-finite loss without a sync at each step: losses are read together, and the step is named."""

    def __init__(self) -> None:
        self._unread: list[tuple[int, Tensor | float]] = []

    def add(self, step: int, loss: Tensor) -> None:
        self._unread.append((step, loss.item() if loss.is_cpu else loss.detach()))
        if len(self._unread) >= _READ_AT:
            self.check()

    def check(self) -> None:
        """Raises NonFiniteLossError naming the first bad step and the range that was checked."""
        unread, self._unread = self._unread, []
        values = to_host([loss for _, loss in unread])
        for (step, _), value in zip(unread, values, strict=True):
            if not math.isfinite(value):
                raise NonFiniteLossError(
                    f"the training loss is {value} at optimizer step {step} (checked: steps {unread[0][0]} to "
                    f"{unread[-1][0]}). Lower the learning rate, set trainer.grad_max_norm, look for log(0) or 0/0 in "
                    f"the loss, or set trainer.on_nonfinite: skip to leave such steps out"
                )


def require_finite_weights(model: nn.Module, step: int) -> None:
    """Raises NonFiniteLossError where a weight is NaN or infinite: a gradient can be, while every loss was finite."""
    weights = [p.detach() for p in model.parameters() if p.is_floating_point() and p.numel()]
    if weights and not bool(torch.isfinite(torch.nn.utils.get_total_norm(weights))):
        raise NonFiniteLossError(
            f"the weights are not finite after optimizer step {step}, though every loss was: a gradient overflowed. "
            "Set trainer.grad_max_norm, lower the learning rate, or set trainer.on_nonfinite: skip to leave them out"
        )


def to_host(scalars: Sequence[Tensor | float]) -> list[float]:
    """The scalars as python floats, one transfer a (device, dtype)."""
    host = [0.0 if isinstance(value, Tensor) else float(value) for value in scalars]
    rows_of: dict[tuple[torch.device, torch.dtype], list[int]] = {}
    for row, value in enumerate(scalars):
        if isinstance(value, Tensor):
            rows_of.setdefault((value.device, value.dtype), []).append(row)
    for rows in rows_of.values():
        stacked = torch.stack([scalars[row].reshape(()) for row in rows])  # type: ignore[union-attr]
        for row, number in zip(rows, stacked.tolist(), strict=True):
            host[row] = float(number)
    return host
