"""Events, bus time and runs of alarms against brute force."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from credit_like.can.captures import AttackInterval
from credit_like.evaluation.events import alarm_runs, covered_seconds, match_events

# Times on a grid of eighths are exact in floating point, so that brute force may compare with ==.
INSTANT = st.integers(0, 80).map(lambda x: x / 8)
SPAN = st.tuples(INSTANT, INSTANT).map(lambda x: (min(x), max(x)))
WINDOWS = st.lists(st.tuples(SPAN, st.booleans()), max_size=12)


def columns(windows: list[tuple[tuple[float, float], bool]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return (
        np.array([span[0] for span, _ in windows], float),
        np.array([span[1] for span, _ in windows], float),
        np.array([alarm for _, alarm in windows], np.bool_),
    )


@given(st.lists(SPAN, max_size=5), WINDOWS)
def test_events_are_those_of_brute_force(
    intervals: list[tuple[float, float]], windows: list[tuple[tuple[float, float], bool]]
) -> None:
    known = [AttackInterval("dos", *span) for span in intervals]
    found = match_events(known, *columns(windows))
    expected = []
    for interval in known:
        # instants on the grid that lie in both closed spans
        grid = [i / 8 for i in range(81)]
        seen = [
            (a, b, alarm)
            for (a, b), alarm in windows
            if any(interval.start <= x <= interval.stop and a <= x <= b for x in grid)
        ]
        if seen:
            start = max(interval.start, min(a for a, _, _ in seen))
            alarms = [b - start for _, b, alarm in seen if alarm]
            expected.append((interval, start, len(seen), min(alarms, default=None)))
    assert [(e.interval, e.observed_from, e.windows, e.time_to_alarm) for e in found] == expected
    assert [e.found for e in found] == [delay is not None for *_, delay in expected]
    assert all(e.time_to_alarm is None or e.time_to_alarm >= 0 for e in found)


def test_time_to_alarm_runs_from_the_start_to_the_end_of_the_first_alarming_window() -> None:
    start, end = np.array([0.0, 1.0, 2.0, 3.0]), np.array([0.9, 1.9, 2.9, 3.9])
    (event,) = match_events([AttackInterval("dos", 1.5, 3.2)], start, end, np.array([True, False, True, True]))
    assert event.time_to_alarm == pytest.approx(2.9 - 1.5)


def test_an_attack_that_began_before_the_test_block_is_timed_from_the_block() -> None:
    start, end = np.array([10.0, 11.0]), np.array([10.9, 11.9])
    (event,) = match_events([AttackInterval("dos", 2.0, 11.5)], start, end, np.array([False, True]))
    assert (event.observed_from, event.time_to_alarm) == (10.0, pytest.approx(1.9))


def test_an_attack_outside_the_windows_is_not_an_event() -> None:
    assert match_events([AttackInterval("dos", 5.0, 6.0)], np.array([0.0]), np.array([1.0]), np.array([True])) == []


@given(WINDOWS)
def test_bus_time_counts_every_instant_once(windows: list[tuple[tuple[float, float], bool]]) -> None:
    start, end, _ = columns(windows)
    eighths = {i for (a, b), _ in windows for i in range(int(a * 8), int(b * 8))}
    assert covered_seconds(start, end) == len(eighths) / 8


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3), st.booleans()), max_size=30),
    st.randoms(use_true_random=False),
)
def test_runs_of_alarms_are_those_of_brute_force(steps: list[tuple[int, int, bool]], random: object) -> None:
    """Each step is a window of 10 rows: its stream, the rows skipped before it in tens, and whether it alarms."""
    row, rows, begun = {}, [], 0
    last: dict[int, tuple[bool, int]] = {}
    for stream, skipped, alarm in steps:
        start = row.get(stream, 0) + skipped * 10
        row[stream] = start + 10
        before, stop = last.get(stream, (False, 0))
        begun += alarm and not (before and start - stop < 10)
        last[stream] = (alarm, start + 10)
        rows.append((stream, start, alarm))
    random.shuffle(rows)  # type: ignore[attr-defined]
    stream, start, alarm = (np.array([x[i] for x in rows]) for i in range(3))
    found = alarm_runs(
        alarm.astype(np.bool_), stream.astype(np.int64), start.astype(np.int64), start.astype(np.int64) + 10
    )
    assert found == begun


def test_a_detector_that_always_alarms_is_not_quiet_between_two_attacks() -> None:
    marked = np.array([True, True, False, True, True])  # the middle one is an attack window, so not a false alarm
    rows = np.arange(5, dtype=np.int64) * 100
    assert alarm_runs(marked, np.zeros(5, np.int64), rows, rows + 100) == 2
