"""Ten leaks, each made for real in the code that makes a run, and each refused by the certificate or found by verify.

A leak is put into one function of the real path; all else runs as it is. What refuses it is asserted in its own words.
"""

from __future__ import annotations

import importlib
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import applications._data
import applications._fit
import applications.evaluate
import credit_like.graphs._build
import credit_like.graphs.store
from applications.__main__ import main
from applications._data import Data
from applications._job import DataSettings
from applications._run import CERTIFICATE, METRICS, SCORES, read_json
from applications.verify import verify_run
from credit_like.can import Capture, Dataset, FrameTable
from credit_like.graphs import (
    NODE_FEATURES,
    FeatureScaler,
    GraphArrays,
    GraphStore,
    Group,
    Groups,
    PackedLoader,
    Segment,
    SplitPlan,
    Vocabulary,
    WindowTable,
)
from credit_like.graphs.groups import Member

Patch = pytest.MonkeyPatch
Output = pytest.CaptureFixture[str]


def trained(job: Sequence[str], tmp_path: Path, judged: Path | None = None) -> Path:
    """A run of the job; with ``judged``, to save time, with the scores of that run in the place of its own."""
    run = tmp_path / "run"
    assert main(["train", *job, f"save_loc={run}", *(["--no-evaluate"] if judged else [])]) == 0
    for name in (METRICS, SCORES) if judged else ():
        shutil.copy(judged / name, run / name)
    return run


def exposed(run: Path, *checks: str) -> dict[str, str]:
    """What ``verify`` says that is false, by check."""
    found = verify_run(run, only=checks, sample=10)
    return {check.name: "\n".join(check.problems) for check in found if not check.holds}


def refusal(job: Sequence[str], output: Output) -> str:
    """What ``prepare``, which issues a certificate as ``train`` does, says against the job."""
    output.readouterr()
    assert main(["prepare", *job]) == 1
    said: str = output.readouterr().err
    assert said.startswith("error: the split certificate is not valid:")
    return said


def test_the_same_path_without_a_leak_passes(leaky_job: list[str], finished: Path, tmp_path: Path) -> None:
    assert main(["prepare", *leaky_job]) == 0
    assert exposed(finished, "scores", "windows of scores", "metrics") == {}
    run = trained(leaky_job, tmp_path, finished)
    assert exposed(run, "certificate", "logs", "row intervals", "vocabulary", "scaler", "best epoch") == {}


def test_windows_that_overlap_across_splits(leaky_job: list[str], monkeypatch: Patch, capsys: Output) -> None:
    cut_windows = credit_like.graphs.store.cut_windows

    def shuffled(*arguments: Any) -> WindowTable:
        """Windows cut with an overlap first and divided at random afterwards."""
        windows = cut_windows(*arguments)
        return replace(windows, split=np.random.default_rng(0).permutation(windows.split))

    monkeypatch.setattr(credit_like.graphs.store, "cut_windows", shuffled)
    assert "raw rows are in two splits" in refusal([*leaky_job, "data.window.stride=50"], capsys)


def fitted_on_all(
    *, vocabulary: bool, scaler: bool
) -> Callable[[Data, DataSettings], tuple[Vocabulary, FeatureScaler]]:
    def fit_inputs(data: Data, settings: DataSettings) -> tuple[Vocabulary, FeatureScaler]:
        everything, benign = data.store.select(), data.windows("train", label=0)
        known = Vocabulary.fit(data.store, everything if vocabulary else benign)
        rows = data.store.select(label=0) if scaler else benign
        return known, FeatureScaler.fit(data.store, rows, known, settings.scaler)

    return fit_inputs


def test_a_scaler_fitted_on_all_data(leaky_job: list[str], monkeypatch: Patch, capsys: Output) -> None:
    monkeypatch.setattr("credit_like.graphs.scaler.require_training", lambda *_: None)
    monkeypatch.setattr("applications.prepare.fit_inputs", fitted_on_all(vocabulary=False, scaler=True))
    assert "the scaler is not the one that training windows give: it was fitted on other data" in refusal(
        leaky_job, capsys
    )


