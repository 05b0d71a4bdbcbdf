"""ROAD (Verma et al., PLOS ONE 19, e0296879, 2024): candump logs, labelled by ``capture_metadata.json`` beside them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from credit_like.can.errors import LogError
from credit_like.can.frames import FrameTable
from credit_like.can.metadata import CAPTURE_METADATA, Declared
from credit_like.can.readers._base import Head
from credit_like.can.readers.candump import CandumpReader

#: The metadata gives times in microseconds, and an epoch in float64 is good to a quarter of one.
_ROUNDING = 1e-6


class RoadReader(CandumpReader):
    """A candump log that its folder's metadata lists.

    A frame is an attack where it lies in ``injection_interval`` and matches ``injection_id`` (``XXX``: any) and
    ``injection_data_str`` (``X``: any digit; the length counts too). A log with an interval and no data, a suspension,
    has an interval and only normal frames. A log without an interval is normal under ``ambient`` and not labelled
    elsewhere (ROAD's accelerator attacks, which inject nothing and are not marked in time).
    """

    name = "road"
    title = "ROAD candump"
    example = CandumpReader.example

    @classmethod
    def recognise(cls, head: Head, declared: Declared | None) -> tuple[float, str]:
        share, reason = super().recognise(head, declared)
        if declared is None or declared.file != CAPTURE_METADATA:
            return 0.0, ""
        return share, f"{reason}, and {CAPTURE_METADATA} lists it"

    def annotate(self, frames: FrameTable, start: float, path: Path, declared: Declared | None) -> FrameTable:
        if declared is None or not (declared.intervals or path.parent.name == "ambient"):
            return frames
        label = np.zeros(len(frames), np.int8)
        if declared.data:
            elapsed = frames.t - start
            matching = _matches_id(frames, declared.target, path) & _matches_data(frames, declared.data, path)
            for begin, end in declared.intervals:
                label[matching & (elapsed >= begin - _ROUNDING) & (elapsed <= end + _ROUNDING)] = 1
        return replace(frames, label=label)


def _matches_id(frames: FrameTable, target: str, path: Path) -> NDArray[np.bool_]:
    if set(target) == {"X"}:
        return np.ones(len(frames), np.bool_)
    try:
        return frames.id == int(target, 16)
    except ValueError as error:
        raise LogError(
            f"{path.parent / CAPTURE_METADATA}: injection_id of {path.name} must be a hexadecimal id or XXX, got "
            f"{target!r}; mend it or remove the entry"
        ) from error


def _matches_data(frames: FrameTable, data: str, path: Path) -> NDArray[np.bool_]:
    try:
        value = bytes.fromhex(data.replace("X", "0"))
        mask = bytes.fromhex("".join("0" if digit == "X" else "F" for digit in data))
    except ValueError as error:
        raise LogError(
            f"{path.parent / CAPTURE_METADATA}: injection_data_str of {path.name} must be bytes in hexadecimal digits "
            f"or X, got {data!r}; mend it or remove the entry"
        ) from error
    if len(value) > frames.payload.shape[1]:
        return np.zeros(len(frames), np.bool_)
    same = (frames.payload[:, : len(value)] & np.frombuffer(mask, np.uint8)) == np.frombuffer(value, np.uint8)
    return same.all(1) & (frames.length == len(value))
