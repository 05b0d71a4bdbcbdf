"""Vocabulary: which arbitration ids the training captures showed, as a part of the model."""

from __future__ import annotations

import hashlib

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from credit_like._compiled import compiled
from credit_like.config import UserError
from credit_like.graphs.plan import TRAIN
from credit_like.graphs.store import GraphStore, rows_of


class Vocabulary(nn.Module):
    """Node keys to small numbers: 0 is unknown, known ids are 1 + their position in ascending order of key.

    The keys are a buffer (``keys`` int64[V]) and travel in the model's checkpoint. ``len(vocabulary)`` is V + 1, the
    rows of an embedding table.

    >>> vocabulary = Vocabulary(torch.tensor([0x1A0, 0x2C4]))
    >>> vocabulary(torch.tensor([0x2C4, 0x7DF, 0x1A0])).tolist()
    [2, 0, 1]
    """

    keys: Tensor

    def __init__(self, keys: Tensor) -> None:
        """``keys`` int64[V], in any order. Raises ValueError when a key is there twice."""
        super().__init__()
        ordered = torch.sort(keys.to(torch.int64)).values
        if ordered.numel() and bool((ordered[1:] == ordered[:-1]).any()):
            raise ValueError("a vocabulary has each key once")
        self.register_buffer("keys", ordered)

    @classmethod
    def fit(cls, store: GraphStore, indices: NDArray[np.int64]) -> Vocabulary:
        """The ids of the graphs ``indices`` of the training split.

        Raises UserError when there are none, ValueError when a graph is of another split.
        """
        require_training(store, indices, "a vocabulary")
        return cls(torch.from_numpy(np.unique(store.key[rows_of(store.node_ptr, indices)])))

    @classmethod
    def empty(cls, size: int) -> Vocabulary:
        """One of ``size`` keys (V) for ``load_state_dict`` to fill; until then it knows no id."""
        made = cls(torch.zeros(0))
        made.keys = torch.full((size,), -1, dtype=torch.int64)
        return made

    def forward(self, key: Tensor) -> Tensor:
        """int64[N] node keys -> int64[N] numbers, 0 for unknown ones."""
        return (look_up if key.device.type == "cpu" else look_up_on_device)(self.keys, key)

    def digest(self) -> str:
        """SHA-256 of the keys, little-endian."""
        return hashlib.sha256(self.keys.cpu().numpy().astype("<i8").tobytes()).hexdigest()

    def __len__(self) -> int:
        return self.keys.numel() + 1


def look_up_on_device(keys: Tensor, key: Tensor) -> Tensor:
    """``look_up`` by torch's own operations, on any device."""
    if not keys.numel():
        return torch.zeros_like(key)
    position = torch.searchsorted(keys, key.contiguous()).clamp_(max=keys.numel() - 1)
    return torch.where(keys[position] == key, position + 1, 0)


@torch.library.custom_op("credit_like::look_up", mutates_args=(), device_types="cpu")
def look_up(keys: Tensor, key: Tensor) -> Tensor:
    """The place of each of ``key`` int64[N] in the ascending ``keys`` int64[V], from 1 on, or 0. On the CPU."""
    if keys.dtype != torch.int64 or key.dtype != torch.int64:
        raise ValueError(f"keys are int64; got {key.dtype} to be found among {keys.dtype}")
    numbers = _empty_numbers(keys, key)
    _find(keys.contiguous().numpy(), key.flatten().numpy(), numbers.view(-1).numpy())
    return numbers


@look_up.register_fake
def _empty_numbers(keys: Tensor, key: Tensor) -> Tensor:
    return torch.empty_like(key, memory_format=torch.contiguous_format)


@compiled
def _find(keys, key, numbers):
    """A window's ids are in ascending order, so most are the one behind the last: five times as fast as a search."""
    place, known = 0, len(keys)
    for i in range(len(key)):
        if place == known or keys[place] != key[i]:
            place, end = 0, known
            while place < end:
                middle = (place + end) // 2
                if keys[middle] < key[i]:
                    place = middle + 1
                else:
                    end = middle
        if place < known and keys[place] == key[i]:
            place += 1
            numbers[i] = place
        else:
            numbers[i] = 0


def require_training(store: GraphStore, indices: NDArray[np.int64], what: str) -> None:
    """Raises UserError where ``indices`` is empty, ValueError where one is not of the training split."""
    if len(indices) == 0:
        raise UserError(f"{what} cannot be fitted: no training window was given; add captures, or make them longer")
    windows = store.windows
    others = {windows.split_names[split] for split in np.unique(windows.split[indices])} - {TRAIN}
    if others:
        raise ValueError(f"{what} is fitted on training windows only; got windows of {sorted(others)}")
