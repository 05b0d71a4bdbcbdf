"""What two experts say of the same windows: the table that a fusion is trained on, and its loader."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from credit_like.config import UserError

#: The key of an expert's output that is its score: in [0, 1], higher for a more suspicious window.
SCORE = "score"

Batch = dict[str, Tensor]


@dataclass(frozen=True)
class ExpertTable:
    """``n`` windows. ``values`` float64[n, C] are the experts' outputs: the anomaly expert's score, the GAT's, then the
    other columns of either, by ``names`` (``"gat/confidence"``). ``label`` int64[n] is 1 for an attack. ``next_row``
    int64[n] is the row of the window that follows on the same bus, or -1."""

    names: tuple[str, ...]
    values: Tensor
    label: Tensor
    next_row: Tensor

    @classmethod
    def join(
        cls,
        gat: Mapping[str, Tensor],
        anomaly: Mapping[str, Tensor],
        label: NDArray[np.int64],
        next_row: NDArray[np.int64] | None = None,
    ) -> ExpertTable:
        """The table of two experts' outputs: name -> float[n], among them ``score``.

        Raises UserError where an expert gives no score, scores outside [0, 1], another number of windows than there
        are labels, or a value that is not finite; the message names the expert and the column.
        """
        columns: dict[str, Tensor] = {}
        for expert, outputs in (("anomaly", anomaly), ("gat", gat)):
            if SCORE not in outputs:
                raise UserError(f"the {expert} expert gives no {SCORE!r}; it gives {', '.join(outputs) or 'nothing'}")
        for expert, outputs in (("anomaly", anomaly), ("gat", gat)):
            columns[f"{expert}/{SCORE}"] = outputs[SCORE]
        for expert, outputs in (("anomaly", anomaly), ("gat", gat)):
            columns |= {f"{expert}/{name}": values for name, values in outputs.items() if name != SCORE}
        for name, values in columns.items():
            _require_usable(name, values, len(label))
        following = np.full(len(label), -1) if next_row is None else next_row
        return cls(
            tuple(columns),
            torch.stack([values.double().cpu() for values in columns.values()], dim=1),
            torch.from_numpy(np.asarray(label, np.int64)),
            torch.from_numpy(np.asarray(following, np.int64)),
        )

    def __len__(self) -> int:
        return len(self.label)

    def __getitem__(self, rows: NDArray[np.int64]) -> ExpertTable:
        """The windows ``rows``; where the one that follows is not among them, nothing follows."""
        chosen = torch.from_numpy(np.asarray(rows, np.int64))
        position = torch.full((len(self) + 1,), -1)  # the last entry is for -1
        position[chosen] = torch.arange(len(chosen))
        return ExpertTable(self.names, self.values[chosen], self.label[chosen], position[self.next_row[chosen]])


class ExpertLoader:
    """Batches of an ExpertTable: ``columns`` float64[B, C], ``y`` int64[B]; with ``follow`` also ``following``
    float64[B, C], the outputs for the window that comes next, and ``last`` bool[B], where there is none.

    ``shuffle`` draws a new order each epoch, a pure function of (``seed``, epoch). The last batch may be smaller.
    """

    def __init__(
        self, table: ExpertTable, batch_size: int, *, shuffle: bool = False, seed: int = 0, follow: bool = False
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1; got {batch_size}")
        self.table, self.batch_size, self.shuffle, self.follow = table, batch_size, shuffle, follow
        self.seed, self.epoch = seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of the next iteration."""
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-len(self.table) // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        order = torch.arange(len(self.table))
        if self.shuffle:
            order = torch.from_numpy(np.random.default_rng([self.seed, self.epoch]).permutation(len(self.table)))
        return (self._batch(rows) for rows in order.split(self.batch_size) if len(rows))

    def _batch(self, rows: Tensor) -> Batch:
        batch = {"columns": self.table.values[rows], "y": self.table.label[rows]}
        if self.follow:
            following = self.table.next_row[rows]
            batch |= {"following": self.table.values[following], "last": following < 0}
        return batch


def _require_usable(name: str, values: Tensor, windows: int) -> None:
    expert, column = name.split("/", 1)
    if values.shape != (windows,):
        raise UserError(
            f"the experts must speak of the same windows, one value each: {column!r} of the {expert} expert has shape "
            f"{tuple(values.shape)} for {windows} windows"
        )
    wrong = int((~torch.isfinite(values)).sum())
    if wrong:
        raise UserError(
            f"the {expert} expert's {column!r} is not a finite number for {wrong} of {windows} windows; a fusion "
            "cannot learn from it. Train that expert anew, or look for NaN in what it was trained on"
        )
    if column == SCORE and windows and (float(values.min()) < 0 or float(values.max()) > 1):
        raise UserError(
            f"an expert's score must lie in [0, 1]; the {expert} expert's runs from {float(values.min()):g} to "
            f"{float(values.max()):g}"
        )
