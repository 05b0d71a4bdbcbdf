"""The graphs of windows from raw frames, for the checks that need many of them."""

from __future__ import annotations

import numpy as np
import polars as pl
import torch
from torch_geometric.data import Data

from credit_like.verification.bulk import bulk_graphs
from credit_like.verification.certificate_checks import CertificateChecks
from credit_like.verification.reference import ReferenceGraph


class GraphsAgain:
    """Builds the graphs of windows of ``logs``, each window's once: several checks ask for the same ones."""

    def __init__(self, logs: CertificateChecks) -> None:
        self._logs = logs
        self._kept: dict[int, ReferenceGraph] = {}
        self._data: dict[int, Data] = {}

    def of(self, windows: pl.DataFrame) -> list[ReferenceGraph]:
        """The graphs of windows (rows of ``CertificateChecks.windows``), in their order; not held in memory."""
        made: dict[int, ReferenceGraph] = {}
        parts = windows.group_by("capture", maintain_order=True)
        for (_, part), (capture, rows) in zip(parts, self._logs.rows(windows), strict=True):
            made.update(zip(part["index"], bulk_graphs(capture.frames, rows), strict=True))
        return [made[index] for index in windows["index"]]

    def kept(self, windows: pl.DataFrame) -> list[ReferenceGraph]:
        """The same, held in memory for the next time: some 8 KB a window."""
        new = windows.filter(~pl.col("index").is_in(list(self._kept)))
        self._kept.update(zip(new["index"], self.of(new), strict=True))
        return [self._kept[index] for index in windows["index"]]

    def data(self, windows: pl.DataFrame) -> list[Data]:
        """The same as a detector takes them, in float32: half of that."""
        new = windows.filter(~pl.col("index").is_in(list(self._data)))
        described = zip(self.of(new), new["label"], new["index"], strict=True)
        self._data.update((index, as_data(graph, label, index)) for graph, label, index in described)
        return [self._data[index] for index in windows["index"]]


def as_data(graph: ReferenceGraph, label: int, index: int) -> Data:
    """A graph as PyG takes it: what a graph store's ``graph(index)`` gives, in float32 like there."""
    return Data(
        x=torch.from_numpy(graph.x.astype(np.float32)),
        edge_index=torch.from_numpy(graph.edge_index.astype(np.int64).reshape(2, -1)),
        edge_attr=torch.from_numpy(graph.edge_attr.astype(np.float32)),
        y=torch.tensor([label]),
        key=torch.from_numpy(graph.key),
        window=torch.tensor([index]),
    )
