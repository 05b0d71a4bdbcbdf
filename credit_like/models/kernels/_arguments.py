"""What tensors and dropout become before they are handed to a compiled loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


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
    return loop(*(a.detach().contiguous().numpy() if isinstance(a, Tensor) else a for a in arguments))
