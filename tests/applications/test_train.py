"""credit-like train: what a run leaves behind, what it refuses, and how it goes on."""

from __future__ import annotations

import csv
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

import trainers.gat
from applications.__main__ import main
from applications._job import load_job
from credit_like.evaluation import read_scores
from credit_like.graphs import check_certificate
from credit_like.training import read_checkpoint

Output = pytest.CaptureFixture[str]


def epochs_logged(folder: Path) -> list[int]:
    with open(folder / "training_log.csv") as file:
        return [int(row["epoch"]) for row in csv.DictReader(file)]


def test_a_run_leaves_all_that_is_needed_to_judge_and_to_repeat_it(finished: Path, job: list[str]) -> None:
    there = {path.name for path in finished.iterdir()}
    assert there >= {
        "config.yml",
        "training_log.csv",
        "checkpoint.pt",
        "best_checkpoint.pt",
        "tensorboard",
        "certificate.json",
        "scores.parquet",
        "metrics.json",
        "report.html",
    }
    again, _ = load_job(finished / "config.yml")
    asked, _ = load_job("gat", [*job[1:], f"save_loc={finished}", "trainer.use_tensorboard=true"])
    assert again.model_dump() == asked.model_dump()
    assert epochs_logged(finished) == [0, 1]
    assert check_certificate(json.loads((finished / "certificate.json").read_text())) == []


def test_scores_cover_every_validation_and_test_window(finished: Path) -> None:
    scores = read_scores(finished / "scores.parquet")
    counts = json.loads((finished / "certificate.json").read_text())["counts"]
    counted = dict(scores.frame["split"].value_counts().iter_rows())
    assert counted == {split: entry["windows"] for split, entry in counts.items() if split not in ("train", "fusion")}
    assert set(scores.controls) == {"id look-up", "timing only", "gradient-boosted trees", "isolation forest"}
    assert {interval.family for known in scores.intervals.values() for interval in known} == {
        "dos",
        "fuzzing",
        "suspension",
    }


def test_the_detector_has_learnt_something(finished: Path) -> None:
    metrics = json.loads((finished / "metrics.json").read_text())
    assert metrics["overall"]["families"]["dos"]["windows"]["auroc"] > 0.95


def test_an_existing_run_is_refused_and_left_as_it_is(run_folder: Path, job: list[str], capsys: Output) -> None:
    before = {path: path.stat().st_mtime_ns for path in run_folder.rglob("*")}
    assert main(["train", *job, f"save_loc={run_folder}"]) == 1
    error = capsys.readouterr().err
    assert error == (
        f"error: save_loc {run_folder} holds a run already; go on with --resume, or choose another save_loc\n"
    )
    assert {path: path.stat().st_mtime_ns for path in run_folder.rglob("*")} == before


def test_a_folder_of_other_files_is_refused(tmp_path: Path, job: list[str], capsys: Output) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    for resume in ([], ["--resume"]):
        assert main(["train", *job, f"save_loc={tmp_path}", *resume]) == 1
    error = capsys.readouterr().err
    assert f"save_loc {tmp_path} holds files that are no run of this program; choose another save_loc" in error
    assert f"--resume: there is no run at {tmp_path} (no config.yml); leave --resume out to begin one" in error
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_run_in_two_parts_ends_like_one_in_one(
    finished: Path, job: list[str], tmp_path: Path, capsys: Output
) -> None:
    parts = [*job, f"save_loc={tmp_path / 'parts'}", "trainer.use_tensorboard=true", "--no-evaluate"]
    assert main(["train", *parts, "trainer.num_epoch=1"]) == 0
    assert epochs_logged(tmp_path / "parts") == [0]
    assert not (tmp_path / "parts" / "metrics.json").exists()
    assert main(["train", *parts, "--resume"]) == 0
    assert (tmp_path / "parts" / "training_log.csv").read_text() == (finished / "training_log.csv").read_text()
    whole, resumed = (read_checkpoint(folder / "checkpoint.pt") for folder in (finished, tmp_path / "parts"))
    for part in ("model", "ema"):
        a, b = (state[part]["shadow"] if part == "ema" else state[part] for state in (whole, resumed))
        assert a.keys() == b.keys()
        assert all(torch.equal(a[name], b[name]) for name in a)


def test_resuming_makes_an_earlier_judgement_void(run_folder: Path, job: list[str]) -> None:
    more = [*job, f"save_loc={run_folder}", "trainer.use_tensorboard=true", "trainer.epochs=3"]
    assert main(["train", *more, "--resume", "--no-evaluate"]) == 0
    assert epochs_logged(run_folder) == [0, 1, 2]
    assert not {"metrics.json", "scores.parquet", "report.html"} & {path.name for path in run_folder.iterdir()}


def test_resuming_with_other_settings_is_refused(run_folder: Path, job: list[str], capsys: Output) -> None:
    other = [*job, f"save_loc={run_folder}", "trainer.use_tensorboard=true", "optimizer.lr=0.5", "model.layers=3"]
    assert main(["train", *other, "--resume"]) == 1
    error = capsys.readouterr().err
    assert "was begun with other settings:\n" in error
    assert "  model.layers: begun with 2, now 3\n" in error
    assert "  optimizer.lr: begun with 0.01, now 0.5\n" in error


