"""OCGIN (Zhao & Akoglu, "On using classification datasets to evaluate graph outlier detection", 2021) by our parts."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from torch import Tensor
from torch_geometric.data import Batch, Data

from credit_like.config import UserError
from credit_like.models import GraphEncoder, GraphPool, OneClassHead
from credit_like.models.one_class import CollapseError, one_class_loss, require_spread, total_variance
from credit_like.training import seed_everything

#: Of the paper's grid; the outlier class is never used to choose.
LAYERS, WIDTH, EPOCHS, BATCH, LEARNING_RATE, WEIGHT_DECAY = 2, 64, 25, 64, 1e-3, 1e-4
#: Share of the inlier graphs that training sees; the rest, and every outlier, are the test.
TRAINING_SHARE = 0.9
_EDGE = 1  # column of zeros where the encoder wants edge features: its edge projection then adds nothing


def read_tu(folder: Path) -> list[Data]:
    """Graphs with ``x`` float32[N, F] (node labels one-hot beside node attributes, or one-hot degrees without either),
    ``edge_index`` int64[2, E] and ``y`` int64[1], of a folder with ``*_A.txt``, ``*_graph_indicator.txt`` and
    ``*_graph_labels.txt``, plain or gzipped.

    Raises UserError where a file is missing or its numbers do not fit together.
    """
    folder = Path(folder)
    edges = _numbers(folder, "A").astype(np.int64).reshape(-1, 2) - 1
    graph_of = _numbers(folder, "graph_indicator").astype(np.int64).ravel() - 1
    labels = _numbers(folder, "graph_labels").astype(np.int64).ravel()
    nodes, graphs = len(graph_of), len(labels)
    if nodes == 0 or (np.diff(graph_of) < 0).any() or graph_of[0] < 0 or graph_of[-1] >= graphs:
        raise UserError(f"{folder}: the graph indicator must ascend from 1 to at most {graphs}, the number of labels")
    if len(edges) and (
        edges.min() < 0 or edges.max() >= nodes or (graph_of[edges[:, 0]] != graph_of[edges[:, 1]]).any()
    ):
        raise UserError(f"{folder}: an edge must join two of the {nodes} nodes, both of one graph")
    x = _features(folder, edges, nodes)
    first = np.searchsorted(graph_of, np.arange(graphs + 1))
    edges = edges[np.argsort(graph_of[edges[:, 0]], kind="stable")]
    edge_first = np.searchsorted(graph_of[edges[:, 0]], np.arange(graphs + 1))
    found = []
    for graph in range(graphs):
        own = torch.from_numpy(edges[edge_first[graph] : edge_first[graph + 1]].T - first[graph]).contiguous()
        part = torch.from_numpy(x[first[graph] : first[graph + 1]])
        found.append(Data(x=part, edge_index=own, y=torch.tensor([int(labels[graph])])))
    return [graph for graph in found if graph.num_nodes]


def run(folder: Path, outlier_class: int, seed: int) -> float:
    """AUROC of the graphs of ``outlier_class`` against held-out graphs of the others, after training on the others.

    ``outlier_class`` counts the classes in ascending order, from 0. Raises UserError where there is no such class.
    """
    seed_everything(seed)
    graphs = read_tu(folder)
    classes = sorted({int(graph.y) for graph in graphs})
    if not 0 <= outlier_class < len(classes) or len(classes) < 2:
        raise UserError(
            f"--outlier-class must be one of 0..{len(classes) - 1} of two classes or more; got {outlier_class}"
        )
    inliers = [graph for graph in graphs if int(graph.y) != classes[outlier_class]]
    outliers = [graph for graph in graphs if int(graph.y) == classes[outlier_class]]
    order = torch.randperm(len(inliers)).tolist()
    border = round(TRAINING_SHARE * len(inliers))
    train, held_out = ([inliers[i] for i in part] for part in (order[:border], order[border:]))
    if not train or not held_out:
        raise UserError(f"{folder}: {len(inliers)} graphs of the other classes are too few to train and to test on")
    encoder = GraphEncoder(
        node_features=graphs[0].num_features, edge_features=_EDGE, conv="gin", layers=LAYERS, width=WIDTH
    )
    with torch.no_grad():
        before = _embed(encoder, train)
        head = OneClassHead(encoder.out_dim, whiten=False)
        head.fit(before)
    adam = torch.optim.Adam(encoder.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    for _ in range(EPOCHS):
        shuffled = torch.randperm(len(train)).tolist()
        for i in range(0, len(train), BATCH):
            adam.zero_grad()
            one_class_loss(_embed(encoder, [train[j] for j in shuffled[i : i + BATCH]]), head.centre).backward()
            adam.step()
    with torch.no_grad():
        try:
            require_spread(_embed(encoder, train), total_variance(before), 1e-6)
        except CollapseError as error:
            raise UserError(f"{folder}, seed {seed}: {error}") from error
        scores = head(_embed(encoder, [*held_out, *outliers]))
    return float(roc_auc_score([0] * len(held_out) + [1] * len(outliers), scores.numpy()))


def _embed(encoder: GraphEncoder, graphs: list[Data]) -> Tensor:
    batch = Batch.from_data_list(graphs)
    hidden = encoder(batch.x, batch.edge_index, torch.zeros(batch.num_edges, _EDGE))
    return GraphPool(("mean",))(hidden, batch.batch, batch.num_graphs)


def _features(folder: Path, edges: NDArray[np.int64], nodes: int) -> NDArray[np.float32]:
    parts: list[NDArray[np.float64]] = []
    for name in ("node_labels", "node_attributes"):
        if not _files(folder, name):
            continue
        given = _numbers(folder, name).reshape(nodes, -1) if _numbers(folder, name).size % nodes == 0 else None
        if given is None:
            raise UserError(f"{folder}: *_{name}.txt must have a line for each of the {nodes} nodes")
        parts += [_one_hot(column) for column in given.T] if name == "node_labels" else [given]
    return np.hstack(parts or [_one_hot(np.bincount(edges[:, 0], minlength=nodes))]).astype(np.float32)


def _one_hot(values: NDArray[Any]) -> NDArray[np.float64]:
    _, number = np.unique(values, return_inverse=True)
    return np.eye(number.max() + 1)[number]


def _files(folder: Path, name: str) -> list[Path]:
    return sorted([*folder.glob(f"*_{name}.txt"), *folder.glob(f"*_{name}.txt.gz")])


def _numbers(folder: Path, name: str) -> NDArray[np.float64]:
    found = _files(folder, name)
    if len(found) != 1:
        raise UserError(f"{folder} must hold one file *_{name}.txt or *_{name}.txt.gz; it holds {len(found)}")
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*input contained no data")  # graphs without edges
            values = np.loadtxt(found[0], delimiter=",", ndmin=2)
    except (ValueError, OSError, EOFError) as error:
        raise UserError(f"{found[0]}: {error}") from error
    wrong = np.flatnonzero(~np.isfinite(values).all(axis=1))
    if len(wrong):
        raise UserError(f"{found[0]}: row {wrong[0] + 1} holds a value that is not finite")
    return values
