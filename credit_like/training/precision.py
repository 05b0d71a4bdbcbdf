"""Mixed precision: which dtype a device runs in, and whether its gradients need a scaler."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch
from torch.amp import GradScaler

PrecisionName = Literal["auto", "32", "bf16", "16"]


def autocast_dtype(device: torch.device, amp: bool, precision: PrecisionName) -> torch.dtype | None:
    """The autocast dtype, or None for full float32.

    ``auto`` is bfloat16 where the GPU has it, else float16; float32 on a CPU. The other names force it, on a CPU too.
    """
    if not amp or precision == "32":
        return None
    if precision == "auto":
        if device.type != "cuda":
            return None
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    return {"bf16": torch.bfloat16, "16": torch.float16}[precision]


def autocast(device: torch.device, dtype: torch.dtype | None) -> AbstractContextManager[object]:
    """A context that runs eligible operators in ``dtype``; nothing where it is None. Entered for each batch anew."""
    return nullcontext() if dtype is None else torch.autocast(device.type, dtype=dtype)


def gradient_scaler(device: torch.device, dtype: torch.dtype | None, given: GradScaler | None) -> GradScaler | None:
    """float16 needs a scaler (the caller's, or one of ours); every other precision runs without."""
    if dtype != torch.float16:
        return None
    return given if given is not None else GradScaler(device.type)
