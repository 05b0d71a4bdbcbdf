"""What a certificate is measured from: the rows that windows use, and how far apart splits are, against brute force."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from credit_like.graphs._evidence import NO_CLOCK, overlapping_rows, role, smallest_gap, used_intervals
from credit_like.graphs.plan import Segment, SplitPlan
from credit_like.graphs.windows import WindowSettings, cut_windows
from tests.graphs.drives import capture, drive


@given(
    seed=st.integers(0, 99),
    borders=st.lists(st.integers(0, 600), min_size=2, max_size=7, unique=True),
    window=st.integers(2, 30),
    stride=st.integers(1, 50),
    buses=st.integers(1, 3),
)
def test_intervals_are_the_rows_that_windows_use(
    seed: int, borders: list[int], window: int, stride: int, buses: int
) -> None:
    frames = drive(seed, seconds=3.0)[:600]
    frames = replace(frames, bus=np.random.default_rng(seed).integers(0, buses, 600).astype(np.uint8))
    borders.sort()
    segments = [
        Segment("a", ("train", "validation", "test")[i % 3], *borders[i : i + 2]) for i in range(len(borders) - 1)
    ]
    captures, plan = [capture("a", frames)], SplitPlan(tuple(segments), "time_blocks", (("a",),))
    windows = cut_windows(captures, plan, WindowSettings(window=window, stride=stride))
    intervals, outside = used_intervals(captures, plan, windows)
    assert outside == 0
    assert sum(x["windows"] for x in intervals) == len(windows)
    for number, split in enumerate(windows.split_names):
        own = windows.split == number
        for start, stop in zip(windows.row_start[own], windows.row_stop[own], strict=True):
            assert any(x["split"] == split and x["row_start"] <= start and stop <= x["row_stop"] for x in intervals)
    for interval in intervals:
        assert interval["row_start"] in windows.row_start
        assert interval["row_stop"] in windows.row_stop
        assert interval["t_stop"] == frames.t[interval["row_stop"] - 1]
    assert overlapping_rows(intervals) == 0

    other_splits = replace(plan, segments=tuple(replace(s, split="test") for s in segments if s.split != "test"))
    assert used_intervals(captures, other_splits, windows)[1] == len(windows)


@st.composite
def spans(draw: st.DrawFn) -> list[dict[str, Any]]:
    made = []
    for _ in range(draw(st.integers(0, 8))):
        start = draw(st.integers(0, 60))
        stop = start + draw(st.integers(1, 20))
        split = draw(st.sampled_from(["train", "validation", "test/a", "test/b"]))
        name = draw(st.sampled_from("ab"))
        made.append(
            {
                "capture": name,
                "split": split,
                "row_start": start,
                "row_stop": stop,
                "t_start": start,
                "t_stop": stop - 1,
            }
        )
    return made


@given(intervals=spans(), offset=st.integers(-30, 30), spread=st.integers(0, 3), aligned=st.booleans())
def test_overlaps_and_gaps_are_what_brute_force_finds(
    intervals: list[dict[str, Any]], offset: int, spread: int, aligned: bool
) -> None:
    rows: dict[tuple[str, int], set[str]] = {}
    for x in intervals:
        for row in range(x["row_start"], x["row_stop"]):
            rows.setdefault((x["capture"], row), set()).add(x["split"])
    assert (overlapping_rows(intervals) > 0) == any(len(splits) > 1 for splits in rows.values())

    members = [
        {"capture": "a", "offset": 0, "spread": spread, "shared": 1.0},
        {"capture": "b", "offset": offset, "spread": 0, "shared": 1.0},
    ]
    clocks = [
        (x["t_start"] + (offset if x["capture"] == "b" else 0), x["t_stop"] + (offset if x["capture"] == "b" else 0), x)
        for x in intervals
    ]
    gaps = [
        NO_CLOCK
        if not aligned
        else max(b0 - a1, a0 - b1) - spread * (x["capture"] == "a") - spread * (y["capture"] == "a")
        for a0, a1, x in clocks
        for b0, b1, y in clocks
        if role(x["split"]) != role(y["split"])
    ]
    found = smallest_gap([{"aligned": aligned, "captures": members}], intervals)
    wanted = min(gaps, default=None)
    assert (found is None) == (wanted is None)
    if found is not None and wanted is not None:
        assert found == wanted or (found < 0 and wanted < 0)
