"""Vocabulary and scaler, plainly: as parts of a model that a checkpoint fills, and fitted once more from the logs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from credit_like.verification.reference import ReferenceGraph

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Names of the features are not needed here, only how many there are.
NODE_FEATURES, EDGE_FEATURES = 36, 11
#: Statistics of float32 features may differ by so much of a feature's spread.
TOLERANCE = 1e-3

#: Spread that is rounding: relative to the centre, and absolute.
_ROUNDING, _NOISE = 1e-6, 1e-9
_NORMAL_IQR = 1.3489795


class PlainVocabulary(nn.Module):
    """Node keys to numbers: 0 for an unknown one, else 1 + its place in ``keys`` int64[size], from a checkpoint."""

    keys: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("keys", torch.full((size,), -1, dtype=torch.int64))

    def forward(self, key: Tensor) -> Tensor:
        """int64[N] node keys -> int64[N] numbers."""
        same = key[:, None] == self.keys[None, :]
        return torch.where(same.any(dim=1), 1 + same.long().argmax(dim=1), 0) if len(self.keys) else key * 0

    def digest(self) -> str:
        """SHA-256 of the keys, int64 little-endian."""
        return hashlib.sha256(self.keys.cpu().numpy().astype("<i8").tobytes()).hexdigest()

    def __len__(self) -> int:
        return len(self.keys) + 1


class PlainScaler(nn.Module):
    """``(x - centre) / scale``, clipped; statistics come from a checkpoint.

    Where ``settings.relative``, the same by each node's own id stands beside it. ``num_ids``: the vocabulary's length.
    """

    node_centre: Tensor
    node_scale: Tensor
    id_centre: Tensor
    id_scale: Tensor
    edge_centre: Tensor
    edge_scale: Tensor
    clip: Tensor

    def __init__(self, num_ids: int, settings: Any) -> None:
        super().__init__()
        self.settings, self.relative = settings, settings.relative
        self.node_features = NODE_FEATURES * (2 if self.relative else 1)
        self.edge_features = EDGE_FEATURES
        rows = num_ids if self.relative else 0
        for name, shape in {"node": (NODE_FEATURES,), "id": (rows, NODE_FEATURES), "edge": (EDGE_FEATURES,)}.items():
            self.register_buffer(f"{name}_centre", torch.full(shape, torch.nan))
            self.register_buffer(f"{name}_scale", torch.full(shape, torch.nan))
        self.register_buffer("clip", torch.tensor(float(settings.clip)))

    def forward(self, x: Tensor, edge_attr: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
        """float32[N, 36], float32[E, 11] and int64[N] -> float32[N, 72 (36 where not relative)], float32[E, 11]."""
        bound = float(self.clip)
        parts = [(x - self.node_centre) / self.node_scale]
        if self.relative:
            parts.append((x - self.id_centre[ids]) / self.id_scale[ids])
        edges = (edge_attr - self.edge_centre) / self.edge_scale
        return torch.cat(parts, dim=1).clamp(-bound, bound), edges.clamp(-bound, bound)

    def digest(self) -> str:
        """SHA-256 of every buffer's name, shape and values."""
        return scaler_digest(dict(self.named_buffers()))


def scaler_digest(buffers: Mapping[str, Tensor]) -> str:
    """SHA-256 of every buffer's name, shape and float32 values, by name."""
    digest = hashlib.sha256()
    for name in sorted(buffers):
        digest.update(f"{name}{tuple(buffers[name].shape)}".encode())
        digest.update(buffers[name].cpu().numpy().astype("<f4").tobytes())
    return digest.hexdigest()


def statistics(graphs: Iterable[ReferenceGraph], keys: Sequence[int], settings: Mapping[str, Any]) -> dict[str, Floats]:
    """The buffers of a scaler (all but ``clip``) as the benign training windows ``graphs`` give them.

    ``keys`` is the vocabulary; ``settings`` the section ``data.scaler`` of the configuration. Features count in
    float32, as a model meets them.
    """
    found = list(graphs)
    x = np.concatenate([graph.x for graph in found]).astype(np.float32).astype(np.float64)
    key = np.concatenate([graph.key for graph in found])
    edge_attr = np.concatenate([graph.edge_attr for graph in found]).astype(np.float32).astype(np.float64)
    buffers = dict(zip(("node_centre", "node_scale"), _centre_and_scale(x, settings["kind"]), strict=True))
    buffers |= dict(zip(("edge_centre", "edge_scale"), _centre_and_scale(edge_attr, settings["kind"]), strict=True))
    rows = [(buffers["node_centre"], buffers["node_scale"])]
    for known in keys if settings["relative"] else ():
        own = x[key == known]
        rows.append(_centre_and_scale(own, settings["kind"]) if len(own) >= settings["min_count"] else rows[0])
    if not settings["relative"]:
        rows = []
    for place, name in enumerate(("id_centre", "id_scale")):
        buffers[name] = np.array([row[place] for row in rows]).reshape(-1, x.shape[1])
    return buffers


def scaler_problems(buffers: Mapping[str, Tensor], expected: Mapping[str, Floats], clip: float) -> list[str]:
    """Which of a scaler's statistics are not what the logs give."""
    problems = []
    for part in ("node", "edge", "id"):
        centre, scale = (buffers[f"{part}_{name}"].double().numpy() for name in ("centre", "scale"))
        right_centre, right_scale = (expected[f"{part}_{name}"] for name in ("centre", "scale"))
        if centre.shape != right_centre.shape or scale.shape != right_scale.shape:
            problems.append(f"{part} statistics have shape {centre.shape}; the logs give {right_centre.shape}")
            continue
        unit = TOLERANCE * np.abs(right_scale) + _ROUNDING * np.abs(right_centre)
        wrong = ~((np.abs(centre - right_centre) <= unit) & (np.abs(scale - right_scale) <= unit))
        if wrong.any():
            problems.append(f"{int(wrong.sum())} of {wrong.size} {part} statistics are not those of the logs")
    if float(buffers["clip"]) != np.float32(clip):
        problems.append(f"it clips at {float(buffers['clip']):g}; the configuration says {clip:g}")
    return problems


def _centre_and_scale(values: Floats, kind: str) -> tuple[Floats, Floats]:
    """Mean and standard deviation, or (``robust``) median and interquartile range / 1.349, of each column.

    A constant column has scale 1; one whose middle half is constant its standard deviation.
    """
    if not len(values):
        return np.zeros(values.shape[1]), np.ones(values.shape[1])
    centre, scale = values.mean(axis=0), values.std(axis=0)
    constant = scale <= np.maximum(_ROUNDING * np.abs(centre), _NOISE)
    if kind == "robust":
        low, centre, high = np.percentile(values, [25, 50, 75], axis=0)
        scale = np.where(high > low, (high - low) / _NORMAL_IQR, scale)
    return centre, np.where(constant, 1.0, scale)
