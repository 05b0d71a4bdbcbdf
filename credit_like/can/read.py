"""read_log: one log file in, captures out, whatever its format and packing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from credit_like.can.captures import Capture
from credit_like.can.frames import COLUMNS, FD, FrameTable
from credit_like.can.log_scan import BLOCK_BYTES, LogScan
from credit_like.can.scan import open_log


def read_log(
    path: str | Path,
    format: str | None = None,
    max_bad_lines: float = 0.001,
    assume_rate: float | None = None,
    *,
    name: str | None = None,
    block_bytes: int = BLOCK_BYTES,
) -> list[Capture]:
    """The captures in one log file: one, or several where time runs backwards (``name#2``) or a zip holds several logs.

    The format is recognised by content (``source.format`` and ``source.reason`` say which and why); gzip, zip and zstd
    are unpacked on the way. Memory holds the frames and one block of text; ``open_log`` gives the frames in blocks.
    Every line that is no frame, every jump back in time and everything else that was not taken as it stands is a
    ``Defect`` of the source.

    Args:
        path: the log. Labels and intervals are completed from the metadata files that stand beside it.
        format: a name in ``READERS`` to read it as, instead of recognising it.
        max_bad_lines: the share of lines, 0 to 1, that may be no frames.
        assume_rate: frames a second for a log whose clock stands still; without it such a log is refused.
        name: what to call the capture; the file's name by default.
        block_bytes: size of the blocks; the result does not depend on it.

    Raises:
        LogError: the file is missing, empty, damaged, of no known format, has an unknown label, more bad lines than
            allowed, no clock, or time that runs backwards again and again.
    """
    captures: list[Capture] = []
    for scan in open_log(path, format, max_bad_lines, assume_rate, name=name, block_bytes=block_bytes):
        captures += _collected(scan)
    return captures


def _collected(scan: LogScan) -> list[Capture]:
    columns: dict[str, _Columns] = {}
    for frames in scan.frames():
        columns.setdefault(frames.capture_names[0], _Columns()).add(frames)
    ranks = scan.bus_ranks()
    return [facts.with_frames(columns.pop(facts.name).table(ranks)) for facts in scan.captures()]


class _Columns:
    """Blocks of frames, kept by column, so that they can be given up one after another while the whole is made."""

    def __init__(self) -> None:
        self._parts: dict[str, list[NDArray[Any]]] = {name: [] for name in COLUMNS}
        self._attack_names = [""]

    def add(self, frames: FrameTable) -> None:
        self._attack_names += [name for name in frames.attack_names if name not in self._attack_names]
        for name, parts in self._parts.items():
            column = getattr(frames, name)
            if name == "attack" and len(frames.attack_names) > 1:
                column = np.array([self._attack_names.index(x) for x in frames.attack_names], np.int16)[column]
            parts.append(column)

    def table(self, bus_ranks: NDArray[np.uint8]) -> FrameTable:
        columns: dict[str, Any] = {name: _joined(self._parts.pop(name)) for name in COLUMNS}
        columns["bus"] = bus_ranks[columns["bus"]]
        if (
            columns["payload"].shape[1] > 8 and not (columns["flags"] & FD).any()
        ):  # the FD frames were another capture's
            columns["payload"] = np.ascontiguousarray(columns["payload"][:, :8])
        return FrameTable(**columns, attack_names=tuple(self._attack_names))


def _joined(parts: list[NDArray[Any]]) -> NDArray[Any]:
    """One array of all; of payloads of 8 and 64 bytes the narrow ones are widened."""
    if parts[0].ndim == 2:
        width = max(part.shape[1] for part in parts)
        parts = [
            np.pad(part, ((0, 0), (0, width - part.shape[1]))) if part.shape[1] < width else part for part in parts
        ]
    return np.concatenate(parts) if len(parts) > 1 else parts[0]
