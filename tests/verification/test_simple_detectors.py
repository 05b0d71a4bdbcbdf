"""The second implementations of control detectors, where they need care of their own."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from credit_like.verification.simple_detectors import SeenWindow, isolation_forest


def test_the_isolation_forest_does_not_split_on_rounding() -> None:
    """The slow reference gives a skewness of 1e-17 where the graph store has 0: the same trees."""
    rng = np.random.default_rng(0)

    def seen(values: np.ndarray, noise: float) -> SeenWindow:
        x = np.zeros((2, 36))
        x[:, 0], x[:, 26] = values, noise * (rng.random(2) < 0.5)
        graph: Any = SimpleNamespace(x=x, key=np.array([1, 2]))
        return SeenWindow(graph, 0.1, False)

    values = rng.normal(size=(60, 2))
    exact, rounded = ([seen(value, noise) for value in values] for noise in (0.0, 1.5e-17))
    assert isolation_forest(rounded[:50], rounded[50:]).tolist() == isolation_forest(exact[:50], exact[50:]).tolist()
