"""Alarms in time: benign bus time, runs of false alarms, and attack intervals found or missed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from credit_like.can.captures import AttackInterval
from credit_like.evaluation.alarms import in_sequence

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Event:
    """One attack interval as the windows of one capture saw it.

    ``observed_from`` is the interval's start, or the start of the first window that overlaps it where that is later (a
    test block can begin inside an attack). ``time_to_alarm`` is in seconds from there to the end of the first alarming
    window, the moment at which a detector on the bus would have known; None where no window alarmed.
    """

    interval: AttackInterval
    observed_from: float
    windows: int
    time_to_alarm: float | None

    @property
    def found(self) -> bool:
        return self.time_to_alarm is not None


def overlaps(interval: AttackInterval, t_start: Floats, t_end: Floats) -> Bools:
    """bool[n]: whether the window from its first frame to its last shares an instant with the closed interval."""
    return (t_start <= interval.stop) & (t_end >= interval.start)


def match_events(intervals: Sequence[AttackInterval], t_start: Floats, t_end: Floats, alarm: Bools) -> list[Event]:
    """The intervals that the n windows of one capture could see, in order; one that no window overlaps is left out.

    ``t_start``, ``t_end`` float64[n] seconds on the intervals' clock, ``alarm`` bool[n]; windows in any order, of any
    bus. Intervals that overlap each other are judged each by itself.
    """
    events = []
    for interval in intervals:
        seen = overlaps(interval, t_start, t_end)
        if not seen.any():
            continue
        observed_from = max(interval.start, float(t_start[seen].min()))
        alarmed = t_end[seen & alarm]
        delay = float(alarmed.min()) - observed_from if len(alarmed) else None
        events.append(Event(interval, observed_from, int(np.count_nonzero(seen)), delay))
    return events


def covered_seconds(t_start: Floats, t_end: Floats) -> float:
    """Seconds of one capture that its windows cover; where windows overlap, on one bus or several, time counts once."""
    if len(t_start) == 0:
        return 0.0
    order = np.argsort(t_start, kind="stable")
    start, end = t_start[order], np.maximum.accumulate(t_end[order])
    uncovered = np.maximum(start[1:] - end[:-1], 0.0)
    return float(end[-1] - start[0] - uncovered.sum())


def alarm_begins(marked: Bools, stream: Ints, row_start: Ints, row_stop: Ints) -> Bools:
    """bool[n]: the first window of each run of adjoining marked ones; a run is one alarm to whoever has to answer it.

    ``stream`` int64[n] numbers what windows follow each other in (a capture and bus), ``row_start``/``row_stop``
    int64[n] the raw rows that a window covers; ``in_sequence`` says which windows adjoin.
    """
    order, follows = in_sequence(stream, row_start, row_stop)
    ranked = marked[order]
    begins = np.zeros_like(marked)
    begins[order] = ranked
    begins[order[1:]] &= ~(ranked[:-1] & follows[1:])
    return begins


def alarm_runs(marked: Bools, stream: Ints, row_start: Ints, row_stop: Ints) -> int:
    """How many runs of adjoining marked windows there are, as ``alarm_begins`` says."""
    return int(np.count_nonzero(alarm_begins(marked, stream, row_start, row_stop)))
