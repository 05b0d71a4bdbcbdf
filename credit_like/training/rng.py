"""Random numbers: one seed an epoch, and the state of every generator as plain data."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


def seed_everything(seed: int) -> int:
    """Seed python, numpy and torch (every device); returns ``seed``. Raises ValueError outside 0 .. 2**32 - 1."""
    if not 0 <= seed < 2**32:
        raise ValueError(f"seed must lie in 0 .. 2**32 - 1; got {seed}")
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002  the user's own code may draw from numpy's global generator
    torch.manual_seed(seed)
    return seed


def epoch_seed(seed: int, epoch: int, rank: int = 0) -> int:
    """A seed that depends on (seed, epoch, rank) only and differs in all bits between neighbours."""
    text = f"{seed}:{epoch}:{rank}" if rank else f"{seed}:{epoch}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")


def rng_state() -> dict[str, Any]:
    """The state of every generator, as plain data and tensors: python, numpy, torch and every CUDA device."""
    name, keys, position, has_gauss, cached = np.random.get_state()  # noqa: NPY002
    return {
        "python": random.getstate(),
        "numpy": (name, torch.from_numpy(np.asarray(keys, np.int64)), position, has_gauss, cached),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def set_rng_state(state: dict[str, Any]) -> None:
    """Put every generator back to ``state``."""
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    name, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), position, has_gauss, cached))  # noqa: NPY002
    torch.set_rng_state(state["torch"])
    if torch.cuda.is_available() and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])


@contextmanager
def rng_kept() -> Iterator[None]:
    """Whatever is drawn inside leaves no trace: validation must not move the training's random numbers."""
    state = rng_state()
    try:
        yield
    finally:
        set_rng_state(state)


def set_epoch(loader: Any, seed: int, epoch: int) -> None:
    """Make the order of ``loader`` a pure function of (seed, epoch).

    Calls ``set_epoch`` on the loader, its samplers and its data sets (also those within a subset or a concatenation)
    where they have it, and reseeds the generators that they carry. Call it before an iterator is made.
    """
    done: set[int] = set()
    parts = [loader]
    while parts:
        part = parts.pop(0)
        if part is None or id(part) in done:
            continue
        done.add(id(part))
        parts += [getattr(part, name, None) for name in ("batch_sampler", "sampler", "dataset")]
        several = getattr(part, "datasets", None)
        parts += several if isinstance(several, list | tuple) else []
        if callable(getattr(part, "set_epoch", None)):
            part.set_epoch(epoch)
        generator = getattr(part, "generator", None)
        if isinstance(generator, torch.Generator) and id(generator) not in done:
            done.add(id(generator))
            generator.manual_seed(epoch_seed(seed, epoch))
