"""Recorder: weighted means of what a phase records, without a device-to-host sync until somebody reads."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import islice
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
        else:
            try:
                value = float(value)
            except (TypeError, ValueError) as error:
                raise ValueError(f"record({name!r}): needs a number, got {value!r}") from error
        self._unread.append((name, value, float(weight)))
        if len(self._unread) >= _READ_AT:
            read(self)

    def means(self) -> dict[str, float]:
        """The weighted mean of every name, in the order of first use. One sync."""
        read(self)
        return {name: total / weight if weight else math.nan for name, (total, weight) in self._sums.items()}

    def weights(self) -> dict[str, float]:
        """The total weight behind every mean."""
        read(self)
        return {name: weight for name, (_, weight) in self._sums.items()}

    def state_dict(self) -> dict[str, list[float]]:
        """``{name: [sum, weight, latest]}``; the latest value of a rarely recorded name is logged again and again."""
        read(self)
        return {name: [*pair, self.latest[name]] for name, pair in self._sums.items()}

    def load_state_dict(self, state: Mapping[str, Sequence[float]]) -> None:
        self._sums, self._unread = {name: list(entry[:2]) for name, entry in state.items()}, []
        self.latest = {name: entry[2] for name, entry in state.items()}

    def waiting(self) -> list[Tensor | float]:
        return [value for _, value, _ in self._unread]

    def take(self, values: Sequence[float]) -> None:
        unread, self._unread = self._unread, []
        for (name, _, weight), value in zip(unread, values, strict=True):
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
        read(self)

    def waiting(self) -> list[Tensor | float]:
        return [loss for _, loss in self._unread]

    def take(self, values: Sequence[float]) -> None:
        unread, self._unread = self._unread, []
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


def read(*parts: Recorder | FiniteWatch) -> None:
    """Give each part what it waits for: all scalars come to the host together, in one sync a device."""
    waiting = [part.waiting() for part in parts]
    values = iter(_to_host([scalar for scalars in waiting for scalar in scalars]))
    for part, scalars in zip(parts, waiting, strict=True):
        part.take(list(islice(values, len(scalars))))


def _to_host(scalars: Sequence[Tensor | float]) -> list[float]:
    host = [0.0 if isinstance(value, Tensor) else float(value) for value in scalars]
    rows_of: dict[torch.device, list[int]] = {}
    for row, value in enumerate(scalars):
        if isinstance(value, Tensor):
            rows_of.setdefault(value.device, []).append(row)
    for rows in rows_of.values():
        stacked = torch.stack([scalars[row].reshape(()).double() for row in rows])  # type: ignore[union-attr]
        for row, number in zip(rows, stacked.tolist(), strict=True):
            host[row] = number
    return host
