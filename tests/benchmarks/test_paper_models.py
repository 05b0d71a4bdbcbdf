"""DGI and OCGIN as their papers have them, on small data made here."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
import torch
from torch_geometric.data import Data

from benchmarks import _paper_dgi, _paper_ocgin
from credit_like.config import UserError


def communities() -> Data:
    """Two groups of 40 nodes, joined within; sparse features that hint at the group."""
    rng = torch.Generator().manual_seed(0)
    y = torch.arange(80) // 40
    source = torch.arange(80).repeat_interleave(6)
    target = torch.randint(0, 40, (480,), generator=rng) + 40 * y[source]
    x = (torch.rand(80, 30, generator=rng) < 0.1 + 0.15 * (torch.arange(30) // 15 == y[:, None])).float()
    train = torch.zeros(80, dtype=torch.bool)
    train[[0, 1, 40, 41]] = True
    edges = torch.stack([torch.cat([source, target]), torch.cat([target, source])])
    return Data(x=x, y=y, edge_index=edges, train_mask=train, test_mask=~train)


def test_dgi_finds_communities_without_labels() -> None:
    data = communities()
    assert _paper_dgi.probe(_paper_dgi.embeddings(data, 0, width=32, epochs=200), data) > 0.8  # 0.5 is chance


def write_tu(folder: Path, packed: bool = False, labelled: bool = True) -> Path:
    """60 rings (class 5) and 20 stars (class 9), of 5 to 8 nodes."""
    rng = np.random.default_rng(0)
    edges, indicator, labels, first = [], [], [], 1
    for graph in range(80):
        size = int(rng.integers(5, 9))
        ring = graph < 60
        pairs = [(i, (i + 1) % size) if ring else (0, i) for i in range(int(not ring), size)]
        edges += [(first + a, first + b) for pair in pairs for a, b in (pair, pair[::-1])]
        indicator += [graph + 1] * size
        labels.append(5 if ring else 9)
        first += size
    degrees = np.bincount([a for a, _ in edges])[1:]
    files = {"A": [f"{a}, {b}" for a, b in edges], "graph_indicator": indicator, "graph_labels": labels}
    if labelled:
        files |= {"node_labels": degrees.tolist()}
    folder.mkdir(parents=True)
    for name, lines in files.items():
        text = "".join(f"{line}\n" for line in lines).encode()
        path = folder / f"SHAPES_{name}.txt"
        if packed:
            (folder / f"{path.name}.gz").write_bytes(gzip.compress(text))
        else:
            path.write_bytes(text)
    return folder


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("labelled", [False, True])
def test_tu_graphs_are_read_whole(packed: bool, labelled: bool, tmp_path: Path) -> None:
    graphs = _paper_ocgin.read_tu(write_tu(tmp_path / "shapes", packed, labelled))
    assert [int(graph.y) for graph in graphs] == [5] * 60 + [9] * 20
    ring, star = graphs[0], graphs[-1]
    assert torch.bincount(ring.edge_index[0]).tolist() == [2] * ring.num_nodes
    assert torch.bincount(star.edge_index[0]).tolist() == [star.num_nodes - 1] + [1] * (star.num_nodes - 1)
    assert torch.equal(ring.x.sum(dim=1), torch.ones(ring.num_nodes))


def test_the_class_that_training_did_not_see_is_farther(tmp_path: Path) -> None:
    assert _paper_ocgin.run(write_tu(tmp_path / "shapes"), 1, seed=0) > 0.95


def test_folders_that_are_no_tu_data_are_refused(tmp_path: Path) -> None:
    folder = write_tu(tmp_path / "shapes")
    with pytest.raises(UserError, match=r"must be one of 0\.\.1 .* got 2"):
        _paper_ocgin.run(folder, 2, seed=0)
    (folder / "SHAPES_A.txt").write_text("1, 20\n")
    with pytest.raises(UserError, match="both of one graph"):
        _paper_ocgin.read_tu(folder)
    (folder / "SHAPES_A.txt").unlink()
    with pytest.raises(UserError, match=r"must hold one file \*_A.txt"):
        _paper_ocgin.read_tu(folder)
