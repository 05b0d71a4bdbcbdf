"""The whole evaluation: every figure again from scores.parquet, by other means than the code that made it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import average_precision_score, f1_score, matthews_corrcoef, roc_auc_score

import credit_like.evaluation
from credit_like.can.captures import AttackInterval
from credit_like.config import UserError
from credit_like.evaluation import (
    EvaluationSettings,
    Metrics,
    Scores,
    evaluate,
    json_schema,
    read_scores,
    with_raw,
    write_scores,
)

SETTINGS = EvaluationSettings(bootstrap_rounds=200)


@pytest.fixture(scope="module")
def metrics(run: Scores) -> dict[str, Any]:
    return evaluate(run, SETTINGS)


def counted(frame: pl.DataFrame, split: str) -> pl.DataFrame:
    return frame.filter(
        (pl.col("split") == split) & ((pl.col("label") == 1) | ((pl.col("label") == 0) & ~pl.col("in_interval")))
    )


def test_the_file_alone_gives_the_same_document(run: Scores, metrics: dict[str, Any], tmp_path: Path) -> None:
    write_scores(tmp_path / "scores.parquet", run.frame, run.intervals)
    stored = json.loads(json.dumps(metrics))
    settings = EvaluationSettings(**stored["settings"])
    again = evaluate(
        read_scores(tmp_path / "scores.parquet"), settings, stored["calibration_captures"], stored["groups"]
    )
    assert again == stored == metrics


def test_the_threshold_is_the_quantile_of_benign_validation_windows(run: Scores, metrics: dict[str, Any]) -> None:
    benign = counted(run.frame, "validation").filter(pl.col("label") == 0)["score"].sort(descending=True)
    calibration = metrics["calibration"]
    assert calibration["threshold"] == benign[int(0.01 * (len(benign) + 1)) - 1]
    assert calibration["windows"] == len(benign)
    assert calibration["promised"]
    assert calibration["promised_fpr"] <= 0.01
    assert calibration["captures"] == ["drive/clean"]


def test_window_figures_again_by_other_means(run: Scores, metrics: dict[str, Any]) -> None:
    rows, found = counted(run.frame, "test"), metrics["test_sets"]["test"]["windows"]
    attack, score = rows["label"].to_numpy() == 1, rows["score"].to_numpy()
    alarm = score > metrics["calibration"]["threshold"]
    assert (found["windows"], found["attack"], found["benign"]) == (len(rows), attack.sum(), (~attack).sum())
    assert found["left_out"] == (run.frame["split"] == "test").sum() - len(rows)
    assert found["auroc"] == pytest.approx(roc_auc_score(attack, score))
    assert found["auprc"] == pytest.approx(average_precision_score(attack, score))
    assert found["f1"] == pytest.approx(f1_score(attack, alarm))
    assert found["mcc"] == pytest.approx(matthews_corrcoef(attack, alarm))
    assert found["recall"] == pytest.approx(alarm[attack].mean())
    assert found["precision"] == pytest.approx(attack[alarm].mean())
    assert found["fpr"] == pytest.approx(alarm[~attack].mean())
    assert [found[x] for x in ("true_positive", "false_positive", "true_negative", "false_negative")] == [
        (attack & alarm).sum(),
        (~attack & alarm).sum(),
        (~attack & ~alarm).sum(),
        (attack & ~alarm).sum(),
    ]
    for name in ("auroc", "f1", "recall", "precision", "fpr"):
        low, high = found["intervals"][name]
        assert low <= found[name] <= high


def test_false_alarms_again_by_walking_the_windows(run: Scores, metrics: dict[str, Any]) -> None:
    threshold, seconds, runs, windows = metrics["calibration"]["threshold"], 0.0, 0, 0
    for capture in sorted(set(run.frame.filter(pl.col("split") == "test")["capture"])):
        before, end = False, -np.inf
        for row in run.frame.filter(pl.col("capture") == capture).sort("row_start").iter_rows(named=True):
            benign = row["label"] == 0 and not row["in_interval"]
            false = benign and row["score"] > threshold
            windows += false
            runs += false and not before
            before = false
            if benign:
                seconds += row["t_end"] - max(end, row["t_start"])
                end = row["t_end"]
    found = metrics["overall"]["windows"]
    assert found["benign_hours"] == pytest.approx(seconds / 3600)
    assert found["false_alarms_per_hour"] == pytest.approx(runs / seconds * 3600)
    assert found["false_alarm_windows_per_hour"] == pytest.approx(windows / seconds * 3600)


def test_events_again_by_walking_the_intervals(run: Scores, metrics: dict[str, Any]) -> None:
    threshold, rows = metrics["calibration"]["threshold"], []
    for capture, known in sorted(run.intervals.items()):
        mine = run.frame.filter(pl.col("capture") == capture)
        for x in sorted(known, key=lambda x: x.start):
            seen = mine.filter((pl.col("t_start") <= x.stop) & (pl.col("t_end") >= x.start))
            alarms = seen.filter(pl.col("score") > threshold)
            delay = None if alarms.is_empty() else alarms["t_end"].min() - max(x.start, seen["t_start"].min())
            rows.append((capture, x.family, x.start, len(seen), delay))
    found = metrics["events"]
    assert [(e["capture"], e["family"], e["start"], e["windows"], e["time_to_alarm"]) for e in found] == rows
    delays = [delay for *_, delay in rows if delay is not None]
    summary = metrics["overall"]["events"]
    assert (summary["events"], summary["found"]) == (len(rows), len(delays))
    assert summary["share_found"] == pytest.approx(len(delays) / len(rows))
    assert summary["time_to_alarm_median"] == pytest.approx(np.median(delays))
    assert summary["time_to_alarm_p90"] == pytest.approx(np.percentile(delays, 90))


def test_a_family_is_judged_against_the_benign_windows_of_the_captures_that_hold_it(
    run: Scores, metrics: dict[str, Any]
) -> None:
    families = metrics["overall"]["families"]
    assert set(families) == {"dos", "fuzzing", "spoofing", "masquerade"}
    for name, figures in families.items():
        rows = counted(run.frame, "test").filter(pl.col("capture") == f"test/{name}")
        assert figures["captures"] == [f"test/{name}"]
        assert figures["windows"]["auroc"] == pytest.approx(roc_auc_score(rows["label"], rows["score"]))
        assert figures["events"]["events"] == len(run.intervals[f"test/{name}"])


def test_a_control_is_calibrated_like_the_model_and_compared_with_it(run: Scores, metrics: dict[str, Any]) -> None:
    rows, benign = counted(run.frame, "test"), counted(run.frame, "validation").filter(pl.col("label") == 0)
    attack = rows["label"].to_numpy() == 1
    for name, found in metrics["overall"]["controls"].items():
        score = rows[f"control/{name}"].to_numpy()
        ranked = benign[f"control/{name}"].sort(descending=True)
        assert found["threshold"] == ranked[int(0.01 * (len(ranked) + 1)) - 1]
        assert found["auroc"] == pytest.approx(roc_auc_score(attack, score))
        assert found["recall"] == pytest.approx(np.mean(score[attack] > found["threshold"]))
        assert found["difference"] == pytest.approx(metrics["overall"]["windows"]["auroc"] - found["auroc"])
        low, high = found["difference_interval"]
        assert low <= found["difference"] <= high


def test_a_control_that_scores_like_the_model_differs_from_it_in_no_resample(run: Scores) -> None:
    """The difference is drawn by the same resamples of both; apart they would differ by luck."""
    twin = run.frame.with_columns(pl.col("score").alias("control/id look-up"))
    found = evaluate(Scores(twin, run.intervals), SETTINGS)["overall"]["controls"]["id look-up"]
    assert (found["difference"], found["difference_interval"]) == (0.0, [0.0, 0.0])


def test_only_benign_validation_windows_outside_attacks_calibrate(windows_of: Callable[..., pl.DataFrame]) -> None:
    """The model's threshold, those of controls and that of raw weights: 20 windows of attacks among 219 score 1."""
    rng = np.random.default_rng(0)
    label, inside = np.zeros(219, np.int8), np.zeros(219, np.bool_)
    label[:10], inside[:20] = 1, True
    family = np.where(label == 1, "dos", "")
    score = np.where(inside, 1.0, rng.random(219) * 0.5)
    attacked = windows_of("validation", "v", 219, label=label, in_interval=inside, family=family, score=score)
    other = windows_of("validation", "w", 100, score=np.full(100, 0.9))
    frame = pl.concat([attacked, other]).with_columns(pl.col("score").alias("control/timing only"))
    tested = windows_of("test", "t", 50).with_columns(pl.lit(0.0).alias("control/timing only"))
    both = pl.concat([frame, tested])
    raw = with_raw(both, 2 * both["score"].to_numpy())
    found = evaluate(Scores(raw, {}), SETTINGS, calibration_captures=["v"])
    expected = np.sort(score[~inside])[-2]  # m = floor(200 * 0.01) of 199 windows
    assert found["calibration"]["threshold"] == expected
    assert found["calibration"]["windows"] == 199
    assert found["overall"]["controls"]["timing only"]["threshold"] == expected
    assert found["raw_weights"]["overall"]["threshold"] == 2 * expected


