"""What tensors and dropout become before they are handed to a compiled loop."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from credit_like._compiled import compiled
from credit_like._threads import spread


def draw_seed(dropout: float) -> Tensor:
    """int64[1] from torch's generator; zero, and nothing drawn, where nothing is dropped.

    Raises ValueError where ``dropout`` is not a probability.
    """
    if not 0.0 <= dropout <= 1.0:
        raise ValueError(f"dropout is a probability; got {dropout}")
    return torch.randint(-(2**63), 2**63 - 1, (1,)) if dropout > 0 else torch.zeros(1, dtype=torch.int64)


def chance(dropout: float) -> tuple[int, float]:
    """The number below which 32 random bits mean dropped, and what is kept is multiplied by."""
    return round(dropout * 2**32), 0.0 if dropout == 1.0 else 1.0 / (1.0 - dropout)


def call(loop: Callable[..., Any], *arguments: Any) -> Any:
    """Call a compiled loop with numpy views of the tensors among ``arguments``, contiguous as it was compiled for.

    What the loop writes must be a new tensor: of one that is not contiguous it would fill a copy.
    """
    return loop(*views(arguments))


def call_blocks(loop: Callable[..., Any], blocks: int, *arguments: Any) -> list[Any]:
    """The same of a loop over blocks, whose first two arguments are made here, on as many threads as torch has."""
    return spread(loop, blocks, *views(arguments))


def folded(parts: Tensor) -> Tensor:
    """The sum of ``parts`` float[B, ...] over the blocks, one by one in their order."""
    total = parts.new_empty(parts.shape[1:])
    fold(parts.flatten(1).numpy(), total.view(-1).numpy())
    return total


@compiled
def fold(parts, total):
    """Set ``total`` [D] to the sum of the rows of ``parts`` [B, D], of which there is one at least."""
    for c in range(len(total)):
        total[c] = parts[0, c]
    for b in range(1, len(parts)):
        for c in range(len(total)):
            total[c] += parts[b, c]


def views(arguments: Iterable[Any]) -> tuple[Any, ...]:
    """Numpy views of the tensors among ``arguments``, of a contiguous copy where one is not contiguous."""
    # Not `.numpy()`, behind which a storage can never be resized again: weights that were gathered for a pass are.
    return tuple(np.from_dlpack(a.detach().contiguous()) if isinstance(a, Tensor) else a for a in arguments)
