"""What a run claims, and the detector that it claims it with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch_geometric.data import Data

from credit_like.verification.metrics import ScoresTable


class DeployedDetector(Protocol):
    """The run's trainer with the weights of its best checkpoint, around the plain vocabulary and scaler."""

    buffers: Mapping[str, Tensor]
    #: The metric that chose the best epoch, ``valid_loss`` for instance, and its value in the checkpoint.
    metric: str
    value: float | None

    def scores(self, graphs: Sequence[Data]) -> NDArray[np.float64]:
        """The score of each window."""
        ...

    def validation(self, graphs: Sequence[Data], counts: Sequence[int]) -> float:
        """``metric`` over these windows; ``counts`` are the benign and the attack windows of training."""
        ...


@dataclass(frozen=True)
class Claims:
    """What a run says: its certificate, metrics and scores, and the section ``data`` of its configuration."""

    certificate: Mapping[str, Any]
    metrics: Mapping[str, Any]
    scores: ScoresTable
    data: Mapping[str, Any]
