"""Figures of frames: counts against a walk over the raw frames, figures against scikit-learn on single frames."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import average_precision_score, f1_score, matthews_corrcoef, roc_auc_score

from credit_like.can import Capture, FrameTable, SourceFile
from credit_like.config import UserError
from credit_like.evaluation import EvaluationSettings, Scores, evaluate, read_scores, with_nodes, write_scores
from credit_like.evaluation.frames import frame_counts
from credit_like.evaluation.report.frames import by_frame
from credit_like.graphs import GraphStore, Segment, SplitPlan, WindowSettings

SETTINGS = EvaluationSettings(bootstrap_rounds=100)


def capture_of(name: str, n: int, seed: int) -> Capture:
    """Two buses taking turns at random, ids of both lengths, every kind of label."""
    rng = np.random.default_rng(seed)
    frames = FrameTable.build(
        np.arange(n) * 0.001,
        rng.integers(1, 6, n).astype(np.int32),
        rng.integers(0, 256, (n, 8)).astype(np.uint8),
        np.full(n, 8, np.uint8),
        flags=rng.integers(0, 2, n).astype(np.uint8),
        bus=rng.integers(0, 2, n).astype(np.uint8),
        label=rng.integers(-1, 2, n).astype(np.int8),
        capture_name=name,
    )
    return Capture(name, frames, SourceFile(name, "", "", "", n))


@pytest.mark.parametrize("stride", [None, 7])
def test_frames_are_counted_at_the_id_of_their_window(stride: int | None, tmp_path: Path) -> None:
    captures = [capture_of("a", 300, 0), capture_of("b", 250, 1)]
    plan = SplitPlan(tuple(Segment(c.name, "test", 0, len(c.frames)) for c in captures), "groups", ())
    store = GraphStore.build(tmp_path / "s", captures, plan, WindowSettings(window=20, stride=stride), progress=False)
    rows = np.arange(len(store))[::2]
    attack, benign = frame_counts(captures, store, rows)
    expected: list[tuple[int, int]] = []
    for row in rows:
        w = store.windows
        frames = captures[w.capture[row]].frames[w.row_start[row] : w.row_stop[row]]
        frames = frames[frames.bus == w.bus[row]]
        assert len(frames) == 20
        for key in store.key[store.node_ptr[row] : store.node_ptr[row + 1]]:
            mine = frames.label[frames.key == key]
            expected.append((int((mine == 1).sum()), int((mine == 0).sum())))
    assert list(zip(attack.tolist(), benign.tolist(), strict=True)) == expected
    assert sum(map(sum, expected)) > 100


def with_ids(frame: pl.DataFrame, seed: int = 0, ids: int = 4) -> pl.DataFrame:
    """The table with ``ids`` ids a window; the first sends the attack frames, its score follows the window's."""
    rng = np.random.default_rng(seed)
    n, label = frame.height, frame["label"].to_numpy() == 1
    score = rng.beta(1, 4, (n, ids)).astype(np.float32)
    score[:, 0] = np.clip(score[:, 0] + 0.5 * label, 0, 1)
    attack = np.zeros((n, ids), np.int32)
    attack[label, 0] = rng.integers(1, 20, label.sum())
    columns = {
        "node_key": np.tile(np.arange(ids), (n, 1)),
        "node_score": score,
        "node_attack": attack,
        "node_benign": rng.integers(0, 30, (n, ids)),
    }
    types = {"node_key": pl.Int64, "node_score": pl.Float32, "node_attack": pl.Int32, "node_benign": pl.Int32}
    return frame.with_columns(pl.Series(k, v.tolist(), dtype=pl.List(types[k])) for k, v in columns.items())


@pytest.fixture(scope="module")
def scores(run: Scores) -> Scores:
    return Scores(with_ids(run.frame), run.intervals)


@pytest.fixture(scope="module")
def metrics(scores: Scores) -> dict[str, Any]:
    return evaluate(scores, SETTINGS)


def one_by_one(rows: pl.DataFrame, family: str | None = None) -> tuple[np.ndarray, np.ndarray, int]:
    """(attack, score) of every frame that counts, walked in Python, and how many are left out."""
    attack, score, left_out = [], [], 0
    for row in rows.iter_rows(named=True):
        for s, bad, good in zip(row["node_score"], row["node_attack"], row["node_benign"], strict=True):
            if row["label"] == 0 and row["in_interval"]:
                left_out += bad + good
                continue
            bad = bad if family in (None, row["family"]) else 0
            attack += [True] * bad + [False] * good
            score += [s] * (bad + good)
    return np.array(attack), np.array(score), left_out


