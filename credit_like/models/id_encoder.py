"""Id encoders: what a node's arbitration id contributes to its input, and how an id unseen in training is treated."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal

import torch
from torch import Tensor, nn

IdEncoderKind = Literal["lookup", "hash", "none"]


class IdEncoder(nn.Module, ABC):
    """Maps one integer a node to a vector of ``out_dim`` numbers.

    ``takes_keys`` says which integer: the node key ``extended << 32 | id`` (True), or the vocabulary's index with
    0 for an unknown id (False). ``Detector`` hands over the right one.
    """

    takes_keys = False

    def __init__(self, out_dim: int) -> None:
        super().__init__()
        self.out_dim = out_dim

    @abstractmethod
    def forward(self, ids: Tensor, batch: Tensor, num_graphs: int) -> Tensor:
        """int64[N], and the graph of each node, int64[N] -> float32[N, out_dim]."""


class LookupIds(IdEncoder):
    """One learnt row a known id, and row 0 for every unknown one.

    In training a graph loses all its ids with probability ``unknown_rate``, as if it came from a vehicle never seen:
    without that, row 0 would hold little but its initial noise when the first unseen id arrives. Whole graphs, because
    one unknown id among known ones is the mark of an injected frame. Were ids hidden one by one at a rate of 0.02,
    every second benign window of 40 ids would show that mark.
    ``num_ids`` counts row 0 too (``len(vocabulary)``).
    """

    def __init__(self, num_ids: int, out_dim: int, unknown_rate: float) -> None:
        super().__init__(out_dim)
        if num_ids < 1:
            raise ValueError(f"num_ids counts the unknown id, so it is at least 1; got {num_ids}")
        if not 0.0 <= unknown_rate < 1.0:
            raise ValueError(f"unknown_rate is a probability below 1; got {unknown_rate}")
        self.unknown_rate = unknown_rate
        self.embedding = nn.Embedding(num_ids, out_dim)

    def forward(self, ids: Tensor, batch: Tensor, num_graphs: int) -> Tensor:
        if self.training and self.unknown_rate > 0.0:
            shown = torch.rand(num_graphs, device=ids.device) >= self.unknown_rate
            ids = ids * shown[batch]
        return self.embedding(ids)


class HashIds(IdEncoder):
    """The sum of ``probes`` learnt rows, picked by independent hashes of the node key (Svenstrup et al. 2017, "Hash
    embeddings", without the importance weights).

    It needs no vocabulary, so two unseen ids stay distinguishable; two ids collide entirely with a probability of
    about ``buckets ** -probes``. The hash is multiply-shift (Dietzfelbinger et al. 1997) with fixed odd multipliers,
    kept as a buffer so that a checkpoint carries them.
    """

    takes_keys = True
    multipliers: Tensor

    def __init__(self, out_dim: int, buckets: int, probes: int) -> None:
        super().__init__(out_dim)
        if buckets < 2 or buckets & (buckets - 1):
            raise ValueError(f"buckets must be a power of two, at least 2; got {buckets}")
        if probes < 1:
            raise ValueError(f"probes must be at least 1; got {probes}")
        self.buckets = buckets
        generator = torch.Generator().manual_seed(0x9E3779B9)
        multipliers = torch.randint(-(2**62), 2**62, (probes,), generator=generator) * 2 + 1
        self.register_buffer("multipliers", multipliers)
        self.embedding = nn.Embedding(buckets, out_dim)

    def forward(self, ids: Tensor, batch: Tensor, num_graphs: int) -> Tensor:
        hashed = (ids[:, None] * self.multipliers) >> 32
        return self.embedding(hashed & (self.buckets - 1)).sum(dim=1)


class NoIds(IdEncoder):
    """Nothing: the detector sees what an id does, never which one it is."""

    def __init__(self) -> None:
        super().__init__(0)

    def forward(self, ids: Tensor, batch: Tensor, num_graphs: int) -> Tensor:
        return torch.empty(len(ids), 0, device=ids.device)


def make_id_encoder(
    kind: IdEncoderKind, *, num_ids: int, out_dim: int, unknown_rate: float, buckets: int, probes: int
) -> IdEncoder:
    """The encoder called ``kind``; raises ValueError for another name. Arguments a kind does not need are ignored."""
    if kind == "lookup":
        return LookupIds(num_ids, out_dim, unknown_rate)
    if kind == "hash":
        return HashIds(out_dim, buckets, probes)
    if kind == "none":
        return NoIds()
    raise ValueError(f"id encoder must be lookup, hash or none; got {kind!r}")
