"""Thresholds keep their promise, and say so when the calibration windows are too few for it."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from credit_like.evaluation import conformal_threshold


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize(("windows", "rate"), [(99, 0.01), (150, 0.02), (40, 0.1), (30, 0.01), (1000, 0.005)])
def test_the_promised_rate_holds_over_thousands_of_calibrations(windows: int, rate: float, ties: bool) -> None:
    rng = np.random.default_rng(7)
    exceeded, promised, rounds = 0.0, 0.0, 4000
    for _ in range(rounds):
        scores = rng.beta(0.3, 3.0, windows + 50)
        if ties:
            scores = np.round(scores, 2)
        threshold = conformal_threshold(scores[:windows], rate)
        exceeded += np.mean(scores[windows:] > threshold.value)
        promised = threshold.rate
    # Four standard errors: rates of calibrations spread by about the rate itself, those of 50 new windows binomially.
    margin = 4 * np.sqrt((promised**2 + promised / 50) / rounds)
    assert exceeded / rounds <= promised + margin
    if not ties:  # and no more is given away than the promise needs
        assert exceeded / rounds >= promised - margin


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=200), st.floats(1e-4, 0.999))
def test_the_threshold_is_the_lowest_that_counts_allow(scores: list[float], rate: float) -> None:
    found = conformal_threshold(np.array(scores), rate)
    n, exact = len(scores), Fraction(repr(rate))
    above = sum(s > found.value for s in scores)
    assert found.promised == (exact >= Fraction(1, n + 1))
    if found.promised:
        assert Fraction(above + 1, n + 1) <= exact
        assert found.rate <= rate
        lower = [s for s in scores if s < found.value]
        if lower:  # the next lower threshold would break the promise
            assert Fraction(sum(s > max(lower) for s in scores) + 1, n + 1) > exact
    else:
        assert found.value == max(scores)
        assert found.rate == 1 / (n + 1)


def test_too_few_windows_give_the_lowest_rate_and_say_that_the_request_is_not_promised() -> None:
    found = conformal_threshold(np.arange(49.0), 0.01)
    assert (found.value, found.rate, found.requested, found.promised) == (48.0, 0.02, 0.01, False)


def test_just_enough_windows_promise_the_rate() -> None:
    assert conformal_threshold(np.arange(99.0), 0.01).promised
    assert not conformal_threshold(np.arange(98.0), 0.01).promised


def test_a_rate_is_taken_as_it_is_written() -> None:
    # 0.29 * 100 is 28.999... in floating point, and would cost one window
    assert conformal_threshold(np.arange(99.0), 0.29).rate == 0.29


@pytest.mark.parametrize("rate", [0.0, 1.0, -0.1, float("nan")])
def test_a_rate_outside_its_range_is_refused(rate: float) -> None:
    with pytest.raises(ValueError, match="rate must be above 0 and below 1"):
        conformal_threshold(np.arange(3.0), rate)


@pytest.mark.parametrize("scores", [[], [1.0, float("nan")], [float("inf")]])
def test_scores_that_cannot_be_ranked_are_refused(scores: list[float]) -> None:
    with pytest.raises(ValueError, match="at least one score and finite ones"):
        conformal_threshold(np.array(scores), 0.1)