def test_a_vocabulary_that_knows_the_test_windows(leaky_job: list[str], monkeypatch: Patch, capsys: Output) -> None:
    monkeypatch.setattr("credit_like.graphs.vocabulary.require_training", lambda *_: None)
    monkeypatch.setattr("applications.prepare.fit_inputs", fitted_on_all(vocabulary=True, scaler=False))
    assert "the vocabulary is not the one that training windows give: it was fitted on other data" in refusal(
        leaky_job, capsys
    )


def test_a_threshold_set_on_test_windows(run_folder: Path, monkeypatch: Patch) -> None:
    judging = importlib.import_module("credit_like.evaluation.evaluate")
    evaluate, conformal = applications.evaluate.evaluate, judging.conformal_threshold

    def on_test(*arguments: Any) -> dict[str, Any]:
        best = evaluate(*arguments)["overall"]["oracle"]["threshold"]
        with monkeypatch.context() as patched:
            patched.setattr(judging, "conformal_threshold", lambda *given: replace(conformal(*given), value=best))
            return evaluate(*arguments)

    monkeypatch.setattr(applications.evaluate, "evaluate", on_test)
    assert main(["evaluate", str(run_folder)]) == 0
    assert "calibration.threshold is" in exposed(run_folder, "metrics")["metrics: calibration"]


def test_one_drive_under_two_names_in_two_splits(
    logs: Path, leaky_job: list[str], tmp_path: Path, monkeypatch: Patch, capsys: Output
) -> None:
    folder = shutil.copytree(logs, tmp_path / "logs")
    first = sorted((folder / "drives").glob("*.csv"))[0]
    copied = first.with_name("copy.csv")
    copied.write_bytes(first.read_bytes().rstrip().rpartition(b"\n")[0] + b"\n")  # one frame less: no duplicate by hash
    plan_splits = applications._data.plan_splits

    def by_file(captures: Sequence[Capture], *arguments: Any) -> SplitPlan:
        """Each file whole in one split, as one does who takes a file for a drive."""
        plan = plan_splits(captures, *arguments)
        splits = {f"drives/{first.name}": "train", "drives/copy.csv": "test"}
        segments = tuple(Segment(c.name, splits.get(c.name, "validation"), 0, len(c.frames)) for c in captures)
        return replace(
            plan,
            segments=segments,
            record=plan.record | {"dropped_rows": dict.fromkeys(plan.record["dropped_rows"], 0)},
        )

    monkeypatch.setattr(applications._data, "plan_splits", by_file)
    said = refusal([*leaky_job, f"data.path={folder}"], capsys)
    assert "s of drive time apart; the embargo is 0.5 s" in said
    assert "of the frame runs of 'drives/copy.csv' in test occur in training too" in said

    def alone(captures: Sequence[Capture]) -> Groups:
        return Groups(tuple(Group((Member(capture.name, 0.0, 0.0, 0.0),)) for capture in captures))

    monkeypatch.setattr("credit_like.graphs.certificate.find_groups", alone)  # blind to shared traffic
    said = refusal([*leaky_job, f"data.path={folder}"], capsys)
    assert "of the frame runs of 'drives/copy.csv' in test occur in training too" in said


def with_feature(value: Callable[[FrameTable], float]) -> Callable[..., GraphArrays]:
    """The compiled builder with ``value`` of the window's frames in the place of a feature."""
    build, column = credit_like.graphs._build.build_graphs, NODE_FEATURES.index("skewness")

    def leaky(frames: FrameTable, starts: Any, window: int, *more: Any) -> GraphArrays:
        graphs = build(frames, starts, window, *more)
        for graph, start in enumerate(starts):
            nodes = slice(graphs.node_ptr[graph], graphs.node_ptr[graph + 1])
            graphs.x[nodes, column] = value(frames[start : start + window])
        return graphs

    return leaky


