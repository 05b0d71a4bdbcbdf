"""--controls all: the same job trained without edges and with rewired ones, beside the cheap controls."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from applications.__main__ import main
from applications.verify import verify_run
from credit_like.evaluation import CONTROLS, RETRAINED, read_scores
from credit_like.training import read_checkpoint, write_checkpoint

Output = pytest.CaptureFixture[str]


def test_the_model_is_retrained_once_and_shown_beside_the_others(
    finished: Path, run_folder: Path, capsys: Output
) -> None:
    assert main(["evaluate", str(run_folder), "--controls", "all"]) == 0
    scores, metrics = read_scores(run_folder / "scores.parquet"), json.loads((run_folder / "metrics.json").read_text())
    assert set(scores.controls) == set(CONTROLS) | set(RETRAINED) == set(metrics["overall"]["controls"])
    for name in RETRAINED:
        assert metrics["overall"]["controls"][name]["auroc"] is not None
        assert scores.frame[f"control/{name}"].to_list() != scores.frame["score"].to_list()
    own = read_checkpoint(run_folder / "best_checkpoint.pt")["model"]
    for folder in ("no_edges", "rewired_edges"):
        control = read_checkpoint(run_folder / "controls" / folder / "best_checkpoint.pt")["model"]
        assert control.keys() == own.keys()
        assert (control["vocabulary.keys"] == own["vocabulary.keys"]).all()
    report = (run_folder / "report.html").read_text()
    assert all(f">{name}<" in report for name in RETRAINED)
    assert scores.frame.drop([f"control/{name}" for name in RETRAINED]).equals(
        read_scores(finished / "scores.parquet").frame
    )

    (controls,) = verify_run(run_folder, only=["controls"], sample=5)
    assert controls.holds, controls.problems
    assert controls.compared.count("model with") == len(RETRAINED)

    capsys.readouterr()
    assert main(["evaluate", str(run_folder), "--controls", "all"]) == 0
    assert "train_loss" not in capsys.readouterr().out  # nothing is trained a second time
    assert json.loads((run_folder / "metrics.json").read_text()) == metrics

    best = run_folder / "controls" / "rewired_edges" / "best_checkpoint.pt"
    state = read_checkpoint(best)
    state["ema"]["shadow"]["network.fc_layers.1.bias"] += torch.tensor([0.0, 0.5])
    write_checkpoint(best, state)
    (controls,) = verify_run(run_folder, only=["controls"], sample=5)
    assert all(problem.startswith("control/model with rewired edges is") for problem in controls.problems)
    assert controls.problems


def test_they_are_left_out_unless_asked_for(finished: Path) -> None:
    assert set(read_scores(finished / "scores.parquet").controls) == set(CONTROLS)
    assert not (finished / "controls").exists()


def test_a_choice_that_does_not_exist(finished: Path, capsys: Output) -> None:
    assert main(["evaluate", str(finished), "--controls", "some"]) == 2
    assert "invalid choice: 'some'" in capsys.readouterr().err
