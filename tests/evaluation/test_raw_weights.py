"""Raw weights beside averaged ones: judged as if they were a detector of their own, and shown."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from credit_like.evaluation import EvaluationSettings, Scores, evaluate, read_scores, with_raw, write_scores

SETTINGS = EvaluationSettings(bootstrap_rounds=100)
TESTS = ("test/a", "test/b")


@pytest.fixture(scope="module")
def averaged(simulate_run: Callable[..., Scores]) -> Scores:
    return simulate_run(seed=1, tests=TESTS)


@pytest.fixture(scope="module")
def raw(simulate_run: Callable[..., Scores]) -> Scores:
    """The same windows by a worse detector, whose scores of normal traffic are others too."""
    scores = simulate_run(seed=1, tests=TESTS, shift=-2.0)
    return Scores(scores.frame.with_columns(score=0.9 * pl.col("score")), scores.intervals)


@pytest.fixture(scope="module")
def both(averaged: Scores, raw: Scores) -> Scores:
    return Scores(with_raw(averaged.frame, raw.frame["score"].to_numpy()), averaged.intervals)


def figures_of(metrics: dict[str, Any], name: str) -> dict[str, Any]:
    if name == "validation":
        return metrics["validation"]
    return (metrics["test_sets"] | {"overall": metrics["overall"]})[name]["windows"]


def test_they_are_judged_like_a_detector_of_their_own(averaged: Scores, raw: Scores, both: Scores) -> None:
    judged, alone, without = (evaluate(scores, SETTINGS) for scores in (both, raw, averaged))
    assert without.pop("raw_weights") is None
    assert set(judged["raw_weights"]) == {"validation", *TESTS, "overall"}
    for name, figures in judged["raw_weights"].items():
        own = figures_of(alone, name)
        assert figures["threshold"] == alone["calibration"]["threshold"]
        assert {x: figures[x] for x in ("auroc", "f1", "recall", "fpr")} == {
            x: own[x] for x in ("auroc", "f1", "recall", "fpr")
        }
        if name == "validation":  # no attack in it
            assert figures["difference"] is None
        else:
            assert figures["difference"] == figures_of(judged, name)["auroc"] - own["auroc"] > 0
    judged.pop("raw_weights")
    assert judged == without


def test_the_table_keeps_them(both: Scores, tmp_path: Path) -> None:
    write_scores(tmp_path / "scores.parquet", both.frame, both.intervals)
    again = read_scores(tmp_path / "scores.parquet")
    assert again.has_raw
    assert again.frame.equals(both.frame)


def test_there_must_be_one_score_a_window(averaged: Scores) -> None:
    with pytest.raises(ValueError, match=r"the raw weights must have \d+ scores, one a window; got \(3,\)"):
        with_raw(averaged.frame, np.zeros(3))
    assert with_raw(averaged.frame, None) is averaged.frame


def test_the_report_shows_both(both: Scores, averaged: Scores, report_of: Callable[..., Path]) -> None:
    metrics = evaluate(both, SETTINGS)
    page = report_of(both, metrics=metrics).read_text()
    assert '<a href="#weights">Averaged weights</a>' in page
    for pointer, value in {
        "/raw_weights/overall/auroc": metrics["raw_weights"]["overall"]["auroc"],
        "/raw_weights/test~1b/f1": metrics["raw_weights"]["test/b"]["f1"],
        "/validation/fpr": metrics["validation"]["fpr"],
        "/overall/windows/auroc": metrics["overall"]["windows"]["auroc"],
    }.items():
        assert f'data-value="{value!r}" data-figure="{pointer}"' in page
    assert "Averaged weights" not in report_of(averaged, metrics=evaluate(averaged, SETTINGS)).read_text()
