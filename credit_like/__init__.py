"""credit_like: a training engine for PyTorch, and on it graph detectors for CAN buses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from credit_like.training import BaseTrainer, EMATracker

__all__ = ["BaseTrainer", "EMATracker"]


def __getattr__(name: str) -> Any:
    """Import torch only when a public name is asked for: `credit-like --help` must not wait for it."""
    if name in __all__:
        from credit_like import training

        return getattr(training, name)
    raise AttributeError(f"module 'credit_like' has no attribute {name!r}")