def test_families_in_one_capture_are_told_apart(windows_of: Callable[..., pl.DataFrame]) -> None:
    family = np.array([""] * 70 + ["dos"] * 10 + ["replay"] * 20)
    label = (family != "").astype(np.int8)
    score = np.select([family == "dos", family == "replay"], [0.9, 0.2], 0.5)
    frame = pl.concat([windows_of("validation", "v", 200), windows_of("test", "t", 100, label=label, family=family)])
    frame = frame.with_columns(score=np.concatenate([np.zeros(200), score]))
    found = evaluate(Scores(frame, {}), SETTINGS)["overall"]["families"]
    assert {name: (x["windows"]["attack"], x["windows"]["benign"]) for name, x in found.items()} == {
        "dos": (10, 70),
        "replay": (20, 70),
    }
    assert {name: x["windows"]["auroc"] for name, x in found.items()} == {"dos": 1.0, "replay": 0.0}


def test_blocks_are_counted_of_the_rarer_class(windows_of: Callable[..., pl.DataFrame]) -> None:
    label = (np.arange(600) < 60).astype(np.int8)  # 3.6 of 36 seconds
    frame = pl.concat([windows_of("validation", "v", 200), windows_of("test", "t", 600, label=label)])
    assert evaluate(Scores(frame, {}), SETTINGS)["overall"]["windows"]["blocks"] == 1


