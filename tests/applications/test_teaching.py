"""What a run learns from earlier ones: only from those of its own split."""

from __future__ import annotations

from pathlib import Path

import pytest

from applications.__main__ import main
from applications._job import load_job
from credit_like.graphs import FeatureScaler, ScalerSettings, Vocabulary
from credit_like.training import read_checkpoint

Output = pytest.CaptureFixture[str]


def test_a_run_takes_a_teacher_and_a_curriculum(job: list[str], finished: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    lessons = [f"trainer.teacher={finished}", f"trainer.curriculum={finished}", "trainer.tau_norm=0.5"]
    assert main(["train", *job, *lessons, f"save_loc={run}"]) == 0
    said = f"It learnt from another run too: imitated `{finished.name}`, took from `{finished.name}` which normal"
    assert said in (run / "model_card.md").read_text()
    plain, taught = (read_checkpoint(folder / "checkpoint.pt") for folder in (finished, run))
    name = "network.fc_layers.0.weight"
    assert (plain["model"][name] != taught["model"][name]).any()
    assert read_checkpoint(run / "best_checkpoint.pt")["tau_norm"] == 0.5


@pytest.mark.parametrize("setting", ["trainer.teacher", "trainer.curriculum"])
def test_a_run_of_another_split_is_refused(
    job: list[str], finished: Path, tmp_path: Path, capsys: Output, setting: str
) -> None:
    other = ["data.split.test=0.3", "data.split.train=0.45"]
    assert main(["train", *job, *other, f"{setting}={finished}", f"save_loc={tmp_path / 'run'}"]) == 1
    assert not (tmp_path / "run").exists()
    error = capsys.readouterr().err
    assert f"{setting} {finished} was trained on another split of the data" in error
    assert "may have seen what this run is tested on" in error


def test_an_anomaly_run_says_which_windows_are_hard_but_has_nothing_to_imitate(
    job: list[str], anomaly: Path, tmp_path: Path, capsys: Output
) -> None:
    run = tmp_path / "run"
    assert main(["train", *job, f"trainer.curriculum={anomaly}", f"save_loc={run}", "--no-evaluate"]) == 0
    assert main(["train", *job, f"trainer.teacher={anomaly}", f"save_loc={tmp_path / 'other'}"]) == 1
    assert f"trainer.teacher {anomaly} was trained by 'dgi_ocgin' on benign windows alone" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


def test_the_shipped_student_is_small_whatever_the_car(job: list[str]) -> None:
    """With a thousand ids, more than any car here has, whose table of ids is most of it."""
    scaler = ScalerSettings()
    sizes = {}
    for name in ("gat", "gat_student"):
        settings, cls = load_job(name)
        model = cls.build_model(settings.model, Vocabulary.empty(1001), FeatureScaler.empty(1001, scaler))
        sizes[name] = sum(p.numel() for p in model.parameters())
        assert (settings.trainer.temperature, settings.trainer.teacher_weight) == (4.0, 0.7)
    assert sizes["gat_student"] < 60_000
    assert sizes["gat_student"] < sizes["gat"]


def test_a_teacher_that_is_not_there_is_named(job: list[str], tmp_path: Path, capsys: Output) -> None:
    missing = tmp_path / "nowhere"
    assert main(["train", *job, f"trainer.teacher={missing}", f"save_loc={tmp_path / 'run'}"]) == 1
    assert f"{missing} is not a run folder" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
