"""What happened on the bus, capture by capture: attacks, scores and alarms along one axis of time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from credit_like.can.captures import AttackInterval
from credit_like.evaluation.figures import WindowSet
from credit_like.evaluation.metrics import Bools, Floats
from credit_like.evaluation.report.axes import Axis
from credit_like.evaluation.report.markup import Html, details, join, tag
from credit_like.evaluation.report.slices import slices

#: The strip's own units: columns of time and height; it is stretched to the width of the page.
COLUMNS, ATTACKS, SCORES, ALARMS = 600, 8, 44, 10
FOOT = ATTACKS + 2 + SCORES
HEIGHT = FOOT + 2 + ALARMS


def legend() -> Html:
    """What the colours of a strip mean."""
    keys = {
        "bar attack": "attack on the bus",
        "model": "score (highest at each moment)",
        "bar hit": "alarm during an attack",
        "bar false": "false alarm",
        "threshold": "threshold",
    }
    entries = [tag("li", tag("span", class_=f"key {style}"), text) for style, text in keys.items()]
    return tag("ul", *entries, class_="legend")


def strip(
    name: str, summary: str, windows: WindowSet, threshold: float, axis: Axis, intervals: Sequence[AttackInterval]
) -> Html:
    """One capture's strip, its scores drawn on ``axis``; times are shown from its first window in the test set."""
    begin, end = float(windows.t_start.min()), float(windows.t_end.max())
    span = max(end - begin, 1e-9)
    first = _columns(windows.t_start, begin, span)
    last = np.maximum(_columns(windows.t_end, begin, span), first + 1)
    parts = []
    for a, b in _bands(intervals, begin, span):
        parts.append(tag("rect", x=a, y=0, width=b - a, height=FOOT, class_="band"))
        parts.append(tag("rect", x=a, y=0, width=b - a, height=ATTACKS, class_="known"))
    level = _highest(axis.place(windows.score, 0.0, 1.0), first, last)
    parts.append(tag("path", d=_area(level), class_="area model"))
    height = round(FOOT - SCORES * float(axis.place(np.array(threshold), 0.0, 1.0)), 1)
    parts.append(tag("path", d=f"M0 {height}H{COLUMNS}", class_="mark threshold"))
    parts.append(tag("path", d=_runs(np.ones(len(windows), np.bool_), first, last), class_="covered"))
    parts.append(tag("path", d=_runs(windows.alarm & ~windows.benign, first, last), class_="hit"))
    parts.append(tag("path", d=_runs(windows.alarm & windows.benign, first, last), class_="false"))
    image = tag(
        "svg",
        *parts,
        viewBox=f"0 0 {COLUMNS} {HEIGHT}",
        preserveAspectRatio="none",
        role="img",
        aria_label=f"{name}: {summary}",
        class_="strip",
        focusable="false",
    )
    ticks = [tag("span", text, style=f"left: {value / span:.2%}") for value, text in Axis("", 0.0, span).ticks()]
    scale = tag("div", *ticks, class_="scale", aria_hidden="true")
    heading = tag("div", tag("h3", name), tag("p", summary), class_="strip-head")
    data = details("Data of this chart", slices(name, windows, windows.alarm, intervals), class_="data")
    return tag("div", heading, image, scale, data, class_="timeline")


def _columns(t: Floats, begin: float, span: float) -> np.ndarray:
    return np.floor((t - begin) / span * COLUMNS).astype(np.int64).clip(0, COLUMNS - 1)


def _bands(intervals: Sequence[AttackInterval], begin: float, span: float) -> list[tuple[int, int]]:
    """Columns that attacks take, joined where they touch; one column at least for each."""
    taken = np.zeros(COLUMNS + 1, np.bool_)
    end = begin + span
    for interval in intervals:
        if interval.stop >= begin and interval.start <= end:
            a, b = _columns(np.array([interval.start, interval.stop]), begin, span)
            taken[a : b + 1] = True
    edges = np.flatnonzero(np.diff(np.concatenate([[False], taken[:-1], [False]]).astype(np.int8)))
    return [(int(a), int(b)) for a, b in edges.reshape(-1, 2)]


def _highest(level: Floats, first: np.ndarray, last: np.ndarray) -> Floats:
    """Highest level in each column; NaN where no window lies."""
    found = np.full(COLUMNS, -np.inf)
    np.maximum.at(found, first, level)
    for i in np.flatnonzero(last - first > 1):
        found[first[i] : last[i]] = np.maximum(found[first[i] : last[i]], level[i])
    found[np.isneginf(found)] = np.nan
    return np.clip(found, 0, 1)


def _area(level: Floats) -> str:
    """Bars from the foot of the score lane, neighbours of one height joined."""
    heights = np.nan_to_num(np.round(level * SCORES, 1))
    starts = np.flatnonzero(np.concatenate([[True], np.diff(heights) != 0]))
    stops = np.append(starts[1:], COLUMNS)
    return "".join(
        f"M{a} {FOOT}V{FOOT - heights[a]:g}H{b}V{FOOT}Z" for a, b in zip(starts, stops, strict=True) if heights[a]
    )


def _runs(mask: Bools, first: np.ndarray, last: np.ndarray) -> str:
    """Bars in the alarm lane for the columns that the marked windows take."""
    change = np.zeros(COLUMNS + 1, np.int64)
    np.add.at(change, first[mask], 1)
    np.add.at(change, last[mask], -1)
    taken = np.cumsum(change)[:-1] > 0
    edges = np.flatnonzero(np.diff(np.concatenate([[False], taken, [False]]).astype(np.int8)))
    return "".join(f"M{a} {FOOT + 2}H{b}V{HEIGHT}H{a}Z" for a, b in edges.reshape(-1, 2))


def stack(strips: Sequence[Html]) -> Html:
    """The legend and the strips below it."""
    return join([legend(), *strips])
