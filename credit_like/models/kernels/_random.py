"""Random numbers by position: what is dropped depends on a seed and on row and column, so backward repeats it."""

# mypy: ignore-errors
# numba infers the types of what follows; mypy sees untyped functions in it.
from __future__ import annotations

from functools import partial

import numpy as np

from credit_like._compiled import compiled


@compiled
def row_key(seed, row):
    """uint32 from a 64-bit seed and a row: the output of SplitMix64 (Steele et al. 2014) at that place."""
    z = np.uint64(seed) + np.uint64(row + 1) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.uint32((z ^ (z >> np.uint64(31))) >> np.uint64(32))


@partial(compiled, inline="always")
def uniform_bits(key, column):
    """uint32, uniform: MurmurHash3's finaliser (Appleby 2011), in 32 bits because those multiply in vector units."""
    z = np.uint32(key + np.uint32(column) * np.uint32(0x9E3779B9))
    z = np.uint32(z ^ (z >> np.uint32(16)))
    z = np.uint32(z * np.uint32(0x85EBCA6B))
    z = np.uint32(z ^ (z >> np.uint32(13)))
    z = np.uint32(z * np.uint32(0xC2B2AE35))
    return np.uint32(z ^ (z >> np.uint32(16)))