@pytest.mark.parametrize("family", [None, "spoofing"])
def test_figures_again_frame_by_frame(scores: Scores, metrics: dict[str, Any], family: str | None) -> None:
    part = metrics["overall"] if family is None else metrics["overall"]["families"][family]
    rows = scores.frame.filter(pl.col("split") == "test", pl.col("capture").is_in(part["captures"]))
    (attack, score, left_out), found = one_by_one(rows, family), part["frames"]
    alarm = score > metrics["calibration"]["frame_threshold"]
    assert (found["frames"], found["attack"], found["left_out"]) == (len(attack), attack.sum(), left_out)
    assert found["auroc"] == pytest.approx(roc_auc_score(attack, score))
    assert found["auprc"] == pytest.approx(average_precision_score(attack, score))
    assert found["f1"] == pytest.approx(f1_score(attack, alarm))
    assert found["mcc"] == pytest.approx(matthews_corrcoef(attack, alarm))
    assert found["recall"] == pytest.approx(alarm[attack].mean())
    assert found["fpr"] == pytest.approx(alarm[~attack].mean())
    assert found["undefined"] == {}
    if family is None:
        assert found["blocks"] >= 5
        for name in ("auroc", "precision", "recall", "f1", "fpr"):
            low, high = found["intervals"][name]
            assert low <= found[name] <= high
            assert low < high
    else:  # eight seconds of attacks
        assert found["intervals"] == {}
        assert found["no_interval"] == f"attack frames lie in fewer than 5 stretches of time ({found['blocks']})"


def test_a_family_s_frames_are_its_own_where_a_capture_holds_two(
    windows_of: Callable[..., pl.DataFrame],
) -> None:
    family = np.array([""] * 70 + ["dos"] * 10 + ["replay"] * 20)
    label = (family != "").astype(np.int8)
    frame = with_ids(
        pl.concat([windows_of("validation", "v", 200), windows_of("test", "t", 100, label=label, family=family)])
    )
    found = evaluate(Scores(frame, {}), SETTINGS)["overall"]
    for name in ("dos", "replay"):
        attack, score, _ = one_by_one(frame.filter(pl.col("split") == "test"), name)
        figures = found["families"][name]["frames"]
        assert figures["attack"] == attack.sum()
        assert figures["auroc"] == pytest.approx(roc_auc_score(attack, score))


def test_the_interval_of_a_family_is_of_its_own_frames(windows_of: Callable[..., pl.DataFrame]) -> None:
    """dos frames are all found and replay frames never, in every stretch of time."""
    family = np.tile(np.array([""] * 40 + ["dos"] * 10 + ["replay"] * 10), 20)
    label = (family != "").astype(np.int8)
    test = with_ids(windows_of("test", "t", 1200, label=label, family=family))
    guilty = pl.when(pl.col("family") == "dos").then(0.99).otherwise(0.0).cast(pl.Float32)
    test = test.with_columns(node_score=pl.concat_list(guilty, pl.col("node_score").list.slice(1)))
    found = evaluate(Scores(pl.concat([with_ids(windows_of("validation", "v", 200)), test]), {}), SETTINGS)
    families = {name: x["frames"]["intervals"]["recall"] for name, x in found["overall"]["families"].items()}
    assert families == {"dos": [1.0, 1.0], "replay": [0.0, 0.0]}


def test_a_frame_on_the_threshold_is_not_above_it(windows_of: Callable[..., pl.DataFrame]) -> None:
    frame = with_ids(windows_of("validation", "v", 200))
    twin = frame.with_columns(split=pl.lit("test"))
    found = evaluate(Scores(pl.concat([frame, twin]), {}), SETTINGS)
    _, score, _ = one_by_one(frame)
    threshold = found["calibration"]["frame_threshold"]
    assert (score == threshold).any()
    assert found["overall"]["frames"]["false_positive"] == (score > threshold).sum()


def test_frames_of_windows_that_are_left_out_move_no_interval(scores: Scores, metrics: dict[str, Any]) -> None:
    silent = (pl.col("label") == 0) & pl.col("in_interval") & (pl.col("split") == "test")
    zero = pl.col("node_score") * 0
    moved = scores.frame.with_columns(node_score=pl.when(silent).then(zero).otherwise(pl.col("node_score")))
    assert not moved.equals(scores.frame)
    again = evaluate(Scores(moved, scores.intervals), SETTINGS)
    assert again["overall"]["frames"] == metrics["overall"]["frames"]


