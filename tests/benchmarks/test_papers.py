"""The papers' benchmark: files from outside are read without being trusted, and a training reaches what it should."""

from __future__ import annotations

import codecs
import json
import os
import pickle
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse
import torch
from torch_geometric.data import Data

from benchmarks import _paper_gat, papers
from benchmarks._paper_gat import NodeClassifier
from benchmarks._planetoid import read_planetoid
from credit_like.config import UserError
from credit_like.models import make_convolution

Parts = dict[str, object]


@pytest.fixture
def parts() -> Parts:
    """Five training nodes, seven for validation, and two to test: 14 and 12, in this order. 13 is in no file."""
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 2, (15, 4)).astype(np.float32), np.eye(3, dtype=np.int32)[rng.integers(0, 3, 15)]
    x[:, 0] = 1.0
    graph = defaultdict(list, {0: [1, 1, 0], 1: [14], 12: [3], 3: [12]})
    return {
        "x": scipy.sparse.csr_matrix(x[:5]),
        "allx": scipy.sparse.csr_matrix(x[:12]),
        "tx": scipy.sparse.csr_matrix(x[12:14]),
        "y": y[:5],
        "ally": y[:12],
        "ty": y[12:14],
        "graph": graph,
        "test.index": "14\n12\n",
    }


def write(folder: Path, parts: Parts, protocol: int = 3) -> Path:
    for part, content in parts.items():
        path = folder / f"ind.toy.{part}"
        if isinstance(content, str):
            path.write_text(content)
        else:
            path.write_bytes(pickle.dumps(content, protocol))
    return folder


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_a_planetoid_folder_becomes_a_graph_with_its_split(parts: Parts, tmp_path: Path, protocol: int) -> None:
    data = read_planetoid(write(tmp_path, parts, protocol), "toy")
    x = parts["tx"].toarray()  # type: ignore[attr-defined]
    assert data.x.shape == (15, 4)
    np.testing.assert_allclose(data.x[14], x[0] / x[0].sum())
    np.testing.assert_allclose(data.x[12], x[1] / x[1].sum())
    assert data.x[13].tolist() == [0, 0, 0, 0]
    assert data.y[14] == parts["ty"][0].argmax()  # type: ignore[index]
    assert sorted(zip(*data.edge_index.tolist(), strict=True)) == [(0, 1), (1, 0), (1, 14), (3, 12), (12, 3), (14, 1)]
    assert data.train_mask.nonzero().flatten().tolist() == [0, 1, 2, 3, 4]
    assert data.test_mask.nonzero().flatten().tolist() == [12, 14]


class _Command:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch was-here",)


class _Rotated:
    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return codecs.encode, ("abc", "rot13")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"graph": _Command()}, "names posix.system, which is neither an array nor a container"),
        ({"x": [_Command()]}, "names posix.system"),
        ({"x": _Rotated()}, "asks for the encoding 'rot13'"),
        ({"graph": [1, 2]}, "must map nodes to lists of nodes"),
        ({"graph": {0: [99]}}, "names nodes outside 0..14"),
        ({"y": np.zeros((4, 3))}, "do not belong together"),
        ({"y": np.array([[_Command]], object)}, "names"),
        ({"test.index": "14\n14\n"}, "none twice"),
        ({"test.index": "14\nx\n"}, "must hold a node number a line"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_planetoid_folder_is_refused(
    parts: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: Parts, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=message):
        read_planetoid(write(tmp_path, parts | changed), "toy")
    assert not (tmp_path / "was-here").exists()


def test_a_matrix_whose_indices_point_outside_is_refused(parts: Parts, tmp_path: Path) -> None:
    broken = scipy.sparse.csr_matrix(np.ones((2, 4), np.float32))
    broken.indices[0] = 1_000_000
    with pytest.raises(UserError, match="holds a broken CSR matrix"):
        read_planetoid(write(tmp_path, parts | {"tx": broken}), "toy")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"ind\.toy\.x is not there"):
        read_planetoid(tmp_path, "toy")


def test_cora_is_the_graph_that_its_readme_counts(real_data: Path) -> None:
    if not (real_data / "cora").is_dir():
        pytest.skip(f"no folder cora in {real_data}")
    data = read_planetoid(real_data / "cora", "cora")
    assert data.x.shape == (2708, 1433)
    assert data.edge_index.shape == (2, 2 * 5278)
    assert data.y[data.test_mask].bincount().tolist() == [130, 91, 144, 319, 149, 103, 64]
    assert data.val_mask.sum() == 500


def two_communities() -> Data:
    """Forty nodes in two rings; features tell little, neighbours much."""
    rng = torch.Generator().manual_seed(0)
    ring = torch.arange(20)
    one_way = torch.cat([torch.stack([ring, (ring + step) % 20]) for step in (1, 2, 3)], dim=1)
    edges = torch.cat([one_way, one_way + 20], dim=1)
    y = torch.arange(40) // 20
    x = torch.rand(40, 6, generator=rng) * (torch.rand(40, 6, generator=rng) < 0.5)
    x[:, 0] += 0.5 * y
    masks = {name: torch.arange(40) % 4 == k for k, name in enumerate(("train_mask", "val_mask", "test_mask"))}
    return Data(x=x, y=y, edge_index=torch.cat([edges, edges.flip(0)], dim=1), **masks)


@pytest.mark.parametrize("conv", ["gat", "gatv2"])
def test_the_node_classifier_learns(conv: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_paper_gat, "EPOCHS", 60)
    assert _paper_gat.run(two_communities(), 0, conv) >= 0.8  # type: ignore[arg-type]


def test_the_node_classifier_is_the_papers() -> None:
    model = NodeClassifier(1433, 7)
    assert sum(p.numel() for p in model.parameters()) == 1433 * 64 + 64 + 64 + 64 + 64 * 7 + 7 + 7 + 7
    assert model.hidden.heads == 8
    assert model.hidden.add_self_loops


def test_layers_without_self_loops_say_so() -> None:
    with pytest.raises(ValueError, match="self_loops are for gatv2 and gat; got 'gin'"):
        make_convolution("gin", 4, 4, heads=1, edge_dim=2, dropout=0.0, self_loops=True)
    with pytest.raises(ValueError, match="it needs edge_dim"):
        make_convolution("gin", 4, 4, heads=1, edge_dim=None, dropout=0.0)


def test_results_keep_what_other_papers_left(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "papers.json"
    papers.report("dgi", "toy", "accuracy", lambda seed: 0.5, 1, path)
    found = papers.report("gat", "cora", "accuracy", lambda seed: 0.8 + seed / 100, 3, path)
    assert (found["mean"], found["std"], found["seeds"]) == (0.81, 0.01, [0.8, 0.81, 0.82])
    assert found["published"] == {"mean": 0.83, "std": 0.007}
    assert set(json.loads(path.read_text())) == {"dgi", "gat"}
    assert "gat on cora" in capsys.readouterr().out
    with pytest.raises(UserError, match="--seeds must be at least 1"):
        papers.report("gat", "cora", "accuracy", lambda seed: 1.0, 0, path)


def test_what_is_recorded_reaches_the_targets_over_ten_seeds() -> None:
    recorded = json.loads(papers.RESULTS.read_text())
    for (paper, name), target in papers.TARGETS.items():
        found = recorded[paper][name]
        assert len(found["seeds"]) >= 10
        assert np.mean(found["seeds"]) == pytest.approx(found["mean"], abs=1e-4)
        assert found["mean"] >= target
