"""The alarm stage against brute force, and the same alarms wherever they are raised."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from credit_like.can.captures import AttackInterval
from credit_like.evaluation import AlarmRule, AlarmSettings, EvaluationSettings, Scores, evaluate, window_set

#: Mostly windows that follow each other, so that runs are longer than n.
STEP = st.tuples(st.integers(0, 1), st.sampled_from([0, 0, 0, 0, 0, 0, 1, 2]), st.booleans())


@given(st.lists(STEP, max_size=40), st.integers(1, 6), st.integers(0, 5), st.randoms(use_true_random=False))
def test_alarms_are_those_of_brute_force(steps: list[tuple[int, int, bool]], k: int, more: int, random: object) -> None:
    """Each step is a window of 10 rows: its stream, the windows skipped before it, and whether it is above."""
    rows, seen, wanted = [], {}, {}
    for stream, skipped, above in steps:
        last, stop = seen.get(stream, ([], 0))
        last = [*([] if skipped else last), above]
        seen[stream] = last, stop + 10 * skipped + 10
        start = stop + 10 * skipped
        rows.append((stream, start, above))
        wanted[stream, start] = above and sum(last[-(k + more) :]) >= k
    random.shuffle(rows)  # type: ignore[attr-defined]
    stream, start, above = (np.array([row[i] for row in rows], np.int64) for i in range(3))
    found = AlarmRule(0.5, k, k + more).alarms(above.astype(float), stream, start, start + 10)
    assert found.tolist() == [wanted[s, a] for s, a, _ in rows]


def test_an_alarm_is_a_score_above_the_threshold_not_on_it() -> None:
    rows = np.arange(3, dtype=np.int64)
    found = AlarmRule(0.5).alarms(np.array([0.5, 0.6, 0.4]), np.zeros(3, np.int64), rows, rows + 1)
    assert found.tolist() == [False, True, False]


@pytest.mark.parametrize(("above", "alarms"), [([0, 2], [2]), ([0, 3], []), ([0, 2, 3, 5], [2, 3, 5])])
def test_two_of_the_last_three(above: list[int], alarms: list[int]) -> None:
    rows, score = np.arange(6, dtype=np.int64), np.isin(np.arange(6), above).astype(float)
    found = AlarmRule(0.5, 2, 3).alarms(score, np.zeros(6, np.int64), rows, rows + 1)
    assert np.flatnonzero(found).tolist() == alarms


def test_k_above_n_is_refused() -> None:
    with pytest.raises(ValidationError, match="k must be at most n; got 3 of the last 2 windows"):
        AlarmSettings(k=3, n=2)


def test_the_stage_acts_on_events_and_false_alarms_and_not_on_single_windows(
    windows_of: Callable[..., pl.DataFrame],
) -> None:
    label, score = np.zeros(100, np.int8), np.zeros(100)
    label[40:50] = 1
    score[[5, 20, 21, 22, *range(42, 50)]] = 0.9  # one false alarm of a single window, one of three, then the attack
    frame = pl.concat([windows_of("validation", "v", 200), windows_of("test", "a", 100, label=label, score=score)])
    rows = frame.filter(pl.col("capture") == "a")
    scores = Scores(frame, {"a": (AttackInterval("dos", rows["t_start"][40], rows["t_end"][49]),)})
    single, staged = (
        evaluate(scores, EvaluationSettings(bootstrap_rounds=100, alarm=AlarmSettings(k=k, n=n)))["overall"]
        for k, n in ((1, 1), (3, 4))
    )
    hours = single["windows"]["benign_hours"]
    assert single["windows"]["false_alarms_per_hour"] == pytest.approx(2 / hours)
    assert staged["windows"]["false_alarms_per_hour"] == pytest.approx(1 / hours)
    for name in ("recall", "fpr", "f1", "false_positive", "false_alarm_windows_per_hour"):
        assert staged["windows"][name] == single["windows"][name]
    start = rows["t_start"][40]
    assert single["events"]["time_to_alarm_max"] == pytest.approx(rows["t_end"][42] - start)
    assert staged["events"]["time_to_alarm_max"] == pytest.approx(rows["t_end"][44] - start)
    assert staged["families"]["dos"]["events"] == staged["events"]


def test_the_windows_of_another_family_still_count_among_the_last_n(windows_of: Callable[..., pl.DataFrame]) -> None:
    """A family's figures leave out the attack windows of other families; its alarms are those of the whole stream."""
    family = np.array([""] * 20)
    family = np.where(np.arange(20) == 10, "dos", family)
    label = (family != "").astype(np.int8)
    score = np.where(np.isin(np.arange(20), [10, 11]), 0.9, 0.0)
    frame = windows_of("test", "a", 20, label=label, score=score, family=family)
    windows = window_set(frame, (), AlarmRule(0.5, 2, 2))
    assert np.flatnonzero(windows.alarm).tolist() == [11]
    assert np.flatnonzero(windows[windows.label == 0].alarm).tolist() == [10]


def test_the_rule_of_a_document_raises_the_alarms_that_it_counts(run: Scores) -> None:
    metrics = evaluate(run, EvaluationSettings(bootstrap_rounds=100, alarm=AlarmSettings(k=2, n=3)))
    rule = AlarmRule.of(metrics)
    assert rule == AlarmRule(metrics["calibration"]["threshold"], 2, 3)
    windows = window_set(run.frame.filter(pl.col("split") == "test"), (), rule)
    found = sum(
        any(
            windows.alarm[(np.array(windows.capture_names)[windows.capture] == capture)]
            & (windows.t_start[np.array(windows.capture_names)[windows.capture] == capture] <= x.stop)
            & (windows.t_end[np.array(windows.capture_names)[windows.capture] == capture] >= x.start)
        )
        for capture, known in run.intervals.items()
        for x in known
    )
    assert found == metrics["overall"]["events"]["found"] < metrics["overall"]["events"]["events"]
