"""credit-like demo: the whole way, on simulated drives and on given logs; it replaces nothing but its own."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from applications import demo
from applications.__main__ import main
from applications._data import NothingToLearnError
from credit_like.can import write_simulated_dataset
from credit_like.config import UserError
from credit_like.training import read_checkpoint

#: Of every configuration of a demo.
SMALL = ("trainer.epochs=1", "trainer.use_tensorboard=false", "evaluation.bootstrap_rounds=100")

Output = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """``--quick``, but of seconds, and in an empty working folder."""
    monkeypatch.setattr(demo, "QUICK", demo.Size(drives=5, seconds=20.0, overrides=SMALL))
    monkeypatch.setattr(demo, "ATTACKS", ("dos", "fuzzing"))
    monkeypatch.chdir(tmp_path)


def test_without_data_it_simulates_drives_and_replaces_its_own(tmp_path: Path, capsys: Output) -> None:
    assert main(["demo", "--quick"]) == 0
    shown = capsys.readouterr().out
    for figure in ("window AUROC", "F1, attack class", "recall", "false alarms an hour", "attacks found"):
        assert f"\n  {figure}" in shown
    for report in ("gat/report.html", "dgi_ocgin/report.html", "rl_fusion/report.html", "report.html"):
        assert f"report: runs/demo/{report}" in shown
        assert (tmp_path / "runs" / "demo" / report).is_file()
    for name in ("gat", "dgi_ocgin", "rl_fusion"):  # all of them average, and say whether that helps
        metrics = json.loads((tmp_path / "runs" / "demo" / name / "metrics.json").read_text())
        assert metrics["raw_weights"]["overall"]["auroc"] is not None
    first = read_checkpoint(tmp_path / "runs" / "demo" / "gat" / "best_checkpoint.pt")["model"]
    (tmp_path / "runs" / "demo" / "left_over").touch()
    assert main(["demo", "--quick"]) == 0
    assert not (tmp_path / "runs" / "demo" / "left_over").exists()
    again = read_checkpoint(tmp_path / "runs" / "demo" / "gat" / "best_checkpoint.pt")["model"]
    assert all((first[name] == again[name]).all() for name in first)


def test_on_given_logs_it_leaves_them_alone(logs: Path, tmp_path: Path, capsys: Output) -> None:
    before = {path: path.stat().st_mtime_ns for path in logs.rglob("*")}
    assert main(["demo", str(logs), "--quick", "--out", "runs/mine"]) == 0
    assert "report: runs/mine/report.html" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in logs.rglob("*")} == before


def test_it_never_replaces_what_is_not_its_own(tmp_path: Path, finished: Path, capsys: Output) -> None:
    for name, kept in (("demo", finished), ("demo-logs", None)):
        folder = tmp_path / "runs" / name
        if kept:
            shutil.copytree(kept, folder)
        else:
            shutil.rmtree(tmp_path / "runs")
            folder.mkdir(parents=True)
            (folder / "recorded.log").write_text("(1.0) can0 1A0#00\n")
        before = sorted(path.name for path in folder.iterdir())
        assert main(["demo", "--quick"]) == 1
        assert f"{Path('runs') / name} holds" in capsys.readouterr().err
        assert sorted(path.name for path in folder.iterdir()) == before


def test_the_runs_of_a_folder_called_logs_are_not_the_simulated_logs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_simulated_dataset("logs", drives=4, seconds=20.0, attacks=demo.ATTACKS, progress=False)
    monkeypatch.setattr(demo, "train", lambda job, cls, data: (job.save_loc.mkdir(), 1 / 0))
    assert main(["demo", "logs", "--quick"]) == 1
    assert (tmp_path / "runs" / "demo_logs" / "gat").is_dir()
    assert main(["demo", "--quick"]) == 1
    assert (tmp_path / "runs" / "demo_logs" / "gat").is_dir()


def test_missing_logs_are_named(capsys: Output) -> None:
    assert main(["demo", "no/such/logs", "--quick"]) == 1
    assert "there is no no/such/logs" in capsys.readouterr().err


def test_logs_that_cannot_be_read_leave_no_run_folder(tmp_path: Path, capsys: Output) -> None:
    (tmp_path / "drive.log").write_text("what is this?\n")
    assert main(["demo", "drive.log", "--quick"]) == 1
    assert "drive.log: no log of a known format (its first line is 'what is this?')" in capsys.readouterr().err
    assert not list((tmp_path / "runs").iterdir())


@pytest.mark.parametrize(
    ("error", "code"), [(NothingToLearnError("no attack window to learn from"), 0), (UserError("no space left"), 1)]
)
def test_only_logs_without_windows_to_fuse_leave_the_fusion_out(
    error: UserError, code: int, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    train = demo.train

    def failing(job: Any, cls: Any, **given: Any) -> Any:
        if job.trainer.type == "rl_fusion":
            raise error
        return train(job, cls, **given)

    monkeypatch.setattr(demo, "train", failing)
    assert main(["demo", "--quick"]) == code
    shown = capsys.readouterr()
    assert str(error) in (shown.err if code else shown.out)
    assert ("report: runs/demo/report.html" in shown.out) is (code == 0)


def test_logs_without_attacks_make_the_one_detector_that_needs_none(tmp_path: Path, capsys: Output) -> None:
    write_simulated_dataset("benign", drives=4, seconds=20.0, attack_free=4, progress=False)
    assert main(["demo", "benign", "--quick"]) == 0
    shown = capsys.readouterr().out
    assert "note: no gat: the train split holds no attack window to learn from" in shown
    assert shown.rstrip().endswith("report: runs/demo_benign/dgi_ocgin/report.html")
    assert "== rl_fusion" not in shown
    assert sorted(path.name for path in (tmp_path / "runs" / "demo_benign").iterdir() if path.is_dir()) == ["dgi_ocgin"]


def test_logs_with_nothing_for_any_detector_end_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refusing(job: Any, cls: Any, **given: Any) -> Any:
        raise NothingToLearnError("no benign window")

    monkeypatch.setattr(demo, "train", refusing)
    assert main(["demo", "--quick"]) == 1
    assert not list((tmp_path / "runs").glob("demo/*"))


def test_unlabelled_logs_are_taken_as_benign_on_request(tmp_path: Path, capsys: Output) -> None:
    (tmp_path / "raw").mkdir()
    assert main(["simulate", "--minutes", "1", "-o", "drive.log"]) == 0
    shutil.copy("drive.log", "raw")  # without the labels beside it
    assert main(["demo", "raw", "--quick"]) == 1
    assert "data.split.unlabelled=benign" in capsys.readouterr().err
    assert main(["demo", "raw", "--quick", "--benign"]) == 0
    assert capsys.readouterr().out.rstrip().endswith("report: runs/demo_raw/dgi_ocgin/report.html")
