"""What retrained controls do to edges, said twice: both ways give the same graphs."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch_geometric.data import Batch

from credit_like.graphs import remove_edges, rewire_edges
from credit_like.verification import rewired, without_edges
from credit_like.verification.bulk import bulk_graphs
from credit_like.verification.graphs_again import as_data
from tests.graphs.traffic import mixed_frames


@given(seed=st.integers(0, 2**32), first=st.integers(0, 1 << 40), ids=st.sampled_from([1, 4, 30]))
def test_one_graph_at_a_time_or_in_a_batch(seed: int, first: int, ids: int) -> None:
    frames = mixed_frames(seed, 80, ids=ids, byte_values=5, fd=False, start=1.6e9)
    made = bulk_graphs(frames, np.arange(80).reshape(2, 40))
    graphs = [as_data(graph, 0, first + number) for number, graph in enumerate(made)]
    batch = rewire_edges(Batch.from_data_list(graphs))
    expected = Batch.from_data_list([rewired(graph) for graph in graphs])
    assert torch.equal(batch.edge_index, expected.edge_index)
    assert torch.equal(batch.edge_attr, expected.edge_attr)
    assert remove_edges(Batch.from_data_list(graphs)).edge_attr.shape == (0, 11)
    assert without_edges(graphs[0]).edge_index.shape == (2, 0)
