"""DGI and OCGIN as their papers have them, on small data made here."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch_geometric.data import Data

from benchmarks import _paper_dgi, _paper_ocgin, papers
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


def test_attributes_alone_and_negative_labels_will_do_and_graphs_may_lack_edges(tmp_path: Path) -> None:
    folder = write_tu(tmp_path / "shapes", labelled=False)
    labels = (folder / "SHAPES_graph_labels.txt").read_text()
    (folder / "SHAPES_graph_labels.txt").write_text(labels.replace("5", "-1").replace("9", "1"))
    nodes = len((folder / "SHAPES_graph_indicator.txt").read_text().splitlines())
    given = np.random.default_rng(1).normal(size=(nodes, 3))
    np.savetxt(folder / "SHAPES_node_attributes.txt", given, delimiter=", ")
    graphs = _paper_ocgin.read_tu(folder)
    assert [int(graph.y) for graph in graphs] == [-1] * 60 + [1] * 20
    np.testing.assert_allclose(torch.cat([graph.x for graph in graphs]), given, rtol=1e-6)
    (folder / "SHAPES_A.txt").write_text("")
    assert [graph.num_edges for graph in _paper_ocgin.read_tu(folder)] == [0] * 80
    assert 0 <= _paper_ocgin.run(folder, 1, seed=0) <= 1


def test_the_command_writes_where_it_is_told_and_says_what_is_wrong(tmp_path: Path) -> None:
    folder, results = write_tu(tmp_path / "shapes"), tmp_path / "new" / "mine.json"
    arguments = ["ocgin", "--tu", str(folder), "--outlier-class", "1", "--seeds", "1", "--results", str(results)]
    papers.main(arguments)
    assert list(json.loads(results.read_text())["ocgin"]) == ["shapes, outlier class 1"]
    (folder / "SHAPES_node_attributes.txt").write_text("nan\n" + "1\n" * 600)
    with pytest.raises(SystemExit, match=r"^error: .*SHAPES_node_attributes.txt: row 1 holds a value that is not fin"):
        papers.main(arguments)
    with pytest.raises(SystemExit, match=r"^error: .*ind\.toy\.x is not there"):
        papers.main(["dgi", "--planetoid", str(folder), "--name", "toy"])


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
