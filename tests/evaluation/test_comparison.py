"""Runs side by side: the same windows or none, the figures of their own reports, and intervals that hold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import roc_auc_score

from credit_like.can.captures import AttackInterval
from credit_like.evaluation import Comparison, JudgedRun, Scores, compare, with_controls
from credit_like.evaluation._paired import Drawn, SharedWindows, windows_under_test
from credit_like.evaluation.bootstrap import expanded_coverage, percentile_interval, resamples, time_blocks
from credit_like.evaluation.comparison import Difference, Pair, Repetitions
from credit_like.evaluation.report.verdicts import evidence, headline, repetitions, verdict

Simulate = Callable[..., Scores]
Judge = Callable[..., JudgedRun]


def figures_of(run: JudgedRun, test_set: str, family: str) -> dict[str, float | None]:
    part = run.metrics["test_sets"][test_set] if test_set else run.metrics["overall"]
    part = part["families"][family] if family else part
    return part["windows"] | part["events"]


def test_every_figure_is_that_of_the_runs_own_evaluation(comparison: Comparison) -> None:
    parts = [(pair, part) for pair in comparison.pairs for part in pair.parts]
    assert len(parts) == 3 * (1 + 2 + 8)
    for pair, part in parts:
        for run, side in ((pair.first, "first"), (pair.second, "second")):
            known = figures_of(run, part.test_set, part.family)
            for name, difference in part.differences.items():
                assert getattr(difference, side) == pytest.approx(known[name]), (part.test_set, part.family, name)


def test_runs_are_ranked_and_each_pair_names_the_better_one_first(comparison: Comparison) -> None:
    assert [run.name for run in comparison.runs] == ["good", "fair", "weak"]
    assert [(p.first.name, p.second.name) for p in comparison.pairs] == [
        ("good", "fair"),
        ("good", "weak"),
        ("fair", "weak"),
    ]
    assert comparison.left_out == {}
    assert comparison.coverage == pytest.approx(1 - 0.05 / 3)


def test_a_clearly_better_detector_is_better_beyond_chance(comparison: Comparison) -> None:
    pair = comparison.pairs[1]
    difference = pair.parts[0].differences["auroc"]
    assert difference.beyond_chance
    assert difference.first_is_better
    assert headline(pair) == ("good tells attacks from normal traffic better than weak, beyond chance.", "panel good")
    assert ", 98.3\u202f% interval +" in evidence(pair, comparison.coverage)


def test_a_run_is_not_better_than_its_copy(simulate_run: Simulate, judge: Judge) -> None:
    scores = simulate_run()
    pair = compare([judge("one", scores), judge("other", scores)]).pairs[0]
    for part in pair.parts:
        for difference in part.differences.values():
            assert difference.value == 0
            assert difference.interval in (None, (0.0, 0.0))
            assert not difference.beyond_chance
            assert not difference.first_is_better
    assert headline(pair)[0] == "one and other are not shown to differ in telling attacks from normal traffic."


def test_the_resamples_are_those_of_windows_drawn_block_by_block(runs: list[JudgedRun]) -> None:
    shared = SharedWindows.of([run.metrics for run in runs], [run.scores for run in runs])
    drawn, windows = shared.draw("", None, (), 5, 3), shared.windows
    block = time_blocks(windows.group, windows.clock, shared.block_seconds)
    counted = windows.attack | windows.benign
    for round_, weights in enumerate(resamples(int(block.max()) + 1, 5, 3).astype(int)):
        rows = np.repeat(np.flatnonzero(counted), weights[block[counted]])
        for i in range(len(runs)):
            attack, score, alarm = windows.attack[rows], shared.score[i][rows], shared.above[i][rows]
            assert drawn.samples[i]["auroc"][round_] == pytest.approx(roc_auc_score(attack, score))
            assert drawn.samples[i]["recall"][round_] == pytest.approx(alarm[attack].mean())
            assert drawn.samples[i]["fpr"][round_] == pytest.approx(alarm[~attack].mean())
            events = np.repeat(np.arange(len(shared.event_window)), weights[block[shared.event_window]])
            assert drawn.samples[i]["share_found"][round_] == pytest.approx(shared.found[i][events].mean())
    assert drawn.values[0]["false_alarms_per_hour"] == pytest.approx(
        np.mean(shared.draw("", None, (), 4000, 3).samples[0]["false_alarms_per_hour"]), rel=0.05
    )


def test_the_interval_of_a_difference_is_widened_for_few_blocks() -> None:
    first, second = ({"auroc": x} for x in np.random.default_rng(0).normal(size=(2, 2000)))
    drawn = Drawn([{"auroc": 0.9}, {"auroc": 0.8}], [first, second], 6, "")
    expected = percentile_interval(first["auroc"] - second["auroc"], expanded_coverage(0.95, 6))
    assert drawn.interval("auroc", 0, 1, 0.95) == expected
    plain = percentile_interval(first["auroc"] - second["auroc"], 0.95)
    assert expected is not None
    assert plain is not None
    assert expected[0] < plain[0] < plain[1] < expected[1]


def test_the_longer_of_two_blocks_is_drawn(runs: list[JudgedRun]) -> None:
    lengths = [
        {**run.metrics, "settings": run.metrics["settings"] | {"bootstrap_block": x}}
        for run, x in zip(runs, (5.0, 9.0, 7.0), strict=True)
    ]
    assert SharedWindows.of(lengths, [run.scores for run in runs]).block_seconds == 9.0


def test_an_attack_is_drawn_with_the_stretch_it_begins_in(
    windows_of: Callable[..., pl.DataFrame], judge: Judge
) -> None:
    """Even where it begins in a window of another attack, which the family's figures leave out."""
    family = np.where(np.arange(1500) % 100 < 20, "dos", "")
    family[1000] = "replay"
    score = (np.arange(1500) // 20 == 50).astype(float)
    frame = windows_of("test", "t", 1500, label=(family != "").astype(np.int8), family=family, score=score)
    at = [(float(frame["t_start"][i]), float(frame["t_end"][i + 19])) for i in (0, 1000)]
    scores = Scores(
        pl.concat([windows_of("validation", "v", 200), frame]), {"t": tuple(AttackInterval("dos", *x) for x in at)}
    )
    run = judge("one", scores)
    drawn = SharedWindows.of([run.metrics], [scores]).draw("test", "dos", ["t"], 50, 0)
    assert drawn.values[0]["share_found"] == 0.5
    assert len(np.unique(drawn.samples[0]["share_found"])) > 2  # in one stretch it would be 0.5 or undefined


def test_detectors_of_equal_skill_are_rarely_told_apart(windows_of: Callable[..., pl.DataFrame], judge: Judge) -> None:
    rng, found = np.random.default_rng(5), 0
    label = np.tile(np.repeat(np.array([0, 1], np.int8), [80, 20]), 20)
    for _ in range(25):
        pair = []
        for name in ("one", "other"):
            frame = pl.concat(
                [
                    windows_of("validation", "v", 200, score=rng.normal(size=200)),
                    windows_of("test", "t", 2000, label=label, score=rng.normal(label, 1.0)),
                ]
            )
            pair.append(judge(name, Scores(frame, {})))
        found += compare(pair).pairs[0].parts[0].differences["auroc"].beyond_chance
    assert found <= 4  # 1.25 are expected; 5 or more have a chance of 0.7 % under Binomial(25, 0.05)


@pytest.mark.parametrize(
    ("name", "first", "second", "interval", "words"),
    [
        ("auroc", 0.9, 0.8, (0.05, 0.15), "A better"),
        ("auroc", 0.9, 0.8, (-0.05, 0.15), "within chance"),
        ("fpr", 0.02, 0.01, (0.005, 0.02), "B better"),
        ("false_alarms_per_hour", 1.0, 2.0, (-2.0, -0.5), "A better"),
        ("recall", 0.9, 0.8, None, "too little traffic"),
        ("recall", None, 0.8, None, "undefined"),
    ],
)
def test_which_of_the_two_a_difference_speaks_for(
    name: str, first: float | None, second: float | None, interval: tuple[float, float] | None, words: str
) -> None:
    assert verdict(Difference(name, first, second, interval), "A", "B") == words


def changed(scores: Scores, **columns: pl.Expr) -> Scores:
    return Scores(scores.frame.with_columns(**columns), scores.intervals)


def test_runs_on_other_windows_are_named_as_not_comparable(
    simulate_run: Simulate, judge: Judge, runs: list[JudgedRun]
) -> None:
    scores = runs[0].scores
    tested = pl.col("split") != "validation"
    elsewhere = Scores(scores.frame.filter(~tested | (pl.col("row_start") >= 5000)), scores.intervals)
    longer = changed(scores, row_stop=pl.col("row_stop") + 7)
    relabelled = changed(scores, family=pl.when(pl.col("label") == 1).then(pl.lit("other")).otherwise(pl.lit("")))
    shifted = {**runs[0].certificate, "files": [{**f, "sha256": "0" * 64} for f in runs[0].certificate["files"]]}
    found = compare(
        [
            *runs,
            judge("forged", scores, problems=["the digest does not match the content"]),
            judge("elsewhere", elsewhere),
            judge("longer", longer),
            judge("relabelled", relabelled),
            judge("other logs", scores, certificate=shifted),
        ]
    )
    assert [run.name for run in found.runs] == ["good", "fair", "weak"]
    assert found.left_out == {
        "forged": ["the digest does not match the content"],
        "elsewhere": [
            "its split is another one (the certificates differ): 2,000 of its 2,000 test windows are among the 2,400 "
            "of weak"
        ],
        "longer": ["it cut the logs into other windows than weak, or split them elsewhere"],
        "relabelled": ["its test windows carry other names or labels than those of weak"],
        "other logs": ["it was tested on other logs than weak"],
    }


def test_the_largest_group_of_runs_is_compared(simulate_run: Simulate, judge: Judge) -> None:
    odd, even = simulate_run(windows=200), simulate_run(windows=240)
    found = compare([judge("a", odd), judge("b", even), judge("c", even)])
    assert {run.name for run in found.runs} == {"b", "c"}
    assert list(found.left_out) == ["a"]
    assert compare([judge("a", odd), judge("b", even)]).pairs == ()
    assert compare([judge("a", odd, problems=["x"])]).runs == ()


def test_what_else_differs_is_said(simulate_run: Simulate, judge: Judge) -> None:
    scores = simulate_run(windows=200)
    one = judge("one", scores)
    metrics = {**one.metrics, "calibration": {**one.metrics["calibration"], "promised_fpr": 0.1}}
    interval = {"capture": "a", "split": "train", "row_start": 0, "row_stop": 100, "windows": 1}
    other = judge("other", scores, metrics=metrics, certificate={**one.certificate, "intervals": [interval]})
    notes = compare([one, other]).notes
    assert len(notes) == 2
    assert notes[0].startswith("The runs were trained on different traffic")
    assert "(one 1.00%, other 10.00%)" in notes[1]
    assert compare([one, one]).notes == ()


def test_runs_that_differ_in_their_seed_only_have_a_mean_and_a_spread(repeated: Comparison) -> None:
    groups = [{run.name for run in group.runs} for group in repeated.repetitions]
    assert groups == [{"d", "e"}, {"again", "b", "a"}]  # of two with one seed the first in rank counts
    for group in repeated.repetitions:
        for figure, place in (("auroc", "windows"), ("fpr", "windows"), ("share_found", "events")):
            values = [run.metrics["overall"][place][figure] for run in group.runs]
            assert group.mean_and_std(figure) == pytest.approx((np.mean(values), np.std(values, ddof=1)))


def test_a_figure_that_is_undefined_in_one_run_has_no_mean(repeated: Comparison) -> None:
    group = repeated.repetitions[0]
    windows = group.runs[0].metrics["overall"]["windows"] | {"auroc": None}
    metrics = {**group.runs[0].metrics, "overall": {**group.runs[0].metrics["overall"], "windows": windows}}
    hurt = Repetitions((replace(group.runs[0], metrics=metrics), *group.runs[1:]))
    assert hurt.mean_and_std("auroc") is None
    assert hurt.mean_and_std("f1") is not None
    assert "AUROC undefined, F1 0." in repetitions(hurt)


def test_a_figure_that_is_the_same_in_each_run_has_no_spread(repeated: Comparison) -> None:
    group = repeated.repetitions[0]
    metrics = []
    for run in group.runs:
        overall = run.metrics["overall"]
        metrics.append({**run.metrics, "overall": {**overall, "windows": overall["windows"] | {"fpr": 0.0}}})
    calm = Repetitions(tuple(replace(run, metrics=own) for run, own in zip(group.runs, metrics, strict=True)))
    assert repetitions(calm).endswith(", FPR 0\u202f% in each.")


def test_one_class_and_little_traffic_are_no_reason_to_fail(
    windows_of: Callable[..., pl.DataFrame], judge: Judge
) -> None:
    rng = np.random.default_rng(0)
    clean = pl.concat([windows_of(s, s, 200, score=rng.normal(size=200)) for s in ("validation", "test")])
    found = compare([judge("one", Scores(clean, {})), judge("other", Scores(clean, {}))])
    assert headline(found.pairs[0])[0] == "one and other cannot be ranked: the test windows are of one class."
    label = np.repeat(np.array([0, 1], np.int8), [20, 5])
    short = pl.concat([clean.filter(pl.col("split") == "validation"), windows_of("test", "t", 25, label=label)])
    pair: Pair = compare([judge("one", Scores(short, {})), judge("other", Scores(short, {}))]).pairs[0]
    assert headline(pair)[0] == "There is too little test traffic to tell one from other by more than chance."
    assert "; attack windows lie in fewer than 5 stretches of time (1)." in evidence(pair, 0.95)


def test_the_order_of_the_rows_and_other_columns_do_not_matter(simulate_run: Simulate, judge: Judge) -> None:
    scores = simulate_run(windows=200, controls=False)
    mixed = scores.frame.sample(fraction=1.0, shuffle=True, seed=1)
    mixed = with_controls(mixed, {"timing only": np.zeros(mixed.height)})
    other = judge("other", Scores(mixed, scores.intervals))
    assert (
        windows_under_test(other.scores)
        .select("row_start", "score")
        .equals(windows_under_test(scores).select("row_start", "score"))
    )
    assert compare([judge("one", scores), other]).pairs[0].parts[0].differences["auroc"].value == 0
