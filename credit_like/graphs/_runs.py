"""Frame runs: the fingerprint by which recorded traffic is recognised wherever it turns up again.

A run is ``RUN_LENGTH`` consecutive frames of one bus, or of one id on it, told apart by key, length and payload; times
do not count, so that a re-timed copy is recognised too. Runs of a bus are the sharper evidence; runs of an id survive
where an attack that lasts the whole capture has removed or changed another id's frames. Frames labelled as attacks are
skipped: an injected frame must not hide the traffic that it was injected into, and two floods look alike without
sharing a drive.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from credit_like.can.captures import Capture
from credit_like.can.frames import FrameTable

#: Frames in a run. Measured on 28 captures of five cars, runs of a bus: with 8 frames the two halves of one capture
#: share up to 1 % of their runs by chance (counters that wrap in step) and different drives of one car 0.06 %; with 12
#: frames 0.05 % and none; with 16 none and none. Captures made from one drive share 31 % to 100 % of those.
RUN_LENGTH = 16

#: Most runs that are compared at once; beyond it, runs are sampled by their hash, which keeps every copy of a run.
MAX_RUNS = 1 << 22

#: Whose consecutive frames make a run.
Stream = Literal["bus", "id"]

_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio, odd (Knuth, TAOCP 3, 6.4)


@dataclass(frozen=True)
class FrameRuns:
    """The runs of one capture: ``hash`` uint64[m], rows of the ``first`` and ``last`` frame int64[m]."""

    hash: NDArray[np.uint64]
    first: NDArray[np.int64]
    last: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.hash)

    def sampled(self, step: int) -> FrameRuns:
        """About one run in ``step`` (a power of two), the same ones in every capture."""
        return self if step == 1 else self._where((self.hash & np.uint64(step - 1)) == 0)

    def inside(self, row_start: int, row_stop: int) -> FrameRuns:
        """The runs that lie wholly within ``row_start <= row < row_stop``."""
        return self._where((self.first >= row_start) & (self.last < row_stop))

    def _where(self, mask: NDArray[np.bool_]) -> FrameRuns:
        return FrameRuns(self.hash[mask], self.first[mask], self.last[mask])


def frame_runs(frames: FrameTable, of: Stream = "bus", length: int = RUN_LENGTH) -> FrameRuns:
    """Every run of ``length`` frames of each bus, or of each id on each bus, one after another."""
    normal = np.flatnonzero(frames.label != 1)
    stream = frames.bus[normal].astype(np.int64)
    if of == "id":
        stream = stream << 33 | frames.key[normal]
    order = np.argsort(stream, kind="stable")
    rows, stream = normal[order], stream[order]
    count = max(0, len(rows) - length + 1)
    frame_hash = _frame_hashes(frames)[rows]
    run_hash = np.zeros(count, np.uint64)
    for position in range(length if count else 0):
        run_hash *= _MULTIPLIER
        run_hash += frame_hash[position : position + count]
    runs = FrameRuns(_mixed(run_hash), rows[:count], rows[len(rows) - count :])
    return runs._where(stream[:count] == stream[len(stream) - count :])


def runs_of(captures: Sequence[Capture], of: Stream = "bus") -> list[FrameRuns]:
    """The runs of every capture, sampled alike when there are more than ``MAX_RUNS`` in all."""
    step = 1
    while sum(len(capture.frames) for capture in captures) > step * MAX_RUNS:
        step *= 2
    return [frame_runs(capture.frames, of).sampled(step) for capture in captures]


def _frame_hashes(frames: FrameTable) -> NDArray[np.uint64]:
    """uint64[n]: key, length and payload of each frame; a payload padded to 64 bytes hashes as the same in 8."""
    words = np.ascontiguousarray(frames.payload).view(np.uint64)
    total = frames.key.astype(np.uint64) * _MULTIPLIER + frames.length
    for column in range(words.shape[1]):
        total += _mixed(words[:, column]) * np.uint64(2 * column + 1)
    return _mixed(total)


def _mixed(value: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finaliser of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014): every bit depends on every bit; 0 stays 0."""
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))
