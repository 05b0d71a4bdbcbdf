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
    """Builds the graphs of windows of ``logs``; ``kept`` ones are built once, as several checks ask for training."""

    def __init__(self, logs: CertificateChecks) -> None:
        self._logs = logs
        self._kept: dict[int, ReferenceGraph] = {}

    def of(self, windows: pl.DataFrame) -> list[ReferenceGraph]:
        """The graphs of windows (rows of ``CertificateChecks.windows``), in their order."""
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
        """The same as a detector takes them."""
        described = zip(self.of(windows), windows["label"], windows["index"], strict=True)
        return [as_data(*window) for window in described]


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
