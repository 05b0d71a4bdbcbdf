"""What the report says of false alarms: what was promised, whether it was kept, and what luck and change allow."""

from __future__ import annotations

import re
from collections.abc import Callable
from html import unescape
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy import stats

from credit_like.evaluation import EvaluationSettings, Scores, evaluate
from credit_like.evaluation.report.words import percent

Write = Callable[..., Path]


def words_of(text: str, section: str) -> str:
    """What a section says, without its charts and tables."""
    part = text[text.index(f'id="{section}"') :].partition("</section>")[0]
    part = re.sub(r"<svg.*?</svg>|<table.*?</table>", "", part, flags=re.DOTALL)
    return re.sub(r"\s+", " ", unescape(re.sub("<[^>]*>", " ", part.partition(">")[2])))


def drive(windows_of: Callable[..., pl.DataFrame], drift: float, lucky: int = 0) -> Scores:
    """One drive, divided in time: normal scores rise by ``drift`` on test; ``lucky`` windows of it leap out."""
    rng = np.random.default_rng(0)
    first = windows_of("validation", "drive", 600, score=rng.normal(0, 1, 600))
    score = rng.normal(drift, 1, 600)
    score[:lucky] = 9.0
    later = [pl.col("t_start", "t_end") + 50.0, pl.col("row_start", "row_stop") + 80_000]
    return Scores(pl.concat([first, windows_of("test", "drive", 600, score=score).with_columns(later)]), {})


@pytest.mark.parametrize(
    ("drift", "said"),
    [
        (0.0, "That is within chance"),
        (1.0, "That is beyond chance"),
        (-1.0, "It scores lower, beyond chance"),
    ],
)
def test_the_report_says_whether_normal_traffic_has_changed(
    drift: float, said: str, windows_of: Callable[..., pl.DataFrame], report_of: Write
) -> None:
    text = words_of(report_of(drive(windows_of, drift)).read_text(), "promise")
    assert said in text
    assert ("To be safer: calibrate on more traffic" in text) == (drift >= 0)  # without drift luck alone: 10 of 600


def test_the_report_says_whether_the_promise_was_kept_and_what_luck_allows(
    windows_of: Callable[..., pl.DataFrame], report_of: Write
) -> None:
    assert "The promise was kept." in words_of(report_of(drive(windows_of, -1.0)).read_text(), "promise")
    text = words_of(report_of(drive(windows_of, 0.0, lucky=40)).read_text(), "promise")
    unlucky = percent(stats.beta.ppf(0.95, 6, 595)).replace("\u202f", " ")  # m = floor(601 * 0.01) of 600 windows
    assert f"set on so few as 600 windows lets through more than {unlucky}, on traffic just like it." in text
    assert "The rate measured is above that." in text


def test_false_alarms_along_the_drive_are_those_of_the_scores(
    windows_of: Callable[..., pl.DataFrame], report_of: Write
) -> None:
    scores = drive(windows_of, 1.0)
    threshold = evaluate(scores, EvaluationSettings(bootstrap_rounds=100))["calibration"]["threshold"]
    text = report_of(scores).read_text()
    for caption in ("above the threshold by time", "above the threshold by capture"):
        body = text[text.index(f"Benign windows {caption}") :].partition("</table>")[0]
        above = [int(x) for x in re.findall(r"<td[^>]*>(\d+)</td><td[^>]*>[\d.]+\u202f%</td>", body)]
        assert sum(above) == int((scores.frame["score"] > threshold).sum())


def test_where_an_alarm_takes_several_windows_no_single_one_is_said_to_alarm(run: Scores, report_of: Write) -> None:
    several = EvaluationSettings.model_validate({"alarm": {"k": 2, "n": 3}, "bootstrap_rounds": 100})
    text = report_of(run, metrics=evaluate(run, several)).read_text()
    page = unescape(re.sub("<[^>]*>", " ", text[text.index("<main>") : text.index('id="alarms"')]))
    assert "when its score and at least 2 of the last 3 are above" in page
    assert "of benign windows are above it, and no more alarm" in page
    assert "windows that were above the threshold" in page
    assert "windows alarmed" not in page
    assert "that alarmed" not in page
    assert "quiet" not in page


def along(text: str) -> dict[str, str]:
    """Heading -> markup of each chart along a drive."""
    part = text[text.index('id="promise"') :].partition("</section>")[0]
    return dict(re.findall(r"<figure><h3>(.*?)</h3>(.*?)</figure>", part, flags=re.DOTALL))


def two_captures(windows_of: Callable[..., pl.DataFrame]) -> Scores:
    """``drive`` twice, under two names; in the second the windows of test leap out."""
    first = drive(windows_of, 0.0).frame
    second = drive(windows_of, 0.0, lucky=40).frame
    return Scores(pl.concat([first.with_columns(capture=pl.lit("a")), second.with_columns(capture=pl.lit("b"))]), {})


def test_drives_that_share_no_traffic_are_shown_separately(
    windows_of: Callable[..., pl.DataFrame], report_of: Write
) -> None:
    text = report_of(two_captures(windows_of)).read_text()
    charts = along(text)
    assert list(charts) == ["a", "b"]
    shares = {name: re.findall(r"(\d+)</td><td[^>]*>[\d.]+\u202f%</td>", chart) for name, chart in charts.items()}
    assert sum(map(int, shares["b"])) > sum(map(int, shares["a"])) + 30
    words = words_of(text, "promise")
    assert "These 2 drives share no traffic, so each is shown by itself." in words
    assert "These captures share recorded traffic" not in words


def test_captures_of_one_drive_are_shown_together_and_named(
    windows_of: Callable[..., pl.DataFrame], report_of: Write
) -> None:
    scores = two_captures(windows_of)
    settings = EvaluationSettings(bootstrap_rounds=100)
    metrics = evaluate(scores, settings, ["a"], [{"a": 0.0, "b": 0.0}])
    text = report_of(scores, metrics=metrics).read_text()
    assert list(along(text)) == ["a and b"]
    assert "These captures share recorded traffic" in words_of(text, "promise")


def test_a_line_along_the_drive_is_seen_at_0_and_not_drawn_where_nothing_was_measured(
    windows_of: Callable[..., pl.DataFrame], report_of: Write
) -> None:
    (chart,) = along(report_of(drive(windows_of, -9.0)).read_text()).values()
    axis = re.search(r'<path d="M[\d.]+ ([\d.]+)H[\d.]+" class="axis"', chart)
    lines = re.findall(r'<path d="(M[^"]*)" class="line series-1"', chart)
    assert axis
    assert len(lines) == 1
    heights = {float(y) for y in re.findall(r"[ML][\d.]+ ([\d.]+)", lines[0])}
    assert max(heights) < float(axis[1]) - 2
    last, first = (
        {float(x) for x in re.findall(r"[ML]([\d.]+) ", path)}
        for path in (lines[0], re.findall(r'<path d="(M[^"]*)" class="line series-0"', chart)[0])
    )
    assert max(last) < min(first)  # 14 s lie between the two parts
