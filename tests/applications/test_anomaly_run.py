"""A run of the anomaly detector: what its averaged and raw weights reach, and a head that is not theirs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_model

from applications.__main__ import main
from applications._data import load_data
from applications._run import open_run
from applications._scoring import restored_trainer
from credit_like.evaluation import read_scores, write_scores
from credit_like.graphs import PackedLoader
from credit_like.graphs.plan import TRAIN
from credit_like.training import load_weights, read_checkpoint, write_checkpoint

Output = pytest.CaptureFixture[str]


def test_raw_weights_are_judged_with_a_head_of_their_own(anomaly: Path) -> None:
    run = open_run(anomaly)
    data, trainer = load_data(run.job.data), restored_trainer(run)
    assert load_weights(anomaly / "best_checkpoint.pt", trainer.model, which="raw")["validated"] == "ema"
    benign = PackedLoader(data.store, data.windows(TRAIN, label=0), 64)
    trainer.fit_head(benign, benign)  # p-values have no part in the score
    expected = torch.cat(trainer.predict_on(PackedLoader(data.store, data.scored, 64))).numpy()
    frame = read_scores(anomaly / "scores.parquet").frame
    np.testing.assert_allclose(frame["raw_score"], expected, rtol=1e-3)
    assert not np.allclose(frame["score"], frame["raw_score"], rtol=0.01)
    metrics = json.loads((anomaly / "metrics.json").read_text())
    assert metrics["raw_weights"]["overall"]["auroc"] > 0.5
    assert "its raw weights" in (anomaly / "model_card.md").read_text()


def test_verify_holds_an_anomaly_run_against_its_logs(anomaly: Path, capsys: Output) -> None:
    """Its raw weights too, with the head that is fitted to them."""
    assert main(["verify", str(anomaly), "--sample", "10"]) == 0
    assert "\nok    raw scores " in capsys.readouterr().out


def test_verify_finds_raw_scores_that_were_touched(anomaly: Path, tmp_path: Path, capsys: Output) -> None:
    copy = shutil.copytree(anomaly, tmp_path / "copy")
    scores = read_scores(copy / "scores.parquet")
    touched = scores.frame.with_columns(raw_score=scores.frame["raw_score"] * 1.1)
    write_scores(copy / "scores.parquet", touched, scores.intervals)
    assert main(["verify", str(copy), "--sample", "10", "--only", "raw scores"]) == 1
    assert "raw_score is" in capsys.readouterr().out


def test_the_averaged_weights_are_what_is_deployed(anomaly: Path) -> None:
    expected, model = (restored_trainer(open_run(anomaly)).model for _ in range(2))
    load_weights(anomaly / "best_checkpoint.pt", expected)
    assert load_model(model, anomaly / "model.safetensors") == (set(), [])
    for name, tensor in expected.state_dict().items():
        assert torch.equal(model.state_dict()[name], tensor), name


def test_its_card_does_not_claim_that_it_learnt_from_attacks(anomaly: Path) -> None:
    """The training part of the logs holds attacks, but none of them was shown to it."""
    card = (anomaly / "model_card.md").read_text()
    trained = json.loads((anomaly / "certificate.json").read_text())["counts"][TRAIN]
    assert trained["attack"] > 0
    assert f"- Trained on {trained['benign']:,} benign windows and on no attack." in card
    assert "attacks seen" not in card


@pytest.mark.parametrize("verb", ["evaluate", "predict"])
def test_a_head_of_other_weights_is_refused(
    verb: str, anomaly: Path, logs: Path, tmp_path: Path, capsys: Output
) -> None:
    copy = shutil.copytree(anomaly, tmp_path / "copy")
    state = read_checkpoint(copy / "best_checkpoint.pt")
    for weights in (state["model"], state["ema"]["shadow"]):
        weights["dgi.weight"] *= 1.5
    (copy / "best_checkpoint.pt").unlink()
    write_checkpoint(copy / "best_checkpoint.pt", {k: v for k, v in state.items() if k != "format_version"})
    drive = sorted((logs / "drives").glob("*.csv"))[0]
    given = [str(drive), "-o", str(tmp_path / "alarms.csv")] if verb == "predict" else []
    assert main([verb, str(copy), *given]) == 1
    told = capsys.readouterr().err
    assert "the one-class head was fitted with other weights than the encoder has now, or never" in told
    assert "train again" in told
    assert not (tmp_path / "alarms.csv").exists()


def test_experts_of_a_fusion_the_wrong_way_round_are_refused(
    anomaly: Path, finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    swapped = [f"experts.gat={anomaly}", f"experts.anomaly={finished}"]
    assert main(["train", "rl_fusion", *swapped, f"save_loc={tmp_path / 'fused'}"]) == 1
    error = capsys.readouterr().err
    assert f"experts.gat is {anomaly}, which learned from benign traffic alone, and experts.anomaly is " in error
    assert "name them the other way round" in error
    assert not (tmp_path / "fused").exists()
