"""The page of runs side by side: who is better and by how much, in figures of one precision."""

from __future__ import annotations

import re
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from credit_like.config import UserError
from credit_like.evaluation import Comparison, JudgedRun, Scores, compare, write_comparison
from credit_like.evaluation.comparison import Difference
from credit_like.evaluation.report.summary import against_controls
from credit_like.evaluation.report.verdicts import TOLD, headline, told, written
from credit_like.evaluation.report.words import alike

HOSTILE = "</script><b>\"'&"


def write(path: Path, comparison: Comparison, **changes: Any) -> str:
    names = [run.name for run in comparison.runs]
    given: dict[str, Any] = {
        "title": "Some runs side by side",
        "throughput": {name: {"windows scored a second": "7,000"} for name in names},
        "reports": {},
    }
    return write_comparison(path, comparison, **(given | changes)).read_text()


def test_the_page_says_who_is_better_and_shows_what_differs(comparison: Comparison, tmp_path: Path) -> None:
    text = write(tmp_path / "page.html", comparison)
    first = text[text.index('id="summary"') : text.index('id="figures"')]
    assert "good tells attacks from normal traffic better than weak, beyond chance." in first
    for run in comparison.runs:
        said = against_controls(run.metrics["overall"]["controls"])[0]
        assert f"<strong>{run.name}: {said}</strong>" in first
    difference = comparison.pairs[0].parts[0].differences["auroc"].value
    assert f'data-value="{difference!r}"' in text
    assert "<code>model.width</code>" in text
    assert "<code>trainer.seed</code>" not in text
    assert "Over seeds" not in text
    assert not re.search(r"\b(nan|inf)\b", text[text.index("<main>") : text.index("<script>")])


def test_every_pair_of_few_runs_gets_a_verdict(comparison: Comparison, repeated: Comparison, tmp_path: Path) -> None:
    for compared, pairs in ((comparison, 3), (repeated, TOLD)):
        text = write(tmp_path / "page.html", compared)
        summary = text[text.index('id="summary"') : text.index('id="figures"')]
        assert len(told(compared)) == pairs
        assert all(headline(pair)[0] in unescape(summary) for pair in told(compared))
        assert (f"These are {TOLD} of 21 pairs" in summary) == (compared is repeated)


def test_false_alarms_are_not_repeated_for_each_attack(comparison: Comparison, tmp_path: Path) -> None:
    text = write(tmp_path / "page.html", comparison)
    table = text[text.index("Differences by attack family and test set</caption>") :].partition("</table>")[0]
    rows = re.findall(r"<tr><th[^>]*>[^<]*minus[^<]*</th><td[^>]*>([^<]*)</td>.*?</tr>", table)
    last = re.findall(r"<tr><th[^>]*>[^<]*minus.*?<td[^>]*>(?:(?!<td).)*</td></tr>", table)
    assert len(rows) == len(last) == 3 * (2 + 8)
    for name, row in zip(rows, last, strict=True):
        assert row.endswith(">\u2013</td></tr>") == (name != "all")


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        (0.99961, 0.99926, ("0.99961", "0.99926", "+0.00035")),
        (0.988, 0.948, ("0.988", "0.948", "+0.040")),
        (0.8123, 0.8121, ("0.81230", "0.81210", "+0.00020")),
        (0.9996091, 0.9996072, ("0.99961", "0.99961", "0.00000")),
        (0.9, 0.9, ("0.900", "0.900", "0.000")),
    ],
)
def test_a_difference_has_the_decimals_of_its_figures(first: float, second: float, said: tuple[str, ...]) -> None:
    write_one = alike((first, second))
    figure = Difference("auroc", first, second, None)
    assert figure.value is not None
    assert (write_one(first), write_one(second), written(figure, figure.value)) == said


def test_the_page_leaves_out_what_a_search_may_try(comparison: Comparison, tmp_path: Path) -> None:
    text = write(tmp_path / "page.html", comparison)
    assert "<code>trainer.note</code>" in text
    assert "hpo.trials" not in text
    assert '<code class="wide">none</code>' in text


def test_the_page_shows_figures_over_seeds(repeated: Comparison, tmp_path: Path) -> None:
    text = write(tmp_path / "page.html", repeated)
    mean, std = repeated.repetitions[0].mean_and_std("auroc") or (None, None)
    first = text[text.index('id="summary"') : text.index('id="figures"')]
    assert f"AUROC {mean:.4f}\u00a0\u00b1\u00a0{std:.4f}" in first
    over = text[text.index('id="seeds"') : text.index('id="differences"')]
    assert f'data-value="{mean!r}"' in over
    assert f"\u00b1 {std:.4f}" in over
    assert "alone" not in over


def test_a_run_that_is_not_comparable_has_no_figure_on_the_page(
    comparison: Comparison, runs: list[JudgedRun], tmp_path: Path
) -> None:
    left_out = Comparison(comparison.runs, {HOSTILE: [HOSTILE]}, comparison.pairs, comparison.coverage, (HOSTILE,))
    text = write(tmp_path / "page.html", left_out, title=HOSTILE)
    assert HOSTILE not in text
    assert "is not comparable" in text
    assert text.count("<script>") == 1


def test_tests_without_an_attack_are_said(
    windows_of: Callable[..., pl.DataFrame], judge: Callable[..., JudgedRun], tmp_path: Path
) -> None:
    scores = np.random.default_rng(0).normal(size=200)
    clean = Scores(pl.concat([windows_of(split, split, 200, score=scores) for split in ("validation", "test")]), {})
    text = write(tmp_path / "page.html", compare([judge("one", clean), judge("other", clean)]))
    assert "The test sets hold no attack." in text


def test_a_page_that_cannot_be_written_is_an_error(comparison: Comparison, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere/page\.html cannot be written"):
        write(tmp_path / "nowhere" / "page.html", comparison)


def test_a_difference_of_shares_is_in_percentage_points() -> None:
    figure = Difference("share_found", 1.0, 0.5, None)
    assert written(figure, 0.5) == "+50\u202fpp"
    assert written(figure, -0.014) == "\u22121.4\u202fpp"
    assert written(figure, 0.0) == "0"