def test_copies_of_a_drive_share_the_blocks_of_their_clock(windows_of: Callable[..., pl.DataFrame]) -> None:
    """A copy whose clock is 1000 s ahead: its stretches are those of the drive, and no more evidence."""
    label = np.tile(np.repeat(np.array([0, 1], np.int8), [60, 60]), 5)
    parts = [windows_of("test", name, 600, label=label, score=label * 0.9 + 0.01) for name in ("a", "b")]
    parts[1] = parts[1].with_columns(pl.col("t_start") + 1000, pl.col("t_end") + 1000)
    frame = pl.concat([windows_of("validation", "v", 200), *parts])

    def blocks(rows: pl.DataFrame, groups: list[dict[str, float]]) -> int:
        return evaluate(Scores(rows, {}), SETTINGS, groups=groups)["overall"]["windows"]["blocks"]

    alone = blocks(frame.filter(pl.col("capture") != "b"), [])
    assert blocks(frame, [{"a": 0.0, "b": -1000.0}]) == alone
    assert blocks(frame, [{"a": 0.0, "b": 0.0}]) == blocks(frame, []) == 2 * alone


def test_the_oracle_bounds_f1_and_stands_nowhere_else(run: Scores, metrics: dict[str, Any]) -> None:
    oracle = metrics["overall"]["oracle"]
    rows = counted(run.frame, "test")
    attack = rows["label"].to_numpy() == 1
    assert oracle["f1"] == pytest.approx(f1_score(attack, rows["score"].to_numpy() > oracle["threshold"]))
    assert oracle["f1"] >= metrics["overall"]["windows"]["f1"]
    assert metrics["calibration"]["threshold"] != oracle["threshold"]


def test_test_windows_cannot_move_the_threshold(run: Scores, metrics: dict[str, Any]) -> None:
    changed = run.frame.with_columns(
        score=pl.when(pl.col("split") == "test").then(1 - pl.col("score")).otherwise(pl.col("score"))
    )
    assert evaluate(Scores(changed, run.intervals), SETTINGS)["calibration"] == metrics["calibration"]


def test_several_test_sets_keep_their_names_and_are_joined_in_overall(simulate_run: Callable[..., Scores]) -> None:
    names = ("test/known_vehicle_known_attack", "test/unknown_vehicle_known_attack")
    found = evaluate(simulate_run(tests=names, windows=300), SETTINGS)
    assert tuple(found["test_sets"]) == names
    for count in ("windows", "attack", "benign", "true_positive", "false_positive"):
        assert found["overall"]["windows"][count] == sum(found["test_sets"][n]["windows"][count] for n in names)
    assert found["overall"]["events"]["events"] == len(found["events"])
    assert {event["test_set"] for event in found["events"]} == set(names)


