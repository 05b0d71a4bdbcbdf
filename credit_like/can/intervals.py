"""Attack intervals from frame labels, for captures whose attacks are not declared in a metadata file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from credit_like.can.captures import AttackInterval
from credit_like.can.frames import FrameTable


def intervals_from_labels(frames: FrameTable, gap: float = 1.0) -> tuple[AttackInterval, ...]:
    """One interval for each run of attack frames of one family without a pause of more than ``gap`` seconds.

    ``frames`` belong to one capture; times are on its clock; the intervals come in order of their start. An attack
    without attack frames (a suspension) cannot be found so, and the intervals are not ``declared``.
    """
    runs = AttackRuns(gap)
    runs.add(frames)
    return runs.intervals()


class AttackRuns:
    """``intervals_from_labels`` for a capture that comes in blocks; the result does not depend on them."""

    def __init__(self, gap: float = 1.0) -> None:
        self._gap = gap
        self._runs: dict[str, list[list[float]]] = {}

    def add(self, frames: FrameTable) -> None:
        """The next frames of the capture."""
        attack = frames.label == 1
        for family in np.unique(frames.attack[attack]):
            times = frames.t[attack & (frames.attack == family)]
            last = np.flatnonzero(np.diff(times) > self._gap)
            starts = times[np.concatenate(([0], last + 1))].tolist()
            stops = times[np.concatenate((last, [len(times) - 1]))].tolist()
            runs = self._runs.setdefault(frames.attack_names[family], [])
            if runs and starts[0] - runs[-1][1] <= self._gap:
                runs[-1][1] = stops.pop(0)
                del starts[0]
            runs += [[start, stop] for start, stop in zip(starts, stops, strict=True)]

    def intervals(self) -> tuple[AttackInterval, ...]:
        """The intervals so far."""
        found = [
            AttackInterval(family, start, stop, declared=False)
            for family, runs in self._runs.items()
            for start, stop in runs
        ]
        return tuple(sorted(found, key=lambda interval: (interval.start, interval.stop, interval.family)))


def families_by_interval(frames: FrameTable, intervals: Sequence[AttackInterval]) -> FrameTable:
    """``frames`` in which every attack frame has the family of the first interval that contains it.

    Attack frames in no interval keep the family they have. A log with one attack column needs this where attacks of
    several families alternate.
    """
    all_names = tuple(dict.fromkeys([*frames.attack_names, *(interval.family for interval in intervals)]))
    attack = frames.attack.copy()
    for interval in reversed(intervals):
        inside = (frames.label == 1) & (frames.t >= interval.start) & (frames.t <= interval.stop)
        attack[inside] = all_names.index(interval.family)
    used = np.union1d(0, attack)
    names = tuple(all_names[number] for number in used)
    return replace(frames, attack=np.searchsorted(used, attack).astype(np.int16), attack_names=names)