def test_the_label_as_a_feature(leaky_job: list[str], tmp_path: Path, monkeypatch: Patch) -> None:
    leak = with_feature(lambda frames: float(frames.label.max()))
    monkeypatch.setattr(credit_like.graphs._build, "build_graphs", leak)
    run = trained(leaky_job, tmp_path)
    controls = read_json(run / METRICS)["overall"]["controls"]
    assert controls["gradient-boosted trees"]["auroc"] > 0.999  # one feature is enough: the report says so
    found = exposed(run, "certificate", "scaler", "scores", "best epoch")
    assert set(found) == {"scaler", "scores", "best epoch"}
    assert "the detector gives" in found["scores"]


def test_absolute_time_as_a_feature(leaky_job: list[str], finished: Path, tmp_path: Path, monkeypatch: Patch) -> None:
    monkeypatch.setattr(credit_like.graphs._build, "build_graphs", with_feature(lambda frames: float(frames.t[0])))
    found = exposed(trained(leaky_job, tmp_path, finished), "certificate", "scaler", "best epoch")
    assert set(found) == {"scaler", "best epoch"}
    assert "statistics are not those of the logs" in found["scaler"]


def test_validation_windows_given_as_test(run_folder: Path, monkeypatch: Patch) -> None:
    scores_frame = applications.evaluate.scores_frame

    def exchanged(*arguments: Any) -> pl.DataFrame:
        other = {"validation": "test", "test": "validation"}
        return scores_frame(*arguments).with_columns(pl.col("split").replace(other))

    monkeypatch.setattr(applications.evaluate, "scores_frame", exchanged)
    assert main(["evaluate", str(run_folder)]) == 0
    found = exposed(run_folder, "windows of scores", "scores")
    assert set(found) == {"windows of scores"}
    assert "split is 'test'; it should be 'validation'" in found["windows of scores"]


def test_captures_put_together(leaky_job: list[str], finished: Path, tmp_path: Path, monkeypatch: Patch) -> None:
    read_dataset, ends = applications._data.read_dataset, []

    def joined(*arguments: Any, **options: Any) -> Dataset:
        """All captures as one, under the name of the first: windows reach from the end of one drive into the next."""
        dataset = read_dataset(*arguments, **options)
        first, tables, intervals, end = dataset.captures[0], [], [], 0.0
        for capture in dataset.captures:
            shift = end - capture.frames.t[0]
            tables.append(replace(capture.frames, t=capture.frames.t + shift, capture_names=(first.name,)))
            intervals += [replace(x, start=x.start + shift, stop=x.stop + shift) for x in capture.intervals]
            end = tables[-1].t[-1] + 0.01
        ends.extend(np.cumsum([len(table) for table in tables])[:-1])
        one = replace(first, frames=FrameTable.concatenate(tables), intervals=tuple(intervals))
        return replace(dataset, captures=(one,))

    monkeypatch.setattr(applications._data, "read_dataset", joined)
    run = trained(leaky_job, tmp_path, finished)
    spans = [(x["row_start"], x["row_stop"]) for x in read_json(run / CERTIFICATE)["intervals"]]
    assert any(start < end < stop for start, stop in spans for end in ends)  # windows of two drives are in use
    found = exposed(run, "certificate", "logs", "row intervals")
    assert set(found) == {"logs", "row intervals"}
    assert "is not in the certificate" in found["logs"]
    assert "do not exist" in found["row intervals"]


def test_the_best_epoch_chosen_on_test_windows(
    leaky_job: list[str], finished: Path, tmp_path: Path, monkeypatch: Patch
) -> None:
    def on_test(store: GraphStore, rows: Any, *arguments: Any, shuffle: bool = False, **more: Any) -> PackedLoader:
        rows = rows if shuffle else store.select("test", without_interval_overlap=True)
        return PackedLoader(store, rows, *arguments, shuffle=shuffle, **more)

    monkeypatch.setattr(applications._fit, "PackedLoader", on_test)
    found = exposed(trained(leaky_job, tmp_path, finished), "certificate", "vocabulary", "scaler", "best epoch")
    assert set(found) == {"best epoch"}
    assert found["best epoch"].startswith("valid_loss was ")
