"""The graphs made in bulk against those of the plain reference."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from credit_like.verification.bulk import bulk_graphs
from credit_like.verification.reference import reference_graph
from tests.graphs.traffic import mixed_frames


@given(
    seed=st.integers(0, 2**32),
    window=st.integers(2, 60),
    windows=st.integers(1, 4),
    stride=st.integers(1, 70),
    ids=st.sampled_from([1, 3, 30]),
    byte_values=st.sampled_from([1, 2, 40]),
    fd=st.booleans(),
)
def test_bulk_graphs_are_those_of_the_reference(
    seed: int, window: int, windows: int, stride: int, ids: int, byte_values: int, fd: bool
) -> None:
    frames = mixed_frames(seed, window + stride * (windows - 1), ids=ids, byte_values=byte_values, fd=fd, start=1.6e9)
    starts = np.arange(windows) * stride
    made = list(bulk_graphs(frames, starts[:, None] + np.arange(window)))
    assert len(made) == windows
    for start, graph in zip(starts, made, strict=True):
        expected = reference_graph(frames, int(start), window)
        for name in ("key", "edge_index"):
            np.testing.assert_array_equal(getattr(graph, name), getattr(expected, name))
        for name in ("x", "edge_attr"):
            np.testing.assert_allclose(getattr(graph, name), getattr(expected, name), 1e-6, 1e-9)
