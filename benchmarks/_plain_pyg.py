"""The same models out of PyG's own parts, and their graphs as PyG keeps them: what ours are measured against."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from torch_geometric.data import Data
from torch_geometric.nn import (
    GATv2Conv,
    JumpingKnowledge,
    global_add_pool,
    global_max_pool,
    global_mean_pool,
)

from credit_like.graphs import GraphStore, PackedLoader
from credit_like.models import AnomalyDetector, Detector
from credit_like.models.gatv2 import GATv2

_POOLS = {"mean": global_mean_pool, "max": global_max_pool, "sum": global_add_pool}


def scaled_graphs(store: GraphStore, indices: NDArray[np.int64], detector: Any) -> list[Data]:
    """Each window as a Data of its own, its features scaled already; ``key`` holds the vocabulary's numbers."""
    graphs = []
    for batch in PackedLoader(store, indices, 512):
        ids = detector.vocabulary(batch.key)
        batch.x, batch.edge_attr = detector.scaler(batch.x, batch.edge_attr, ids)
        batch.key = ids
        graphs += [graph.clone() for graph in batch.to_data_list()]
    return graphs


def plain_convolution(layer: nn.Module) -> nn.Module:
    """PyG's own layer with the weights of ``layer``."""
    if not isinstance(layer, GATv2):
        return copy.deepcopy(layer)  # it is PyG's
    made = GATv2Conv(
        layer.in_channels, layer.out_channels, heads=layer.heads, dropout=layer.dropout, edge_dim=layer.edge_dim,
        add_self_loops=False, residual=layer.res is not None, bias=layer.lin_l.bias is not None,
    )  # fmt: skip
    made.load_state_dict(layer.state_dict())
    return made


class PlainGAT(nn.Module):
    """The network of a ``Detector`` with id look-up, its weights copied."""

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        ours: Any = detector.network
        self.unknown_rate = ours.id_encoder.unknown_rate
        self.embedding = copy.deepcopy(ours.id_encoder.embedding)
        self.convs = nn.ModuleList(plain_convolution(layer) for layer in ours.convs)
        self.norms = copy.deepcopy(ours.norms)
        self.dropout = copy.deepcopy(ours.dropout)
        width, layers = ours.norms[0].normalized_shape[0], len(ours.norms)
        self.jump = None if ours.jump.kind == "last" else JumpingKnowledge(ours.jump.kind, width, layers)
        if self.jump is not None:
            self.jump.load_state_dict(ours.jump.jump.state_dict())
        self.pools = [_POOLS[kind] for kind in ours.pool.kinds]
        self.fc = copy.deepcopy(ours.fc_layers)

    def forward(self, batch: Any) -> Tensor:
        ids = batch.key
        if self.training:
            ids = ids * (torch.rand(batch.num_graphs, device=ids.device) >= self.unknown_rate)[batch.batch]
        hidden = torch.cat([batch.x, self.embedding(ids)], dim=1)
        outputs = []
        for conv, norm in zip(self.convs, self.norms, strict=True):
            hidden = self.dropout(functional.elu(norm(conv(hidden, batch.edge_index, batch.edge_attr))))
            outputs.append(hidden)
        nodes = outputs[-1] if self.jump is None else self.jump(outputs)
        pooled = torch.cat([pool(nodes, batch.batch, batch.num_graphs) for pool in self.pools], dim=1)
        for layer in self.fc[:-1]:
            pooled = self.dropout(functional.relu(layer(pooled)))
        return self.fc[-1](pooled)


class PlainPool(nn.Module):
    """``GraphPool`` of PyG's functions."""

    def __init__(self, kinds: tuple[str, ...]) -> None:
        super().__init__()
        self.kinds = kinds

    def forward(self, x: Tensor, batch: Tensor, num_graphs: int) -> Tensor:
        return torch.cat([_POOLS[kind](x, batch, num_graphs) for kind in self.kinds], dim=1)


class AsGiven(nn.Module):
    """In place of a vocabulary and of a scaler: their work is done."""

    def forward(self, *given: Any) -> Any:
        return given[0] if len(given) == 1 else given[:2]


def plain_anomaly_detector(ours: AnomalyDetector) -> AnomalyDetector:
    """A copy whose layers and poolings are PyG's; it takes graphs that are scaled already."""
    made: Any = copy.deepcopy(ours)
    made.vocabulary = made.scaler = AsGiven()
    made.encoder.convs = nn.ModuleList(plain_convolution(layer) for layer in made.encoder.convs)
    made.dgi.pool = PlainPool(("mean",))
    if made.own is not None:
        made.own.pool = PlainPool(("mean", "sum"))
    return made
