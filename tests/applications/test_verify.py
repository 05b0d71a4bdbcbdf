"""credit-like verify: a run as it was made holds, and whatever is tampered with is named."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch

from applications.__main__ import main
from applications._run import open_run
from applications.verify import BestDetector, described
from credit_like.can import write_simulated_dataset
from credit_like.training import read_checkpoint, write_checkpoint
from credit_like.verification import CHECKS, Check
from tests.applications.tampering import Edit, Evidence, edited, false_checks, forged

SAMPLE = 10


def first_test_row(value: pl.Expr) -> pl.Expr:
    """``value`` in the first row of the test set, everything else as it is."""
    chosen = (pl.col("split") == "test") & ((pl.col("split") == "test").cum_sum() == 1)
    name = value.meta.root_names()[0]
    return pl.when(chosen).then(value).otherwise(pl.col(name)).alias(name)


def test_a_run_as_it_was_made_holds(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(finished), "--sample", str(SAMPLE), "--seed", "7"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].startswith("everything holds (")
    for name in set(CHECKS) - {"experts", "policy", "scores", "metrics"}:
        assert any(line.startswith(f"ok    {name} ") for line in lines), name
    (scores,) = (line for line in lines if line.startswith("ok    scores   "))
    assert f"{SAMPLE} of " in scores
    assert "drawn with seed 7" in scores
    assert sum("metrics: " in line for line in lines) == len(json.loads((finished / "metrics.json").read_text()))


def test_logs_that_have_moved_are_named_by_data(
    logs: Path, run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    moved = shutil.copytree(logs, tmp_path / "moved")
    arguments = ["verify", str(run_folder), "--data", str(moved), "--only", "logs"]
    assert main(arguments) == 0
    log = sorted((moved / "drives").glob("*.csv"))[0]
    content = bytearray(log.read_bytes())
    content[content.rindex(b",") - 1] ^= 1  # one bit of the last payload
    log.write_bytes(content)
    assert main(arguments) == 1
    shown = capsys.readouterr().out
    assert "\nFALSE logs" in shown
    assert f"'drives/{log.name}'.sha256 is '" in shown
    assert "1 of 1 checks are FALSE: logs (" in shown
    log.unlink()
    assert main(arguments) == 1
    assert f"'drives/{log.name}' is not among the logs" in capsys.readouterr().out
    others = tmp_path / "others"
    write_simulated_dataset(others, drives=1, seconds=12, attacks=(), seed=9, progress=False)
    (others / "drives").rename(others / "another car")
    assert main(["verify", str(run_folder), "--data", str(others)]) == 1
    out, err = capsys.readouterr()
    assert "FALSE" not in out
    assert f"{others} holds none of the " in err


def test_a_certificate_that_was_edited(evidence: Evidence) -> None:
    claims, dataset, detector = evidence
    touched = replace(claims, certificate=edited(claims.certificate, lambda c: c.update(reason="because")))
    found = false_checks(touched, dataset, detector, ["certificate"])
    assert found == {"certificate": "its digest is not that of its content: it was changed after it was issued"}


def shorten(certificate: dict[str, Any]) -> None:
    interval = max(certificate["intervals"], key=lambda x: x["windows"])
    interval["row_stop"] -= 100
    interval["windows"] -= 1


def give_test_rows_to_training(certificate: dict[str, Any]) -> None:
    next(x for x in certificate["intervals"] if x["split"] == "test")["split"] = "train"


def claim_shared_drive(certificate: dict[str, Any]) -> None:
    first, second, *others = certificate["groups"]
    certificate["groups"] = [{"aligned": True, "captures": first["captures"] + second["captures"]}, *others]


FORGERIES: dict[str, tuple[Edit, dict[str, str]]] = {
    "a row interval": (shorten, {"row intervals": "store.windows is", "rows and counts": "counts."}),
    "a split": (give_test_rows_to_training, {"windows of scores": "is in no such split", "scaler": ""}),
    "a group": (claim_shared_drive, {"groups": "are named as one group, but are not"}),
    "what a capture shares": (
        lambda c: c["groups"][0]["captures"][0].update(shared=0.5),
        {"groups": "of its runs, not 50.0%"},
    ),
    "the frame runs shared": (
        lambda c: c["run_overlap"]["splits"]["test"].update(runs=1),
        {"frame runs": "run_overlap.splits.test.runs is 1"},
    ),
    "the gap between splits": (
        lambda c: c["disjointness"].update(smallest_gap=9.0),
        {"disjointness": "disjointness.smallest_gap is 9.0"},
    ),
    "the embargo": (lambda c: c.update(embargo=5.0), {"settings": "the embargo is 5.0 s; the configuration says"}),
    "a log's digest": (lambda c: c["files"][0].update(sha256="0" * 64), {"logs": "sha256 is '000"}),
    "a time by half a second": (
        lambda c: c["intervals"][0].update(t_start=c["intervals"][0]["t_start"] + 0.5),
        {"row intervals": "t_start is"},
    ),
    "a spread below 0, which would widen the gap": (
        lambda c: c["groups"][0]["captures"][0].update(spread=-1.0),
        {"groups": "has a spread below 0"},
    ),
    "a clock that differs from none": (
        lambda c: c["groups"][0].update(aligned=False),
        {"groups": "has no other clock to differ from, but is said to"},
    ),
    "a duplicate": (lambda c: c["duplicates"].append(["a", "b"]), {"logs": "duplicates has 1 entries; there are 0"}),
    "a count of windows": (
        lambda c: c["counts"]["test"].update(attack=0),
        {"rows and counts": "counts.test.attack is 0"},
    ),
    "a count of rows": (lambda c: c["rows"].update(tail=0), {"rows and counts": "rows are in windows"}),
    "the vocabulary's digest": (
        lambda c: c["vocabulary"].update(digest="0" * 64, refit_digest="0" * 64),
        {"vocabulary": "vocabulary.digest is '000"},
    ),
    "the scaler's digest": (
        lambda c: c["scaler"].update(digest="0" * 64, refit_digest="0" * 64),
        {"scaler": "scaler.digest is '000"},
    ),
    "what the scaler was fitted on": (
        lambda c: c["scaler"].update(fitted_on="everything"),
        {"scaler": "not verified: fitted on 'everything'"},
    ),
    "something new": (lambda c: c.update(blessing="given"), {"certificate": "not verified: blessing"}),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_a_certificate_that_was_forged_with_its_digest(name: str, evidence: Evidence) -> None:
    claims, dataset, detector = evidence
    edit, expected = FORGERIES[name]
    touched = replace(claims, certificate=forged(claims.certificate, edit))
    found = false_checks(touched, dataset, detector, expected)
    for check, words in expected.items():
        assert words in found[check]


SCORE_EDITS: dict[str, tuple[pl.Expr, dict[str, str]]] = {
    "every score": (pl.col("score") * 0.9, {"scores": "the detector gives", "metrics: calibration": "threshold is"}),
    "one score": (first_test_row(1 - pl.col("score")), {"metrics: overall": "calibration_error is"}),
    "a label": (first_test_row((1 - pl.col("label")).cast(pl.Int8)), {"windows of scores": "label is"}),
    "a family": (first_test_row(pl.col("family") + "x"), {"windows of scores": "family is"}),
    "whether in an attack": (first_test_row(~pl.col("in_interval")), {"windows of scores": "in_interval is True"}),
    "a row": (first_test_row(pl.col("row_start") + 1), {"windows of scores": "a window is missing: rows"}),
    "a time": (first_test_row(pl.col("t_start") - 0.001), {"windows of scores": "t_start is"}),
    "a split": (pl.lit("test").alias("split"), {"windows of scores": "split is 'test'; it should be 'validation'"}),
    "a control's scores": (
        pl.col("control/timing only") + 0.1,
        {"controls": "control/timing only is", "metrics: overall": "overall.controls.timing only."},
    ),
    "a control that is worse than it was": (
        pl.col("control/isolation forest") - 0.1,
        {"controls": "control/isolation forest is"},
    ),
    "a control of nobody's": (pl.col("score").alias("control/magic"), {"controls": "not verified: control 'magic'"}),
    "the raw weights' scores": (pl.col("raw_score") + 0.1, {"raw scores": "raw_score is"}),
    "the scores of ids": (
        pl.col("node_score").list.eval(pl.element() + 0.1),
        {"scores of ids": "node_score[0] is"},
    ),
    "which ids attacked": (pl.col("node_attack").list.eval(pl.element() + 1), {"scores of ids": "node_attack[0] is"}),
}


@pytest.mark.parametrize("name", SCORE_EDITS)
def test_scores_that_were_touched(name: str, evidence: Evidence) -> None:
    claims, dataset, detector = evidence
    change, expected = SCORE_EDITS[name]
    touched = replace(claims, scores=replace(claims.scores, frame=claims.scores.frame.with_columns(change)))
    found = false_checks(touched, dataset, detector, {check.partition(":")[0] for check in expected}, sample=2)
    for check, words in expected.items():
        assert words in found[check]


METRIC_EDITS: dict[str, tuple[Edit, str, str]] = {
    "a figure": (lambda m: m["overall"]["windows"].update(auroc=1.0), "overall", "overall.windows.auroc is 1.0"),
    "the threshold": (lambda m: m["calibration"].update(threshold=0.5), "calibration", "calibration.threshold is 0.5"),
    "the promise": (lambda m: m["calibration"].update(promised_fpr=0.0), "calibration", "promised_fpr is 0.0"),
    "an interval": (
        lambda m: m["overall"]["windows"]["intervals"].update(auroc=[0.9, 1.0]),
        "overall",
        "overall.windows.intervals.auroc",
    ),
    "a frame's interval": (
        lambda m: m["overall"]["frames"]["intervals"].update(recall=[0.9, 1.0]),
        "overall",
        "overall.frames.intervals.recall",
    ),
    "the interval of how well frames are ranked": (
        lambda m: m["overall"]["frames"]["intervals"].update(auroc=[0.9, 1.0]),
        "overall",
        "overall.frames.intervals.auroc",
    ),
    "what an interval rests on": (
        lambda m: m["overall"]["windows"].update(blocks=500),
        "overall",
        "overall.windows.blocks is 500",
    ),
    "an event": (lambda m: m["events"][0].update(found=not m["events"][0]["found"]), "events", "events[0].found is"),
    "where it was calibrated": (lambda m: m.update(calibration_captures=[]), "calibration_captures", "has 0 entries"),
    "the groups": (lambda m: m["groups"].pop(), "groups", "entries; there are"),
    "a figure without a value": (
        lambda m: m["test_sets"]["test"]["windows"].update(recall=None),
        "test_sets",
        "test_sets.test.windows.recall is None",
    ),
    "a new figure": (
        lambda m: m["validation"].update(beauty=1.0),
        "validation",
        "not verified: validation.beauty",
    ),
    "a new part": (lambda m: m.update(opinion={}), "opinion", "not verified: opinion"),
    "a new setting": (lambda m: m["settings"].update(kindly=True), "settings", "not verified: settings.kindly"),
    "the version": (lambda m: m.update(schema_version=99), "schema_version", "schema_version is 99"),
}


@pytest.mark.parametrize("name", METRIC_EDITS)
def test_metrics_that_were_touched(name: str, evidence: Evidence) -> None:
    claims, dataset, detector = evidence
    edit, part, words = METRIC_EDITS[name]
    found = false_checks(replace(claims, metrics=edited(claims.metrics, edit)), dataset, detector, ["metrics"])
    assert set(found) == {f"metrics: {part}"}
    assert words in found[f"metrics: {part}"]


@pytest.mark.parametrize(
    ("tensor", "value", "check"),
    [
        ("network.fc_layers.1.bias", [0.0, 0.5], "scores"),
        ("vocabulary.keys", 1, "vocabulary"),
        ("scaler.node_centre", 0.5, "scaler"),
    ],
)
def test_a_checkpoint_that_was_written_anew(
    tensor: str, value: Any, check: str, run_folder: Path, evidence: Evidence
) -> None:
    claims, dataset, _ = evidence
    best = run_folder / "best_checkpoint.pt"
    state = read_checkpoint(best)
    for weights in (state["model"], state["ema"]["shadow"]):
        if tensor in weights:
            weights[tensor] += torch.tensor(value)
    write_checkpoint(best, state)  # with its digest
    assert check in false_checks(claims, dataset, BestDetector(open_run(run_folder)), [check], sample=2)


def test_attacks_that_the_scores_do_not_tell_of(evidence: Evidence) -> None:
    claims, dataset, detector = evidence
    scores = replace(claims.scores, intervals=dict(list(claims.scores.intervals.items())[1:]))
    found = false_checks(replace(claims, scores=scores), dataset, detector, ["windows of scores", "metrics"])
    assert "attack intervals." in found["windows of scores"]
    assert "events" in found["metrics: events"]


def test_attacks_that_are_moved_by_a_tenth_of_a_second(evidence: Evidence) -> None:
    """On a clock of seconds since 1970; the time to alarm would be shorter by as much."""
    claims, dataset, detector = evidence
    moved = {x: [e | {"start": e["start"] + 0.1} for e in known] for x, known in claims.scores.intervals.items()}
    touched = replace(claims, scores=replace(claims.scores, intervals=moved))
    found = false_checks(touched, dataset, detector, ["windows of scores"])
    assert ".start is" in found["windows of scores"]
    metrics = edited(claims.metrics, lambda m: m["events"][0].update(start=m["events"][0]["start"] - 0.1))
    found = false_checks(replace(claims, metrics=metrics), dataset, detector, ["metrics"])
    assert "events[0].start is" in found["metrics: events"]


def test_a_damaged_checkpoint_is_refused_before_it_is_read(
    run_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    best = run_folder / "best_checkpoint.pt"
    content = bytearray(best.read_bytes())
    content[len(content) // 2] ^= 1
    best.unlink()  # it may be a hard link of the latest checkpoint
    best.write_bytes(content)
    assert main(["verify", str(run_folder)]) == 1
    assert f"{best} is damaged or was altered" in capsys.readouterr().err


def test_what_is_no_judged_run(run_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(run_folder), "--sample", "0"]) == 2
    assert "--sample: expected an integer, at least 1; got '0'" in capsys.readouterr().err
    assert main(["verify", str(run_folder), "--only", "policy"]) == 1
    assert "has nothing to check under policy: that is for fusions of two runs" in capsys.readouterr().err
    (run_folder / "scores.parquet").write_bytes(b"PAR1")
    assert main(["verify", str(run_folder)]) == 1
    assert f"{run_folder / 'scores.parquet'} is not a scores table" in capsys.readouterr().err
    (run_folder / "metrics.json").write_text('{"schema_version": 1}')
    assert main(["verify", str(run_folder)]) == 1
    assert "metrics.json: metrics of schema 4 are needed; found 1. Write them anew" in capsys.readouterr().err
    (run_folder / "metrics.json").unlink()
    assert main(["verify", str(run_folder)]) == 1
    assert "metrics.json is missing" in capsys.readouterr().err


def test_many_problems_are_counted() -> None:
    shown = described(Check("logs", "one with another", tuple(f"problem {n}" for n in range(2000)), 1.25)).splitlines()
    assert shown[0] == "FALSE logs                           1.2 s  one with another"
    assert len(shown) == 10
    assert shown[-1] == "        and 1,992 more"