def test_the_threshold_is_that_of_benign_validation_frames(scores: Scores, metrics: dict[str, Any]) -> None:
    _, score, _ = one_by_one(scores.frame.filter(pl.col("split") == "validation"))
    above = (score > metrics["calibration"]["frame_threshold"]).sum()
    assert 0 < (above + 1) / (len(score) + 1) <= SETTINGS.target_fpr


def test_the_windows_figures_do_not_change(run: Scores, metrics: dict[str, Any]) -> None:
    plain = evaluate(run, SETTINGS)
    assert plain["overall"]["windows"] == metrics["overall"]["windows"]
    frames = plain["overall"]["frames"]
    assert plain["calibration"]["frame_threshold"] is None
    assert frames["frames"] == 0
    assert frames["auroc"] is frames["f1"] is None
    assert set(frames["undefined"].values()) == {"the detector gives ids no score of their own"}
    assert {name for name, value in frames.items() if value is None} == set(frames["undefined"])


def test_without_attack_frames_the_reason_speaks_of_frames(windows_of: Callable[..., pl.DataFrame]) -> None:
    frame = pl.concat([windows_of("validation", "v", 200), windows_of("test", "t", 50)])
    found = evaluate(Scores(with_ids(frame), {}), SETTINGS)["overall"]["frames"]
    assert found["undefined"]["auroc"] == "no attack frame"
    assert found["fpr"] is not None
    assert found["intervals"] == {}
    assert found["no_interval"] == "attack frames lie in fewer than 5 stretches of time (0)"


def test_the_file_keeps_node_scores(scores: Scores, metrics: dict[str, Any], tmp_path: Path) -> None:
    write_scores(tmp_path / "scores.parquet", scores.frame, scores.intervals)
    again = read_scores(tmp_path / "scores.parquet")
    assert again.frame.equals(scores.frame)
    assert evaluate(again, SETTINGS) == metrics


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (pl.col("node_score").list.head(1), "the node columns of a row must have one entry a node each"),
        (pl.col("node_score") * float("nan"), "column 'node_score' has values that are not finite numbers"),
        (pl.col("node_score").cast(pl.List(pl.Float64)), "column 'node_score' must be List"),
    ],
)
def test_node_columns_that_no_detector_can_have_made(
    change: pl.Expr, message: str, scores: Scores, tmp_path: Path
) -> None:
    frame = scores.frame.with_columns(change)
    frame.write_parquet(tmp_path / "s.parquet", metadata={"credit_like.scores": "1", "credit_like.intervals": "[]"})
    with pytest.raises(UserError, match=message):
        read_scores(tmp_path / "s.parquet")


def test_one_score_a_node_is_asked_for(tmp_path: Path) -> None:
    capture = capture_of("a", 60, 0)
    plan = SplitPlan((Segment("a", "test", 0, 60),), "groups", ())
    store = GraphStore.build(tmp_path / "s", [capture], plan, WindowSettings(window=20), progress=False)
    with pytest.raises(ValueError, match="one a node of the windows"):
        with_nodes(pl.DataFrame(), store, np.arange(len(store)), np.zeros(1, np.float32), [capture])


def test_the_report_shows_them_and_says_why_where_there_are_none(
    scores: Scores, run: Scores, report_of: Callable[..., Path]
) -> None:
    text = report_of(scores).read_text()
    assert 'id="frames"' in text
    assert "/test_sets/test/families/spoofing/frames/auroc" in text
    assert "Undefined: the detector gives ids no score of their own." in report_of(run).read_text()


def test_an_attack_that_its_windows_tell_and_its_frames_do_not_is_named(metrics: dict[str, Any]) -> None:
    def told(windows: float, frames: float) -> str:
        changed = deepcopy(metrics)
        for name, part in changed["overall"]["families"].items():
            part["windows"]["recall"] = windows if name == "dos" else 0.0
            part["frames"]["recall"] = frames if name == "dos" else 0.0
        return by_frame(changed)

    text = "Found by its windows and not by its frames: dos (1.000 of the windows, 0.020 of the frames)."
    assert text in told(1.0, 0.02)
    assert "Found by its windows" not in told(1.0, 0.3)
    assert "Found by its windows" not in told(0.4, 0.02)
