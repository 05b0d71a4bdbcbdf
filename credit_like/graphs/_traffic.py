"""What planning needs to know of a capture: where its attacks are, and how many windows a range of rows gives."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from credit_like.can.captures import Capture
from credit_like.graphs.plan import Segment

BENIGN = ""

#: The family of frames that are labelled as attacks by a log which does not say of which kind.
UNNAMED = "unnamed"


@dataclass(frozen=True)
class Traffic:
    """One capture as planning sees it.

    ``rows`` gives, for each family, the sorted rows (int64) that make a window one of this family: its labelled frames,
    and every row of a declared interval without one (a suspension). ``events`` gives its attacks as sorted, disjoint
    times ``(starts, stops)`` in seconds of the capture's clock, labelled frames and declared intervals together.
    """

    capture: str
    vehicle: str
    t: NDArray[np.float64]
    rows: Mapping[str, NDArray[np.int64]]
    events: Mapping[str, tuple[NDArray[np.float64], NDArray[np.float64]]]

    @staticmethod
    def of(capture: Capture) -> Traffic:
        frames = capture.frames
        attacked = np.flatnonzero(frames.label == 1)
        kinds = frames.attack[attacked]
        rows = {frames.attack_names[kind] or UNNAMED: attacked[kinds == kind] for kind in np.unique(kinds)}
        times = {family: [(frames.t[found], frames.t[found])] for family, found in rows.items()}
        for interval in capture.intervals:
            found = rows.get(interval.family, np.zeros(0, np.int64))
            start = int(np.searchsorted(frames.t, interval.start, side="left"))
            stop = int(np.searchsorted(frames.t, interval.stop, side="right"))
            if np.searchsorted(found, start) == np.searchsorted(found, stop):
                rows[interval.family] = np.union1d(found, np.arange(start, stop))
            declared = (np.array([interval.start]), np.array([interval.stop]))
            times.setdefault(interval.family, []).append(declared)
        events = {family: _disjoint(pairs) for family, pairs in times.items()}
        return Traffic(capture.name, capture.vehicle, frames.t, rows, events)

    def __len__(self) -> int:
        return len(self.t)

    @property
    def families(self) -> frozenset[str]:
        return frozenset(self.rows)

    def windows(self, row_start: int, row_stop: int, window: int) -> Counter[str]:
        """About how many windows rows ``row_start <= row < row_stop`` give: of each family, and benign under ``""``.

        Counted as if all frames were on one bus and the stride were the window.
        """
        total = (row_stop - row_start) // window
        inside = {
            family: np.unique((_between(rows, row_start, row_start + total * window) - row_start) // window)
            for family, rows in self.rows.items()
        }
        counts = Counter({family: len(found) for family, found in inside.items() if len(found)})
        attacked = np.unique(np.concatenate(list(inside.values()))) if inside else ()
        counts[BENIGN] = total - len(attacked)
        return counts

    def distance(self, families: Iterable[str], row_start: int, row_stop: int) -> NDArray[np.float64]:
        """float64[rows]: seconds from each row to the nearest attack of ``families``; 0 within one, inf without any."""
        t = self.t[row_start:row_stop]
        nearest = np.full(len(t), np.inf)
        for family in families:
            starts, stops = self.events.get(family, (np.zeros(0), np.zeros(0)))
            if len(starts):
                after = np.searchsorted(starts, t, side="right")  # events that have begun
                since = np.where(after > 0, t - stops[np.maximum(after - 1, 0)], np.inf)
                until = np.where(after < len(starts), starts[np.minimum(after, len(starts) - 1)] - t, np.inf)
                nearest = np.minimum(nearest, np.maximum(np.minimum(since, until), 0.0))
        return nearest


def tally(segments: Iterable[Segment], traffic: Mapping[str, Traffic], window: int) -> dict[str, Counter[str]]:
    """Windows of each split by family; see ``Traffic.windows``."""
    totals: dict[str, Counter[str]] = {}
    for segment in segments:
        counts = traffic[segment.capture].windows(segment.row_start, segment.row_stop, window)
        totals.setdefault(segment.split, Counter()).update(counts)
    return totals


def _between(rows: NDArray[np.int64], start: int, stop: int) -> NDArray[np.int64]:
    return rows[np.searchsorted(rows, start) : np.searchsorted(rows, stop)]


def _disjoint(
    pairs: list[tuple[NDArray[np.float64], NDArray[np.float64]]],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Intervals sorted by start, those that overlap made one."""
    starts = np.concatenate([start for start, _ in pairs])
    stops = np.concatenate([stop for _, stop in pairs])
    order = np.argsort(starts, kind="stable")
    starts, stops = starts[order], np.maximum.accumulate(stops[order])
    begins = np.ones(len(starts), bool)
    begins[1:] = starts[1:] > stops[:-1]
    ends = np.append(begins[1:], True)
    return starts[begins], stops[ends]
