"""FeatureScaler: features in units of benign training traffic, of all ids and of each id, as a part of the model."""

from __future__ import annotations

import hashlib
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from credit_like.config import Settings
from credit_like.graphs._scale import scale_features
from credit_like.graphs.features import EDGE_FEATURES, NODE_FEATURES
from credit_like.graphs.store import GraphStore, rows_of
from credit_like.graphs.vocabulary import Vocabulary, require_training

#: Spread below this share of the centre is rounding of float32 features (2^-24 = 6e-8), not traffic.
_ROUNDING = 1e-6
#: Spread below this is rounding too, whatever the centre: a symmetric payload has a skewness of 0, give or take 1e-16,
#: which no two machines round alike. No feature has a unit (bytes, seconds, nats, frames) in which it means anything.
_NOISE = 1e-9
#: Rows of a column block that are gathered at a time hold about this many bytes.
_BLOCK_BYTES = 1 << 28
#: Interquartile range of the normal distribution in standard deviations: 2 * 0.6745.
_NORMAL_IQR = 1.3489795

Statistics = tuple[NDArray[np.float64], NDArray[np.float64]]


class ScalerSettings(Settings):
    """How features are scaled."""

    kind: Literal["z", "robust"] = Field(
        default="z", description="z: mean and standard deviation; robust: median and interquartile range / 1.349"
    )
    relative: bool = Field(
        default=True,
        description="add 36 columns: each node feature in units of its own id's benign traffic",
    )
    min_count: int = Field(
        default=20, ge=2, description="benign windows an id must be seen in, for statistics of its own"
    )
    clip: float = Field(default=10.0, gt=0, description="scaled features are clipped to +- this")


