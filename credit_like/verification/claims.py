"""What a run claims, and the detector that it claims it with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch_geometric.data import Data

from credit_like.verification.metrics import ScoresTable

Floats = NDArray[np.float64]

#: Scores graphs, each window by itself: float64[n].
ScoreGraphs = Callable[[Sequence[Data]], Floats]


class DeployedDetector(Protocol):
    """The run's trainer with the weights of its best checkpoint, around the plain vocabulary and scaler."""

    buffers: Mapping[str, Tensor]
    #: The metric that chose the best epoch, ``valid_loss`` for instance, and its value in the checkpoint.
    metric: str
    value: float | None
    #: What else the scores table may have a column of that takes a network to compute, by the control's name.
    others: Mapping[str, ScoreGraphs]

    def scores(self, graphs: Sequence[Data]) -> Floats:
        """The score of each window."""
        ...

    def raw_scores(self, graphs: Sequence[Data], benign: Callable[[], Sequence[Data]]) -> Floats | None:
        """The same by the weights that the optimizer left; None where those are the deployed ones. ``benign`` gives the
        benign training windows, to fit what a detector fits to its weights."""
        ...

    def node_scores(self, graphs: Sequence[Data]) -> Floats | None:
        """The score of each node of each window, float64[N]; None where the trainer gives nodes no score."""
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


@dataclass(frozen=True)
class Outputs:
    """What the two experts and the policy of a fusion make of n windows.

    ``columns`` float64[n, C] is what the experts say, ``state`` float64[n, S] what the policy sees of it, ``aligned``
    float64[n, 2] the scores of the anomaly expert and of the supervised one on the scale of the policy's threshold,
    ``chosen`` int64[n] the policy's choice among its alphas.
    """

    columns: Floats
    state: Floats
    aligned: Floats
    chosen: NDArray[np.int64]


class FusingDetector(DeployedDetector, Protocol):
    """A fusion's policy around the detectors of its two experts; ``buffers`` are those of the policy."""

    #: What the configuration says of it: agent, experts (their trainers), rewards, align_fpr; and the rule in use.
    facts: Mapping[str, Any]

    def outputs(self, graphs: Sequence[Data]) -> Outputs:
        """From the experts' checkpoints on, for each window."""
        ...


@dataclass(frozen=True)
class Expert:
    """One of the two runs that a fusion mixes: its certificate, the section ``data`` of its configuration, and it."""

    certificate: Mapping[str, Any]
    data: Mapping[str, Any]
    detector: DeployedDetector
