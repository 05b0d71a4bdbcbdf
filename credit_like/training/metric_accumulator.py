"""MetricAccumulator: weighted means under any name, for a loop of one's own."""

from __future__ import annotations

import math
from typing import Literal


class MetricAccumulator:
    """The weighted mean of each metric; names may be anything (``"test/precision@0.95recall"``).

    ``nan_strategy``: "error" raises ValueError naming the metric at a NaN, "ignore" leaves that value out.

    >>> means = MetricAccumulator()
    >>> means.update("loss", 1.0, weight=3); means.update("loss", 5.0, weight=1)
    >>> means.compute()
    {'loss': 2.0}
    """

    def __init__(self, nan_strategy: Literal["error", "ignore"] = "error") -> None:
        if nan_strategy not in ("error", "ignore"):
            raise ValueError(f"nan_strategy must be 'error' or 'ignore'; got {nan_strategy!r}")
        self._nan_strategy = nan_strategy
        self._sums: dict[str, list[float]] = {}

    def update(self, name: str, value: float, weight: float = 1.0) -> None:
        """Take a value in; a tensor of one element is read, which syncs."""
        value = float(value)
        if math.isnan(value):
            if self._nan_strategy == "error":
                raise ValueError(f"metric {name!r} is NaN; use nan_strategy='ignore' to leave such values out")
            return
        if not weight >= 0:
            raise ValueError(f"metric {name!r}: weight must not be negative; got {weight}")
        pair = self._sums.setdefault(name, [0.0, 0.0])
        pair[0] += value * weight
        pair[1] += weight

    def compute(self) -> dict[str, float]:
        """The mean of each metric that has any weight."""
        return {name: total / weight for name, (total, weight) in self._sums.items() if weight}

    def reset(self) -> None:
        self._sums = {}
