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
    intervals = []
    for family in np.unique(frames.attack[frames.label == 1]):
        times = frames.t[(frames.label == 1) & (frames.attack == family)]
        last = np.flatnonzero(np.diff(times) > gap)
        starts = times[np.concatenate(([0], last + 1))]
        stops = times[np.concatenate((last, [len(times) - 1]))]
        name = frames.attack_names[family]
        intervals += [
            AttackInterval(name, float(a), float(b), declared=False) for a, b in zip(starts, stops, strict=True)
        ]
    return tuple(sorted(intervals, key=lambda interval: (interval.start, interval.stop, interval.family)))


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
