"""Bit for bit: the names of what differs between two states, batches or files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor


def differences(one: Any, other: Any, name: str = "it") -> list[str]:
    """What differs, by dotted name, and how; empty when the two are equal bit for bit (a NaN equals the same NaN).

    Goes into mappings, lists, tuples and whatever has ``to_dict`` (a graph batch); tensors and arrays are compared by
    dtype, shape and bytes.

    >>> differences({"a": torch.zeros(2), "b": 1}, {"a": -torch.zeros(2), "b": 1})
    ['it.a: 2 of 2 elements differ']
    """
    if type(one) is not type(other):
        return [f"{name}: {type(one).__name__} and {type(other).__name__}"]
    if isinstance(one, Tensor | np.ndarray):
        return _of_arrays(one, other, name)
    if callable(getattr(one, "to_dict", None)):
        one, other = one.to_dict(), other.to_dict()
    if isinstance(one, Mapping):
        if one.keys() != other.keys():
            return [f"{name}: keys {sorted(map(str, one.keys() ^ other.keys()))} are in one of the two only"]
        return [d for key in one for d in differences(one[key], other[key], f"{name}.{key}")]
    if isinstance(one, list | tuple):
        if len(one) != len(other):
            return [f"{name}: {len(one)} and {len(other)} entries"]
        return [d for i, pair in enumerate(zip(one, other, strict=True)) for d in differences(*pair, f"{name}[{i}]")]
    same = repr(one) == repr(other) if isinstance(one, float) else one == other
    return [] if same else [f"{name}: {_short(one)} and {_short(other)}"]


def plain_bytes(tensor: Tensor) -> Tensor:
    """The bytes of a tensor, uint8[elements, itemsize], on the CPU."""
    flat = tensor.detach().cpu().contiguous().flatten()
    return flat.view(torch.uint8).reshape(flat.numel(), flat.element_size())


def raised(call: Callable[[], Any]) -> BaseException | None:
    """What ``call`` raises, or None."""
    try:
        call()
    except BaseException as error:  # noqa: BLE001  the caller judges it
        return error
    return None


def _of_arrays(one: Any, other: Any, name: str) -> list[str]:
    if one.dtype != other.dtype or one.shape != other.shape:
        return [f"{name}: {one.dtype}{list(one.shape)} and {other.dtype}{list(other.shape)}"]
    ours, theirs = (plain_bytes(torch.as_tensor(array)) for array in (one, other))
    count = int((ours != theirs).any(dim=1).sum()) if ours.numel() else 0
    return [f"{name}: {count} of {len(ours)} elements differ"] if count else []


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
