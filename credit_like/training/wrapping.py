"""Wrappers around a module: names in checkpoints and averages are the user's own, whatever runs the module."""

from __future__ import annotations

from torch import nn

_WRAPPERS = ("DistributedDataParallel", "DataParallel", "OptimizedModule")


def unwrapped(model: nn.Module) -> nn.Module:
    """The user's module inside a data-parallel (``.module``) or compile (``._orig_mod``) wrapper."""
    for attribute in ("module", "_orig_mod"):
        inner = getattr(model, attribute, None)
        if isinstance(inner, nn.Module) and type(model).__name__ in _WRAPPERS:
            return unwrapped(inner)
    return model
