"""What the terminal says of a run agrees with its report: windows that do not count, and attacks without a frame."""

from __future__ import annotations

import re
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from applications._data import load_data
from applications._job import load_job
from applications._run import read_metrics
from applications._summary import data_summary, main_figures
from credit_like.can.captures import AttackInterval
from credit_like.evaluation import EvaluationSettings, Scores, evaluate
from credit_like.evaluation.report.sections import results
from credit_like.evaluation.report.summary import summary
from tests.evaluation.conftest import rows_of


def plain(markup: str) -> str:
    return re.sub(r"\s+", " ", unescape(re.sub("<[^>]*>", " ", markup)))


@pytest.fixture
def silenced() -> dict[str, Any]:
    """The metrics of a run whose one attack keeps frames away: ten windows overlap it and none has a frame of it."""
    score = np.zeros(200)
    score[55] = 1.0
    inside = (np.arange(200) >= 50) & (np.arange(200) < 60)
    test = rows_of("test", "c", 200, score=score, in_interval=inside)
    attack = AttackInterval("suspension", float(test["t_start"][50]), float(test["t_end"][59]))
    scores = Scores(pl.concat([rows_of("validation", "b", 200), test]), {"c": (attack,)})
    return evaluate(scores, EvaluationSettings(bootstrap_rounds=100))


def test_an_attack_of_missing_frames_is_found_and_has_no_figure_of_windows(silenced: dict[str, Any]) -> None:
    assert "AUROC, suspension     none: no window holds a frame of it; 1 of 1 attacks found" in main_figures(silenced)
    page = results(silenced)
    (row,) = re.findall(r"<tr><th[^>]*>suspension.*?</tr>", page)
    assert "1 of 1" in row
    assert "undefined" not in row
    assert "No window holds a frame of suspension, which keeps frames from the bus" in plain(page)


def test_the_windows_of_the_terminal_are_those_of_the_report(finished: Path, job: list[str]) -> None:
    metrics, lines = read_metrics(finished), data_summary(load_data(load_job(job[0], job[1:])[0].data)).splitlines()
    assert metrics["overall"]["windows"]["left_out"]
    for split, figures in (("validation", metrics["validation"]), ("test", metrics["overall"]["windows"])):
        (line,) = (x for x in lines if x.startswith(f"  {split}"))
        assert re.search(rf"  benign {figures['benign']:,}\b", line)
        silent = re.search(r"in an attack without a frame of it ([\d,]+)", line)
        assert figures["left_out"] == (int(silent[1]) if silent else 0)


def test_the_report_says_why_it_calibrates_on_fewer_windows_than_validation_holds(
    shared: Callable[[list[str] | None], dict[str, Any]],
) -> None:
    assert "set on 200 benign validation windows, those of a; the other 200 are of captures that share" in plain(
        summary(shared(["a"]), [])
    )
    assert "set on 400 benign validation windows. It promises" in plain(summary(shared(None), []))


@pytest.fixture
def shared() -> Callable[[list[str] | None], dict[str, Any]]:
    parts = [rows_of("validation", "a", 200), rows_of("validation", "b", 200), rows_of("test", "c", 200)]
    scores = Scores(pl.concat(parts), {})
    return lambda captures: evaluate(scores, EvaluationSettings(bootstrap_rounds=100), captures)
