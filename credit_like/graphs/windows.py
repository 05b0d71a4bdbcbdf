"""Windows: runs of consecutive frames of one capture, bus and segment, and all that is known of each but its graph."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from credit_like.can.captures import Capture
from credit_like.can.frames import FrameTable
from credit_like.config import Settings, closest
from credit_like.graphs._kernel import MAX_WINDOW
from credit_like.graphs.plan import Segment, SplitPlan

#: Rows of a capture that are looked at together: memory does not grow with the capture, and speed does not suffer.
_BLOCK_ROWS = 1 << 18


class WindowSettings(Settings):
    """How captures are cut into windows."""

    window: int = Field(default=100, ge=2, le=MAX_WINDOW, description="frames in a window")
    stride: int | None = Field(
        default=None, ge=1, description="frames from one window's start to the next one's; null: the window's length"
    )

    @property
    def step(self) -> int:
        """The stride in frames, with the default put in."""
        return self.window if self.stride is None else self.stride


#: Columns of a WindowTable, in order.
WINDOW_DTYPE = np.dtype(
    [
        ("capture", np.int32),
        ("split", np.int8),
        ("bus", np.uint8),
        ("row_start", np.int64),
        ("row_stop", np.int64),
        ("t_start", np.float64),
        ("t_stop", np.float64),
        ("label", np.int8),
        ("attack_share", np.float32),
        ("family", np.int16),
        ("in_interval", np.bool_),
    ]
)


@dataclass(frozen=True, eq=False)
class WindowTable:
    """``n`` windows, by segment of the plan, then by bus, then by time.

    ================  =========  ==============================================================================
    ``capture``       int32      index into ``capture_names``
    ``split``         int8       index into ``split_names``
    ``bus``           uint8      channel number
    ``row_start``     int64      first row of the capture that the window covers
    ``row_stop``      int64      one behind its last row; where a capture has several buses, rows of another bus
                                 may lie between
    ``t_start``       float64    time of its first frame, seconds of the capture's clock
    ``t_stop``        float64    time of its last frame
    ``label``         int8       1 any frame is an attack; else -1 any frame is unlabelled; else 0
    ``attack_share``  float32    attack frames / frames
    ``family``        int16      index into ``families``: the most frequent named family of its attack frames, 0 none
    ``in_interval``   bool       overlaps an attack interval that the capture declares
    ================  =========  ==============================================================================

    ``dropped_frames`` counts the plan's frames that are in no window because the tail of a segment or bus is shorter
    than a window; ``skipped_frames`` those that a stride longer than the window jumps over. Both are of the whole cut,
    also in a table of some of its rows. Columns are never features.
    """

    capture: NDArray[np.int32]
    split: NDArray[np.int8]
    bus: NDArray[np.uint8]
    row_start: NDArray[np.int64]
    row_stop: NDArray[np.int64]
    t_start: NDArray[np.float64]
    t_stop: NDArray[np.float64]
    label: NDArray[np.int8]
    attack_share: NDArray[np.float32]
    family: NDArray[np.int16]
    in_interval: NDArray[np.bool_]
    capture_names: tuple[str, ...]
    split_names: tuple[str, ...]
    families: tuple[str, ...]
    dropped_frames: int = 0
    skipped_frames: int = 0

    def __len__(self) -> int:
        return len(self.capture)

    def __getitem__(self, rows: slice | NDArray[Any]) -> WindowTable:
        """The same columns at ``rows`` (a slice, a mask or an index array); names and counts stay."""
        return replace(self, **{name: getattr(self, name)[rows] for name in WINDOW_DTYPE.names or ()})

    def records(self) -> NDArray[np.void]:
        """The columns as one structured array of ``WINDOW_DTYPE``."""
        records = np.empty(len(self), WINDOW_DTYPE)
        for name in WINDOW_DTYPE.names or ():
            records[name] = getattr(self, name)
        return records


def cut_windows(captures: Sequence[Capture], plan: SplitPlan, settings: WindowSettings) -> WindowTable:
    """Cut every segment of ``plan`` into windows, each bus by itself; frames outside the plan are in no window.

    Raises ValueError when a segment names a capture that is not there, leaves its rows, or overlaps another segment
    (which would show a raw frame to two splits), or when two captures have one name.
    """
    by_name = {capture.name: index for index, capture in enumerate(captures)}
    if len(by_name) < len(captures):
        raise ValueError("two captures have the same name")
    _check_segments(plan, {name: len(captures[index].frames) for name, index in by_name.items()})
    split_names = plan.split_names
    families = tuple(dict.fromkeys(("", *(name for capture in captures for name in capture.frames.attack_names))))

    parts = [np.empty(0, WINDOW_DTYPE)]
    dropped = skipped = 0
    for segment in plan.segments:
        capture = captures[by_name[segment.capture]]
        for bus, count in _buses(capture.frames, segment).items():
            windows = 0
            for rows, starts in _rows_of_windows(capture.frames, bus, segment, settings):
                records = _describe(capture, rows, starts, settings.window, families)
                records["capture"] = by_name[segment.capture]
                records["split"] = split_names.index(segment.split)
                records["bus"] = bus
                parts.append(records)
                windows += len(starts)
            reached = (windows - 1) * settings.step + settings.window if windows else 0
            dropped += count - reached
            skipped += max(0, windows - 1) * max(0, settings.step - settings.window)
    records = np.concatenate(parts)
    return WindowTable(
        **{name: np.ascontiguousarray(records[name]) for name in WINDOW_DTYPE.names or ()},
        capture_names=tuple(capture.name for capture in captures),
        split_names=split_names,
        families=families,
        dropped_frames=dropped,
        skipped_frames=skipped,
    )


def rows_of_bus(frames: FrameTable, bus: int, row_start: int, row_stop: int) -> NDArray[np.int64]:
    """int64[m]: the rows ``row_start <= row < row_stop`` that ``bus`` carried."""
    return np.flatnonzero(frames.bus[row_start:row_stop] == bus) + row_start


def _buses(frames: FrameTable, segment: Segment) -> dict[int, int]:
    """How many frames of the segment each bus carried."""
    counts = np.zeros(256, np.int64)
    for row in range(segment.row_start, segment.row_stop, _BLOCK_ROWS):
        counts += np.bincount(frames.bus[row : min(row + _BLOCK_ROWS, segment.row_stop)], minlength=256)
    return {int(bus): int(counts[bus]) for bus in np.flatnonzero(counts)}


def _rows_of_windows(
    frames: FrameTable, bus: int, segment: Segment, settings: WindowSettings
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """The windows of one bus, some at a time: int64 rows of the bus, and where among these each window starts."""
    rows = np.empty(0, np.int64)
    wait = 0  # frames of the bus to pass over before the next window starts
    for row in range(segment.row_start, segment.row_stop, _BLOCK_ROWS):
        found = rows_of_bus(frames, bus, row, min(row + _BLOCK_ROWS, segment.row_stop))
        rows = np.concatenate([rows, found])
        starts = np.arange(wait, len(rows) - settings.window + 1, settings.step)
        if len(starts):
            yield rows, starts
            wait = int(starts[-1]) + settings.step
        passed = min(wait, len(rows))
        rows, wait = rows[passed:], wait - passed


def _describe(
    capture: Capture, rows: NDArray[np.int64], starts: NDArray[np.int64], window: int, families: tuple[str, ...]
) -> NDArray[np.void]:
    """The columns that depend on the frames of the windows which begin at ``rows[starts]``."""
    frames = capture.frames
    records = np.zeros(len(starts), WINDOW_DTYPE)
    if not len(starts):
        return records
    first, last = rows[starts], rows[starts + window - 1]
    records["row_start"], records["row_stop"] = first, last + 1
    records["t_start"], records["t_stop"] = frames.t[first], frames.t[last]

    label = frames.label[rows]
    attacks = _count(label == 1, starts, window)
    records["label"] = np.where(attacks > 0, 1, np.where(_count(label == -1, starts, window) > 0, -1, 0))
    records["attack_share"] = attacks / window

    attack = np.where(label == 1, frames.attack[rows], 0)
    most = np.zeros(len(starts), np.int64)
    for index in np.unique(attack[attack != 0]):
        count = _count(attack == index, starts, window)
        records["family"][count > most] = families.index(frames.attack_names[index])
        most = np.maximum(most, count)

    for interval in [interval for interval in capture.intervals if interval.declared]:
        records["in_interval"] |= (records["t_start"] <= interval.stop) & (records["t_stop"] >= interval.start)
    return records


def _count(mask: NDArray[np.bool_], starts: NDArray[np.int64], window: int) -> NDArray[np.int64]:
    """How many of ``mask[start : start + window]`` are true, for each start."""
    if not mask.any():
        return np.zeros(len(starts), np.int64)
    below = np.concatenate([np.zeros(1, np.int64), np.cumsum(mask)])
    return below[starts + window] - below[starts]


def _check_segments(plan: SplitPlan, frames: dict[str, int]) -> None:
    before: Segment | None = None
    for segment in sorted(plan.segments, key=lambda segment: (segment.capture, segment.row_start, segment.row_stop)):
        if segment.capture not in frames:
            raise ValueError(f"{segment}: no such capture{closest(segment.capture, frames)}")
        if not 0 <= segment.row_start <= segment.row_stop <= frames[segment.capture]:
            raise ValueError(f"{segment}: the capture has rows 0..{frames[segment.capture]}")
        if before and before.capture == segment.capture and before.row_stop > segment.row_start:
            raise ValueError(f"{segment} overlaps {before}")
        before = segment