def test_resuming_on_other_logs_is_refused(
    run_folder: Path, logs: Path, job: list[str], tmp_path: Path, capsys: Output
) -> None:
    fewer = shutil.copytree(logs, tmp_path / "logs")
    config = run_folder / "config.yml"
    config.write_text(config.read_text().replace(str(logs), str(fewer)))
    sorted((fewer / "drives").glob("drive-*"))[-1].unlink()
    assert main(["train", str(config), f"save_loc={run_folder}", "--resume"]) == 1
    assert "the logs, or their split, changed since the run" in capsys.readouterr().err


def test_ctrl_c_says_how_to_go_on(
    job: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(trainers.gat.GATTrainer, "train_one_epoch", interrupted)
        assert main(["train", *job, f"save_loc={tmp_path / 'run'}"]) == 75
    config = tmp_path / "run" / "config.yml"
    assert f"stopped: go on with `credit-like train {config} --resume`\n" in capsys.readouterr().err
    assert main(["train", str(config), "trainer.epochs=1", "--resume", "--no-evaluate"]) == 0
    assert epochs_logged(tmp_path / "run") == [0]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_gpu_that_is_not_there_is_wrong_usage(job: list[str], tmp_path: Path, capsys: Output) -> None:
    assert main(["train", *job, f"save_loc={tmp_path / 'run'}", "trainer.device=cuda"]) == 2
    assert "trainer.device is 'cuda', but torch sees no GPU here" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_run_folder_that_cannot_be_made_is_named(job: list[str], tmp_path: Path, capsys: Output) -> None:
    file = tmp_path / "file"
    file.touch()
    assert main(["train", *job, f"save_loc={file}"]) == 1
    assert main(["train", *job, f"save_loc={file / 'run'}"]) == 1
    error = capsys.readouterr().err
    assert f"save_loc {file} is a file; name a folder" in error
    assert f"save_loc {file / 'run'} cannot be made: Not a directory; choose another save_loc" in error


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write anywhere")
def test_a_read_only_run_folder_is_named(job: list[str], tmp_path: Path, capsys: Output) -> None:
    folder = tmp_path / "run"
    folder.mkdir(mode=0o500)
    assert main(["train", *job, f"save_loc={folder}"]) == 1
    assert f"save_loc {folder} is read-only; choose another save_loc" in capsys.readouterr().err


def test_a_finished_run_is_judged_again_by_a_resume(run_folder: Path, capsys: Output) -> None:
    before = (run_folder / "training_log.csv").read_text()
    config = str(run_folder / "config.yml")
    assert main(["train", config, f"save_loc={run_folder}", "evaluation.target_fpr=0.2", "--resume"]) == 0
    assert (run_folder / "training_log.csv").read_text() == before
    assert json.loads((run_folder / "metrics.json").read_text())["settings"]["target_fpr"] == 0.2


@pytest.mark.parametrize("empty", [False, True], ids=["missing", "empty"])
def test_a_folder_without_logs_begins_no_run(empty: bool, job: list[str], tmp_path: Path, capsys: Output) -> None:
    path = tmp_path / "logs"
    if empty:
        path.mkdir()
    assert main(["train", *job, f"data.path={path}", f"save_loc={tmp_path / 'run'}"]) == 1
    assert str(path) in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_training_without_attacks_is_refused(logs: Path, job: list[str], tmp_path: Path, capsys: Output) -> None:
    benign = tmp_path / "logs"
    benign.mkdir()
    shutil.copy(logs / "drives" / "attack-free-01.csv", benign)
    assert main(["train", *job, f"data.path={benign}", f"save_loc={tmp_path / 'run'}"]) == 1
    assert "the train split holds no attack window to learn from" in capsys.readouterr().err


def test_a_configuration_says_how_logs_are_read(job: list[str], tmp_path: Path, capsys: Output) -> None:
    log = tmp_path / "still.log"
    log.write_text("(5.000000) can0 123#00\n" * 3000 + "what\n" * 10)
    changes = [f"data.path={log}", "data.split.unlabelled=benign"]
    assert main(["prepare", *job, *changes]) == 1
    assert "allow more with --max-bad-lines or data.max_bad_lines" in capsys.readouterr().err
    assert main(["prepare", *job, *changes, "data.max_bad_lines=0.01", "data.assume_rate=100"]) == 0
    assert "the log has no clock; 100 frames a second are assumed" in capsys.readouterr().out
    assert main(["prepare", *job, *changes, "data.format=cadump"]) == 2
    assert "data.format=cadump: no reader is named 'cadump' (did you mean 'candump'?)" in capsys.readouterr().err


def test_prepare_shows_the_splits_and_certifies_them(job: list[str], capsys: Output) -> None:
    assert main(["prepare", *job]) == 0
    output = capsys.readouterr().out
    for split in ("train", "fusion", "validation", "test"):
        assert f"\n  {split}" in output
    path = output.rpartition("certificate: ")[2].strip()
    assert check_certificate(json.loads(Path(path).read_text())) == []
    assert main(["prepare", *job, "data.window.window=60"]) == 0
