"""Windows are cut inside segments, bus by bus; every frame is in a window, dropped, skipped, or outside the plan."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from credit_like.can.captures import AttackInterval
from credit_like.graphs import windows as windows_module
from credit_like.graphs.plan import Segment, SplitPlan
from credit_like.graphs.windows import WINDOW_DTYPE, WindowSettings, cut_windows, rows_of_bus
from tests.graphs.traffic import capture


def plan_of(*segments: tuple[str, str, int, int]) -> SplitPlan:
    return SplitPlan(tuple(Segment(*segment) for segment in segments), policy="groups", groups=())


@given(
    seed=st.integers(0, 2**32),
    window=st.integers(2, 60),
    stride=st.none() | st.integers(1, 150),
    buses=st.integers(1, 3),
    borders=st.lists(st.integers(0, 500), min_size=2, max_size=6),
)
def test_every_frame_is_accounted_for_and_none_is_in_two_segments(
    seed: int, window: int, stride: int | None, buses: int, borders: list[int]
) -> None:
    drive = capture(n=500, seed=seed, buses=buses)
    borders = sorted(borders)
    segments = [("drive", ("train", "validation", "test")[i % 3], *borders[i : i + 2]) for i in range(len(borders) - 1)]
    windows = cut_windows([drive], plan_of(*segments), WindowSettings(window=window, stride=stride))
    seen = {}
    for i in range(len(windows)):
        start, stop, bus = windows.row_start[i], windows.row_stop[i], windows.bus[i]
        rows = rows_of_bus(drive.frames, bus, start, stop)
        assert len(rows) == window
        assert (rows[0], rows[-1] + 1) == (start, stop)
        assert (windows.t_start[i], windows.t_stop[i]) == (drive.frames.t[start], drive.frames.t[stop - 1])
        split = windows.split_names[windows.split[i]]
        assert any(s == split and a <= start and stop <= b for _, s, a, b in segments)
        for row in rows:
            assert seen.setdefault(int(row), split) == split
    assert len(seen) + windows.dropped_frames + windows.skipped_frames == borders[-1] - borders[0]
    if stride is None or stride <= window:
        assert windows.skipped_frames == 0


@given(
    seed=st.integers(0, 2**32),
    window=st.integers(2, 40),
    stride=st.integers(1, 60),
    buses=st.integers(1, 3),
    block=st.integers(1, 90),
)
def test_the_windows_do_not_depend_on_the_blocks_they_are_cut_in(
    seed: int, window: int, stride: int, buses: int, block: int
) -> None:
    drive = capture(n=300, seed=seed, buses=buses, attacked=slice(100, 150))
    plan = plan_of(("drive", "train", 3, 190), ("drive", "test", 190, 300))
    whole = cut_windows([drive], plan, WindowSettings(window=window, stride=stride))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(windows_module, "_BLOCK_ROWS", block)
        parts = cut_windows([drive], plan, WindowSettings(window=window, stride=stride))
    assert np.array_equal(parts.records(), whole.records())
    assert (parts.dropped_frames, parts.skipped_frames) == (whole.dropped_frames, whole.skipped_frames)


def test_tails_are_dropped_and_gaps_between_windows_skipped() -> None:
    windows = cut_windows([capture(n=107)], plan_of(("drive", "train", 0, 107)), WindowSettings(window=20, stride=25))
    assert windows.row_start.tolist() == [0, 25, 50, 75]
    assert (windows.skipped_frames, windows.dropped_frames) == (15, 12)


def test_labels_shares_families_and_intervals() -> None:
    drive = capture(n=100, attacked=slice(15, 30), intervals=(AttackInterval("suspension", 0.0, 0.0),))
    drive.frames.label[71] = -1
    drive.frames.attack[50:60] = 1  # frames that are not labelled as attacks name no family
    windows = cut_windows([drive], plan_of(("drive", "test", 0, 100)), WindowSettings(window=10))
    assert windows.label.tolist() == [0, 1, 1, 0, 0, 0, 0, -1, 0, 0]
    np.testing.assert_allclose(windows.attack_share[:4], [0, 0.5, 1, 0])
    assert [windows.families[f] for f in windows.family] == ["", "dos", "dos", *[""] * 7]
    assert not windows.in_interval.any()  # the interval ends before the first frame


def test_an_interval_marks_the_windows_that_it_overlaps() -> None:
    drive = capture(n=100, intervals=(AttackInterval("suspension", 25.0, 40.0), AttackInterval("dos", 79.5, 79.9)))
    drive.frames.t[:] = np.arange(100)
    windows = cut_windows([drive], plan_of(("drive", "test", 0, 100)), WindowSettings(window=10))
    assert np.flatnonzero(windows.in_interval).tolist() == [2, 3, 4]  # nothing was sent from 79 to 80


def test_the_most_frequent_family_names_the_window_over_captures_with_other_names() -> None:
    first, second = capture("a", 40, attacked=slice(0, 5)), capture("b", 40, attacked=slice(0, 20), family="fuzzing")
    second.frames.attack[4:20] = 0  # attacks whose family is not known
    plan = plan_of(("a", "train", 0, 40), ("b", "test/unknown", 0, 40))
    windows = cut_windows([first, second], plan, WindowSettings(window=20))
    assert windows.capture_names == ("a", "b")
    assert windows.split_names == ("train", "test/unknown")
    assert windows.families == ("", "dos", "fuzzing")
    assert windows.capture.tolist() == [0, 0, 1, 1]
    assert windows.split.tolist() == [0, 0, 1, 1]
    assert windows.family.tolist() == [1, 0, 2, 0]


def test_a_table_of_some_rows_keeps_names_and_dtypes() -> None:
    windows = cut_windows([capture(n=100)], plan_of(("drive", "train", 0, 100)), WindowSettings(window=10))
    some = windows[np.array([3, 1])]
    assert some.row_start.tolist() == [30, 10]
    assert some.capture_names == windows.capture_names
    for name in WINDOW_DTYPE.names or ():
        assert getattr(some, name).dtype == WINDOW_DTYPE[name]
    assert windows.records()["row_start"].tolist() == windows.row_start.tolist()


@pytest.mark.parametrize(
    ("segments", "message"),
    [
        ([("drivee", "train", 0, 10)], "no such capture.*did you mean 'drive'"),
        ([("drive", "train", 0, 101)], r"rows 0\.\.100"),
        ([("drive", "train", 0, 50), ("drive", "test", 49, 100)], "overlaps"),
    ],
)
def test_plans_that_do_not_fit_are_refused(segments: list[tuple[str, str, int, int]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        cut_windows([capture(n=100)], plan_of(*segments), WindowSettings(window=10))


def test_captures_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="same name"):
        cut_windows([capture(n=100), capture(n=100)], plan_of(("drive", "train", 0, 10)), WindowSettings(window=10))
