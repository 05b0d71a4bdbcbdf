"""From scores to alarms: the threshold, then k of the last n windows. The only place where an alarm is raised."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from credit_like.config import Settings

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class AlarmSettings(Settings):
    """How many windows above the threshold make an alarm; 1 of 1 is every one of them."""

    k: int = Field(1, ge=1, description="windows above the threshold, the present one included, that raise an alarm")
    n: int = Field(1, ge=1, description="among so many last windows of the capture and bus")

    @model_validator(mode="after")
    def _fits_together(self) -> AlarmSettings:
        if self.k > self.n:
            raise ValueError(f"k must be at most n; got {self.k} of the last {self.n} windows")
        return self


@dataclass(frozen=True)
class AlarmRule:
    """A window alarms where its own score is above ``threshold`` and so are at least ``k`` of the last ``n`` windows.

    The last n are the window itself and those before it on the same capture and bus; where a stretch was not scored,
    counting begins anew behind it. An alarm is raised at the k-th window above the threshold and never lingers on a
    quiet one: a benign window alarms no more often than its score is above the threshold, so what the threshold
    promises holds for any k and n.
    """

    threshold: float
    k: int = 1
    n: int = 1

    @classmethod
    def of(cls, metrics: Mapping[str, Any]) -> AlarmRule:
        """The rule that a ``metrics.json`` was made with."""
        return cls(metrics["calibration"]["threshold"], **metrics["settings"]["alarm"])

    def alarms(self, score: Floats, stream: Ints, row_start: Ints, row_stop: Ints) -> Bools:
        """bool[n]: which of n windows, given in any order, alarm.

        ``score`` float64[n]; ``stream`` int64[n] numbers the captures and buses, ``row_start`` and ``row_stop``
        int64[n] are the raw rows that a window covers.
        """
        above = score > self.threshold
        if self.n == 1 or not above.any():
            return above
        order, follows = in_sequence(stream, row_start, row_stop)
        ranked, place = above[order], np.arange(len(above))
        begin = np.maximum.accumulate(np.where(follows, 0, place))
        total = np.concatenate([[0], np.cumsum(ranked)])
        recent = total[1:] - total[np.maximum(begin, place - self.n + 1)]
        alarm = np.zeros_like(above)
        alarm[order] = ranked & (recent >= self.k)
        return alarm


def in_sequence(stream: Ints, row_start: Ints, row_stop: Ints) -> tuple[Ints, Bools]:
    """(order int64[n], follows bool[n]): windows by stream and row, and whether each adjoins the one before it.

    Two neighbours of a stream adjoin unless as many rows as the first one has lie between them: then a stretch that
    was not scored parts them. (Frames of another bus may lie between two windows that follow each other.)
    """
    order = np.lexsort((row_start, stream))
    stream, row_start, row_stop = stream[order], row_start[order], row_stop[order]
    follows = np.zeros(len(order), np.bool_)
    follows[1:] = (stream[1:] == stream[:-1]) & (row_start[1:] - row_stop[:-1] < row_stop[:-1] - row_start[:-1])
    return order, follows