def test_a_suspension_counts_as_event_and_its_silent_windows_as_nothing(
    windows_of: Callable[..., pl.DataFrame],
) -> None:
    inside = np.zeros(100, np.bool_)
    inside[40:50] = True
    scores = np.where(np.arange(100) == 45, 0.9, 0.1)
    frame = pl.concat(
        [windows_of("validation", "v", 200), windows_of("test", "s", 100, in_interval=inside, score=scores)]
    )
    start, stop = (
        frame.filter(pl.col("capture") == "s")["t_start"][40],
        frame.filter(pl.col("capture") == "s")["t_end"][49],
    )
    found = evaluate(Scores(frame, {"s": (AttackInterval("suspension", start, stop),)}), SETTINGS)["test_sets"]["test"]
    windows, family = found["windows"], found["families"]["suspension"]
    assert (windows["left_out"], windows["benign"], windows["attack"]) == (10, 90, 0)
    assert windows["undefined"]["auroc"] == "no attack window"
    assert windows["false_positive"] == 90  # the threshold is the 0 of the validation windows
    assert family["captures"] == ["s"]
    assert (family["events"]["events"], family["events"]["found"]) == (1, 1)


def test_unlabelled_windows_are_counted_and_left_out(windows_of: Callable[..., pl.DataFrame]) -> None:
    unlabelled = windows_of("test", "u", 10, label=np.full(10, -1, np.int8))
    found = evaluate(Scores(pl.concat([windows_of("validation", "v", 200), unlabelled]), {}), SETTINGS)
    assert found["overall"]["windows"]["unlabelled"] == 10
    assert found["overall"]["windows"]["windows"] == 0
    assert found["overall"]["windows"]["undefined"]["auroc"] == "no window"


def test_without_a_test_set_there_is_a_threshold_and_nothing_more(windows_of: Callable[..., pl.DataFrame]) -> None:
    found = evaluate(Scores(windows_of("validation", "v", 200), {}), SETTINGS)
    assert found["overall"] is None
    assert found["test_sets"] == {}
    assert found["calibration"]["windows"] == 200


def test_calibration_uses_the_captures_it_is_given(windows_of: Callable[..., pl.DataFrame]) -> None:
    rng = np.random.default_rng(0)
    parts = [windows_of("validation", name, 150, score=rng.random(150)) for name in "abc"]
    found = evaluate(Scores(pl.concat(parts), {}), SETTINGS, calibration_captures=["b"])
    assert found["calibration"]["captures"] == ["b"]
    assert found["calibration"]["windows"] == 150
    assert found["calibration_captures"] == ["b"]


def test_false_alarms_an_hour_become_a_rate_by_the_windows_of_an_hour(run: Scores) -> None:
    found = evaluate(run, EvaluationSettings(false_alarms_per_hour=600.0))["calibration"]
    assert found["target"] == "false_alarms_per_hour"
    assert found["requested_per_hour"] == pytest.approx(600.0)
    assert found["requested_fpr"] == pytest.approx(600.0 * found["hours"] / found["windows"])
    assert found["promised_per_hour"] <= 600.0


def test_a_rate_beyond_the_windows_is_marked_as_not_promised(run: Scores) -> None:
    found = evaluate(run, EvaluationSettings(target_fpr=1e-6))["calibration"]
    assert not found["promised"]
    assert found["promised_fpr"] == 1 / (found["windows"] + 1)


@pytest.mark.parametrize(
    ("settings", "captures", "message"),
    [
        (
            {},
            ["nowhere"],
            r"calibration captures must have validation windows; these have none: nowhere\. .*: drive/clean\.",
        ),
        (
            {"false_alarms_per_hour": 1e9},
            None,
            r"must be above 0 and below the 6\d+ windows that an hour of this bus has; got 1e\+09",
        ),
    ],
)
def test_what_cannot_be_calibrated_is_an_error(
    run: Scores, settings: dict[str, float], captures: list[str] | None, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        evaluate(run, EvaluationSettings(**settings), captures)


def test_no_benign_validation_window_is_an_error(run: Scores) -> None:
    only_test = Scores(run.frame.filter(pl.col("split") != "validation"), run.intervals)
    with pytest.raises(UserError, match="calibrated on benign validation windows and there is none"):
        evaluate(only_test, SETTINGS)


def test_the_shipped_schema_is_that_of_the_document(metrics: dict[str, Any]) -> None:
    shipped = Path(credit_like.evaluation.__file__).with_name("metrics.schema.json")
    assert json.loads(shipped.read_text()) == json_schema()
    assert Metrics.model_validate(metrics, strict=False).model_dump(mode="json") == metrics


def test_the_documentation_names_every_figure(metrics: dict[str, Any]) -> None:
    text = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text()
    counts = {"windows", "attack", "benign", "true_positive", "false_positive", "true_negative", "false_negative"}
    wanted = set(metrics) | (set(metrics["overall"]["windows"]) - counts) | {"time_to_alarm"}
    assert [name for name in sorted(wanted) if f"`{name}`" not in text] == []