class FeatureScaler(nn.Module):
    """``(x - centre) / scale``, clipped; the statistics are buffers and travel in the model's checkpoint.

    ================  =====================  ================================================================
    ``node_centre``   float32[36]            over all nodes of benign training windows; likewise ``node_scale``
    ``id_centre``     float32[num_ids, 36]   over each id's own nodes, by ``Vocabulary`` number; likewise ``id_scale``;
                                             the global statistics for unknown ids and those seen too rarely; no rows
                                             where the settings are not ``relative``
    ``edge_centre``   float32[11]            over all edges; likewise ``edge_scale``
    ``clip``          float32[]              the bound
    ================  =====================  ================================================================

    A column that is constant gets scale 1. With ``robust``, one whose middle half is constant is scaled by its standard
    deviation instead. Statistics are taken in float64. ``node_features`` (36 or 72) and ``edge_features`` (11) are the
    widths of what ``forward`` returns.
    """

    node_centre: Tensor
    node_scale: Tensor
    id_centre: Tensor
    id_scale: Tensor
    edge_centre: Tensor
    edge_scale: Tensor
    clip: Tensor

    def __init__(self, num_ids: int, settings: ScalerSettings) -> None:
        """Without statistics: everything comes out as NaN until ``fit`` or ``load_state_dict`` has set them."""
        super().__init__()
        nodes, edges = len(NODE_FEATURES), len(EDGE_FEATURES)
        rows = num_ids if settings.relative else 0
        for name, shape in (("node", (nodes,)), ("id", (rows, nodes)), ("edge", (edges,))):
            self.register_buffer(f"{name}_centre", torch.full(shape, torch.nan))
            self.register_buffer(f"{name}_scale", torch.full(shape, torch.nan))
        self.register_buffer("clip", torch.tensor(settings.clip))
        self.settings = settings
        self.relative = settings.relative
        self.node_features = nodes * (1 + settings.relative)
        self.edge_features = edges

    @classmethod
    def empty(cls, num_ids: int, settings: ScalerSettings) -> FeatureScaler:
        """One for ``load_state_dict`` to fill; ``num_ids`` is ``len(vocabulary)``."""
        return cls(num_ids, settings)

    @classmethod
    def fit(
        cls, store: GraphStore, indices: NDArray[np.int64], vocabulary: Vocabulary, settings: ScalerSettings
    ) -> FeatureScaler:
        """Statistics of the graphs ``indices``: benign windows of the training split.

        Raises UserError when there are none, ValueError when one is of another split or not labelled benign.
        """
        require_training(store, indices, "a feature scaler")
        if (store.windows.label[indices] != 0).any():
            raise ValueError("a feature scaler is fitted on benign windows only; got attack or unlabelled ones")
        made = cls(len(vocabulary), settings)
        nodes, edges = rows_of(store.node_ptr, indices), rows_of(store.edge_ptr, indices)
        _set(made.node_centre, made.node_scale, _statistics(store.x, nodes, settings.kind))
        _set(made.edge_centre, made.edge_scale, _statistics(store.edge_attr, edges, settings.kind))
        if settings.relative:
            made.id_centre[:], made.id_scale[:] = made.node_centre, made.node_scale
            ids = vocabulary(torch.from_numpy(store.key[nodes]).to(vocabulary.keys.device)).cpu().numpy()
            by_id = nodes[np.argsort(ids, kind="stable")]
            end = np.cumsum(np.bincount(ids, minlength=len(vocabulary)))
            for number in range(1, len(vocabulary)):
                own = by_id[end[number - 1] : end[number]]
                if len(own) >= settings.min_count:
                    _set(made.id_centre[number], made.id_scale[number], _statistics(store.x, own, settings.kind))
        return made

    def forward(self, x: Tensor, edge_attr: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Scale a batch, on the device where the buffers are.

        ``x`` float32[N, 36], ``edge_attr`` float32[E, 11], ``ids`` int64[N] numbers of the vocabulary -> float32[N, 72]
        (global columns, then id-relative ones; [N, 36] where the settings are not ``relative``) and float32[E, 11].
        """
        if x.device.type == "cpu" and not (x.requires_grad or edge_attr.requires_grad):
            nobody = self.id_centre[:0, : self.edge_features]
            nodes = scale_features(x, self.node_centre, self.node_scale, ids, self.id_centre, self.id_scale, self.clip)
            return nodes, scale_features(edge_attr, self.edge_centre, self.edge_scale, ids, nobody, nobody, self.clip)
        bound = self.clip
        scaled = ((x - self.node_centre) / self.node_scale).clamp(-bound, bound)
        if self.relative:
            own = ((x - self.id_centre[ids]) / self.id_scale[ids]).clamp(-bound, bound)
            scaled = torch.cat([scaled, own], dim=1)
        return scaled, ((edge_attr - self.edge_centre) / self.edge_scale).clamp(-bound, bound)

    def digest(self) -> str:
        """SHA-256 of every buffer's name and values, little-endian."""
        digest = hashlib.sha256()
        for name, buffer in sorted(self.named_buffers()):
            digest.update(f"{name}{tuple(buffer.shape)}".encode())
            digest.update(buffer.cpu().numpy().astype("<f4").tobytes())
        return digest.hexdigest()


def _statistics(values: NDArray[np.float32], rows: NDArray[np.int64], kind: str) -> Statistics:
    """Centre and scale, float64[c] each, of ``values[rows]``, float32[n, c]; a block of columns at a time."""
    columns = values.shape[1]
    width = max(1, min(columns, _BLOCK_BYTES // (8 * max(1, len(rows)))))
    centre, scale = np.zeros(columns), np.ones(columns)
    if not len(rows):
        return centre, scale
    for first in range(0, columns, width):
        block = values[rows, first : first + width].astype(np.float64)
        middle, spread = block.mean(axis=0), block.std(axis=0)
        constant = spread <= np.maximum(_ROUNDING * np.abs(middle), _NOISE)
        if kind == "robust":
            low, middle, high = np.percentile(block, [25, 50, 75], axis=0)
            spread = np.where(high > low, (high - low) / _NORMAL_IQR, spread)
        centre[first : first + width] = middle
        scale[first : first + width] = np.where(constant, 1.0, spread)
    return centre, scale


def _set(centre: Tensor, scale: Tensor, statistics: Statistics) -> None:
    centre.copy_(torch.from_numpy(statistics[0]))
    scale.copy_(torch.from_numpy(statistics[1]))
