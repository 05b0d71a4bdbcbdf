"""credit-like evaluate, report and predict: a finished run can be judged, shown and used, or says why not."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from applications.__main__ import main
from applications._summary import _best_control
from applications.predict import COLUMNS, is_table
from credit_like.can import FrameTable, read_dataset, write_candump
from credit_like.evaluation import AlarmRule, read_scores
from credit_like.training import read_checkpoint, write_checkpoint

Output = pytest.CaptureFixture[str]


def test_judging_again_gives_the_same_figures(finished: Path, run_folder: Path, capsys: Output) -> None:
    for name in ("metrics.json", "scores.parquet", "report.html"):
        (run_folder / name).unlink()
    assert main(["evaluate", str(run_folder)]) == 0
    assert json.loads((run_folder / "metrics.json").read_text()) == json.loads((finished / "metrics.json").read_text())
    assert read_scores(run_folder / "scores.parquet").frame.equals(read_scores(finished / "scores.parquet").frame)
    shown = capsys.readouterr().out
    for figure in ("window AUROC", "F1, attack class", "recall", "false alarms an hour", "attacks found"):
        assert f"\n  {figure}" in shown or shown.startswith(f"  {figure}")
    controls = json.loads((finished / "metrics.json").read_text())["overall"]["controls"]
    assert f"AUROC, best control   {max(x['auroc'] for x in controls.values()):.4f} (" in shown
    assert f"report: {run_folder / 'report.html'}" in shown


def test_frames_are_judged_by_the_scores_of_their_ids(finished: Path) -> None:
    scores, metrics = read_scores(finished / "scores.parquet"), json.loads((finished / "metrics.json").read_text())
    labelled = scores.frame.select(pl.col("node_attack", "node_benign").list.sum()).sum_horizontal()
    assert (labelled == 100).all()  # every frame of the simulated drives is labelled, and every window has 100
    attacked = scores.frame["node_attack"].list.sum() > 0
    assert (attacked == (scores.frame["label"] == 1)).all()
    frames = metrics["overall"]["frames"]
    tested = scores.frame.filter(pl.col("split") == "test")
    assert frames["attack"] + frames["benign"] + frames["left_out"] == 100 * tested.height
    assert 0 <= frames["auroc"] <= 1


def test_how_to_judge_may_be_changed_but_not_what_was_trained(run_folder: Path, capsys: Output) -> None:
    assert main(["evaluate", str(run_folder), "evaluation.target_fpr=0.2"]) == 0
    assert json.loads((run_folder / "metrics.json").read_text())["settings"]["target_fpr"] == 0.2
    assert main(["evaluate", str(run_folder), "model.width=16"]) == 2
    assert "'model.width=16' cannot be changed after training" in capsys.readouterr().err
    assert main(["evaluate", str(run_folder), "runs/other"]) == 2
    assert capsys.readouterr().err == "error: 'runs/other': name one RUN; what follows it is key=value\n"


def test_metrics_that_are_not_whole_are_refused(run_folder: Path, finished: Path, capsys: Output) -> None:
    path = run_folder / "metrics.json"
    metrics = json.loads(path.read_text())
    del metrics["overall"]["windows"]["auroc"]
    path.write_text(json.dumps(metrics))
    for verb in (["report", str(run_folder)], ["compare", str(run_folder), str(finished)]):
        assert main(verb) == 1
        assert capsys.readouterr().err == (
            f"error: {path} is not as it was written: overall.windows.auroc: Field required. "
            f"Write it anew with `credit-like evaluate {run_folder}`\n"
        )


def test_a_report_does_without_an_empty_training_log(run_folder: Path) -> None:
    (run_folder / "training_log.csv").write_text("")
    assert main(["report", str(run_folder)]) == 0
    assert 'id="training"' in (run_folder / "report.html").read_text()


@pytest.mark.parametrize("verb", ["evaluate", "verify"])
def test_a_run_is_all_that_must_be_named(verb: str, capsys: Output) -> None:
    assert main([verb]) == 2
    assert capsys.readouterr().err.endswith("error: the following arguments are required: RUN\n")


def test_the_report_needs_neither_logs_nor_checkpoints(run_folder: Path, capsys: Output) -> None:
    for name in ("report.html", "best_checkpoint.pt", "checkpoint.pt"):
        (run_folder / name).unlink()
    assert main(["report", str(run_folder)]) == 0
    assert "<h1>" in (run_folder / "report.html").read_text()
    (run_folder / "metrics.json").unlink()
    assert main(["report", str(run_folder)]) == 1
    assert f"{run_folder / 'metrics.json'} is missing" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["evaluate", "report"])
def test_a_folder_that_is_no_run(verb: str, tmp_path: Path, capsys: Output) -> None:
    assert main([verb, str(tmp_path)]) == 1
    assert capsys.readouterr().err == (
        f"error: {tmp_path} is not a run folder (no config.yml); `credit-like train` makes one\n"
    )


def test_a_damaged_checkpoint_is_not_loaded(run_folder: Path, capsys: Output) -> None:
    best = run_folder / "best_checkpoint.pt"
    content = bytearray(best.read_bytes())
    content[len(content) // 2] ^= 1
    best.unlink()  # it may be a hard link of the latest checkpoint
    best.write_bytes(content)
    assert main(["evaluate", str(run_folder)]) == 1
    assert f"{best} is damaged or was altered" in capsys.readouterr().err


def test_a_checkpoint_of_something_else_is_not_loaded(run_folder: Path, capsys: Output) -> None:
    best = run_folder / "best_checkpoint.pt"
    state = read_checkpoint(best)
    write_checkpoint(best, {**state, "model": {"weight": state["model"]["network.fc_layers.0.weight"]}})
    assert main(["evaluate", str(run_folder)]) == 1
    assert f"{best} holds no vocabulary: it is not the checkpoint of a detector" in capsys.readouterr().err
    config = run_folder / "config.yml"
    config.write_text(config.read_text().replace("width: 8", "width: 16"))
    write_checkpoint(best, state)
    assert main(["evaluate", str(run_folder)]) == 1
    error = capsys.readouterr().err
    assert f"{best} is of another model: size mismatch for " in error
    assert error.endswith("Take the checkpoint that this configuration trained\n")


def test_a_checkpoint_of_another_detector_is_named_without_all_its_weights(run_folder: Path, capsys: Output) -> None:
    best = run_folder / "best_checkpoint.pt"
    state = read_checkpoint(best)
    model = {name: x for name, x in state["model"].items() if name.startswith(("vocabulary.", "scaler."))}
    write_checkpoint(best, {**state, "model": model})
    assert main(["evaluate", str(run_folder)]) == 1
    missing = [f'"{name}"' for name in state["model"] if name not in model]
    listed = f"{', '.join(missing[:3])} and {len(missing) - 3} more."
    assert f"of another model: Missing key(s) in state_dict: {listed} Take the" in capsys.readouterr().err


def test_a_run_without_a_finished_epoch_cannot_be_judged(run_folder: Path, capsys: Output) -> None:
    (run_folder / "best_checkpoint.pt").unlink()
    assert main(["evaluate", str(run_folder)]) == 1
    assert f"{run_folder} has no best_checkpoint.pt" in capsys.readouterr().err


def test_a_certificate_that_was_touched_lets_no_figure_through(run_folder: Path, capsys: Output) -> None:
    path = run_folder / "certificate.json"
    certificate = json.loads(path.read_text())
    certificate["rows"]["embargo"] += 1
    path.write_text(json.dumps(certificate))
    assert main(["evaluate", str(run_folder)]) == 1
    output = capsys.readouterr()
    assert "the split certificate is not valid" in output.err
    assert "AUROC" not in output.out
    assert main(["report", str(run_folder)]) == 0
    assert "no test figure is printed" in (run_folder / "report.html").read_text()


def test_logs_that_changed_since_training_are_refused(
    run_folder: Path, logs: Path, tmp_path: Path, capsys: Output
) -> None:
    changed = shutil.copytree(logs, tmp_path / "changed")
    sorted((changed / "drives").glob("drive-*"))[-1].unlink()
    assert main(["evaluate", str(run_folder), f"data.path={changed}"]) == 1
    assert f"the logs at {changed} give other windows than those this run was trained on" in capsys.readouterr().err


@pytest.fixture(scope="module")
def unlabelled(logs: Path, finished: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, pl.DataFrame]:
    """The first tested stretch of a capture as a candump without labels, and the scores that its windows have."""
    tested = read_scores(finished / "scores.parquet").frame.filter(pl.col("split") == "test")
    name = tested.group_by("capture").agg(pl.col("label").sum()).sort("label", "capture")["capture"][-1]
    known = tested.filter(pl.col("capture") == name).sort("row_start")
    known = known.filter(pl.col("row_start") - pl.col("row_start").first() == 100 * pl.int_range(pl.len()))
    rows = slice(known["row_start"][0], known["row_stop"][-1])
    frames = next(capture for capture in read_dataset(logs).captures if capture.name == name).frames[rows]
    path = tmp_path_factory.mktemp("unlabelled") / "drive.log"
    write_candump(replace(frames, label=np.full_like(frames.label, -1)), path)
    return path, known.with_columns(pl.col("row_start", "row_stop") - rows.start)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_new_logs_get_the_scores_that_the_same_windows_had(
    suffix: str, finished: Path, unlabelled: tuple[Path, pl.DataFrame], tmp_path: Path, capsys: Output
) -> None:
    log, known = unlabelled
    output = tmp_path / f"alarms{suffix}"
    assert main(["predict", str(finished), str(log), "-o", str(output)]) == 0
    table = pl.read_csv(output) if suffix == ".csv" else pl.read_parquet(output)
    both = known.join(table, on=["row_start", "row_stop"], how="inner", suffix="_predicted")
    assert both.height == known.height > 5
    np.testing.assert_allclose(both["score_predicted"], both["score"], atol=1e-4)
    threshold = json.loads((finished / "metrics.json").read_text())["calibration"]["threshold"]
    assert table["alarm"].to_list() == (table["score"] > threshold).to_list()
    assert f"{int(table['alarm'].sum()):,} alarms -> {output}" in capsys.readouterr().out
    assert is_table(output)


def test_alarms_of_new_logs_pass_the_same_stage_as_in_the_evaluation(
    run_folder: Path, unlabelled: tuple[Path, pl.DataFrame], tmp_path: Path
) -> None:
    log, _ = unlabelled
    stage = ["evaluation.alarm.k=2", "evaluation.alarm.n=3", "evaluation.target_fpr=0.9"]
    assert main(["evaluate", str(run_folder), *stage]) == 0
    rule = AlarmRule.of(json.loads((run_folder / "metrics.json").read_text()))
    assert (rule.k, rule.n) == (2, 3)
    output = tmp_path / "alarms.csv"
    output.write_text(",".join(COLUMNS) + "\n")  # an earlier table, which is replaced
    assert main(["predict", str(run_folder), str(log), "-o", str(output)]) == 0
    table = pl.read_csv(output).sort("row_start")
    above = (table["score"] > rule.threshold).to_list()
    expected = [a and sum(above[max(0, i - 2) : i + 1]) >= 2 for i, a in enumerate(above)]
    assert table["alarm"].to_list() == expected != above


def test_metrics_of_another_version_are_not_read_as_if_they_were_of_this_one(run_folder: Path, capsys: Output) -> None:
    path = run_folder / "metrics.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema_version": 1}))
    assert main(["report", str(run_folder)]) == 1
    assert f"{path}: metrics of schema 4 are needed; found 1. Write them anew" in capsys.readouterr().err


def test_what_cannot_be_predicted_says_why_and_writes_nothing(
    run_folder: Path, unlabelled: tuple[Path, pl.DataFrame], tmp_path: Path, capsys: Output
) -> None:
    log, _ = unlabelled
    output = tmp_path / "alarms.csv"
    assert main(["predict", str(run_folder), str(log), "-o", str(tmp_path / "alarms.xlsx")]) == 2
    assert "must end in .csv or .parquet" in capsys.readouterr().err
    short = tmp_path / "short.log"
    write_candump(FrameTable.concatenate([read_dataset(log).captures[0].frames[:60]]), short)
    assert main(["predict", str(run_folder), str(short), "-o", str(output)]) == 1
    assert "100" in capsys.readouterr().err
    assert main(["predict", str(run_folder), str(tmp_path / "none.log"), "-o", str(output)]) == 1
    assert "none.log" in capsys.readouterr().err
    assert main(["predict", str(run_folder), str(log), "-o", str(tmp_path / "missing" / "alarms.csv")]) == 1
    assert "missing to write alarms.csv in; make it first" in capsys.readouterr().err
    (run_folder / "metrics.json").unlink()
    assert main(["predict", str(run_folder), str(log), "-o", str(output)]) == 1
    assert "metrics.json is missing" in capsys.readouterr().err
    assert not output.exists()


def test_the_terminal_names_the_control_that_the_report_names() -> None:
    """Where the highest is beaten and another, whose interval is wider, is not."""
    made = [("trees", 0.95, (0.01, 0.03)), ("forest", 0.94, (-0.02, 0.08)), ("timing", 0.6, (0.3, 0.4))]
    names = ("auroc", "difference", "difference_interval")
    controls = {name: dict(zip(names, (auroc, 0.97 - auroc, known), strict=True)) for name, auroc, known in made}
    said = _best_control(controls)["AUROC, best control"]
    assert said == "0.9500 (trees). The model is not shown to beat every control. Not clearly beaten: forest, 0.9400."
    controls["forest"]["difference_interval"] = (0.01, 0.08)
    assert _best_control(controls)["AUROC, best control"] == "0.9500 (trees). The model beats every control."
