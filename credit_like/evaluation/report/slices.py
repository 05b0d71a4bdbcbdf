"""A capture's course in time as a table: what a timeline draws, in slices of equal length."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from credit_like.can.captures import AttackInterval
from credit_like.evaluation.figures import WindowSet
from credit_like.evaluation.metrics import Bools
from credit_like.evaluation.report.axes import Axis
from credit_like.evaluation.report.markup import Cell, Html, table
from credit_like.evaluation.report.words import count, family, number

#: About so many slices a capture: few enough to be read out, and to keep many captures in a small page.
SLICES = 50


def slices(name: str, windows: WindowSet, alarm: Bools, intervals: Sequence[AttackInterval]) -> Html:
    """Attacks, highest score and alarms of each slice of the capture ``name``; a window belongs to where it starts.

    ``alarm`` bool[n] says which windows alarm. Slices without a window are left out.
    """
    begin, end = float(windows.t_start.min()), float(windows.t_end.max())
    step = Axis("", 0.0, max(end - begin, 1e-9)).step(SLICES)
    slot = np.floor((windows.t_start - begin) / step).astype(np.int64)
    rows = []
    for which in np.unique(slot):
        mine = slot == which
        start, stop = begin + which * step, begin + (which + 1) * step
        attacks = sorted({family(x.family) for x in intervals if x.start < stop and x.stop >= start})
        false = int(np.count_nonzero(mine & alarm & windows.benign))
        hits = int(np.count_nonzero(mine & alarm)) - false
        rows.append(
            [
                f"{start - begin:.4g} to {stop - begin:.4g}",
                ", ".join(attacks) or "none",
                Cell(number(float(windows.score[mine].max()))),
                Cell(count(hits)),
                Cell(count(false)),
            ]
        )
    columns = ["Seconds", "Attack", "Highest score", "Alarms in an attack", "False alarms"]
    return table(
        "Windows by time; alarms are counted in windows",
        columns,
        rows,
        sortable=False,
        label=f"{name}: windows by time",
    )
