"""Clocks that give the time since the line before: gaps that add up."""

from __future__ import annotations

import itertools
import re
import statistics
from typing import TYPE_CHECKING

import numpy as np

from credit_like.can.metadata import Declared
from credit_like.can.readers._base import Head, TextReader
from credit_like.can.readers._lines import Lines
from credit_like.can.readers._rows import BAD_TIME, GOOD, NEEDS_FD, Rows

#: Longer gaps, in seconds (eleven days), and longer sums, in nanoseconds (31 years), are taken for damage.
MAX_GAP, _MAX_ELAPSED = 1e6, 10**18

#: A clock is taken for one of gaps where at least this share of the first lines steps back (of gaps about half do, of
#: times none), and where half of them are as short as gaps on a bus are, and none is too long.
_MIN_STEPS_BACK, _MEDIAN_GAP, _LONGEST_GAP = 0.25, 0.25, 60.0
_TIME = re.compile(rb"\s*\((\d+\.\d+)\)")


class Gaps:
    """Times that are seconds since the line before, added up in whole nanoseconds, so that the sum does not drift.

    A line that is no frame still passes its gap on, where that can be read; where it cannot (``t`` is 0), all later
    times are early by it.
    """

    def __init__(self) -> None:
        self._elapsed = 0

    def add_up(self, rows: Rows) -> None:
        """Turn the gaps in ``rows.t`` into seconds since the first line."""
        if not len(rows.t):
            return
        far = rows.t >= MAX_GAP
        gaps = np.where(far, 0.0, np.rint(rows.t * 1e9))
        over = self._elapsed + np.cumsum(gaps) >= _MAX_ELAPSED
        elapsed = self._elapsed + np.cumsum(np.where(over, 0.0, gaps).astype(np.int64))
        rows.t[:] = elapsed / 1e9
        rows.code[(far | over) & (rows.code == GOOD)] = BAD_TIME
        self._elapsed = int(elapsed[-1])


if TYPE_CHECKING:
    _Base = TextReader
else:
    _Base = object


class DeltaClock(_Base):
    """Put before a reader of ``(seconds)`` lines: the same lines where the time is the gap since the line before."""

    def __init__(self) -> None:
        super().__init__()
        self._gaps = Gaps()

    def parse(self, lines: Lines, rows: Rows) -> None:
        super().parse(lines, rows)  # type: ignore[safe-super]
        if not (rows.code == NEEDS_FD).any():
            self._gaps.add_up(rows)

    @classmethod
    def recognise(cls, head: Head, declared: Declared | None) -> tuple[float, str]:
        share, reason = super().recognise(head, declared)
        times = [float(match[1]) for match in map(_TIME.match, head.lines) if match]
        back = sum(after < before for before, after in itertools.pairwise(times))
        if back < max(1, _MIN_STEPS_BACK * (len(times) - 1)):
            return 0.0, ""
        if max(times) > _LONGEST_GAP or statistics.median(times) > _MEDIAN_GAP:
            return 0.0, ""
        return share, f"{reason}, and their times are gaps: {back} of {len(times) - 1} are smaller than the one before"
