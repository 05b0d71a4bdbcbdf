"""Thresholds with a promise: a finite-sample quantile of the scores of held-out benign windows."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

#: Under which the promise of a threshold holds; goes into every report.
ASSUMPTION = (
    "The promise is about the average over calibrations and assumes that benign windows in use are exchangeable with "
    "those it was calibrated on: same vehicle, same kind of driving."
)


@dataclass(frozen=True)
class Threshold:
    """An alarm is ``score > value``; ``rate`` is what that promises, ``promised`` whether it is what was asked for."""

    value: float
    rate: float
    requested: float
    promised: bool
    windows: int


def conformal_threshold(benign: NDArray[np.float64], rate: float) -> Threshold:
    """The lowest threshold that a benign window exceeds with probability at most ``rate``, 0 < rate < 1.

    ``benign`` float64[n] are scores of benign windows that neither training nor model selection saw the labels of.
    With S_(1) <= ... <= S_(n) and m = floor((n + 1) * rate) the threshold is S_(n + 1 - m): a new score exchangeable
    with the n is above it with probability at most m / (n + 1), ties or not (Vovk, Gammerman and Shafer, "Algorithmic
    Learning in a Random World", 2005, section 2.2). Where m is 0 no threshold of n windows can promise ``rate``: S_(n)
    is returned, which promises the lowest possible rate, 1 / (n + 1), and ``promised`` is False.

    Raises ValueError without windows, with a score that is not finite, or with a rate outside (0, 1).
    """
    n = len(benign)
    if n == 0 or not np.isfinite(benign).all():
        raise ValueError(f"a threshold needs at least one score and finite ones; got {n} score(s)")
    if not 0 < rate < 1:
        raise ValueError(f"rate must be above 0 and below 1; got {rate}")
    exceeding = (n + 1) * Fraction(repr(float(rate)))  # exact: 0.29 * 100 is 28.999... in floating point
    m = max(1, int(exceeding))
    value = float(np.partition(benign, n - m)[n - m])
    return Threshold(value=value, rate=m / (n + 1), requested=rate, promised=exceeding >= 1, windows=n)
