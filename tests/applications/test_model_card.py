"""The model card and the weights beside a judged run: true to its files, and of use without this program."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_model

from applications.__main__ import main
from applications._data import load_data
from applications._licence import stated_licences
from applications._run import open_run
from applications._scoring import restored_trainer, window_scores
from credit_like.evaluation import read_scores
from credit_like.graphs import PackedLoader
from credit_like.training import load_weights


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_weights_come_back_bit_for_bit(finished: Path) -> None:
    expected, model = (restored_trainer(open_run(finished)).model for _ in range(2))
    state = load_weights(finished / "best_checkpoint.pt", expected)
    assert load_model(model, finished / "model.safetensors") == (set(), [])
    assert state["validated"] == "ema"
    for name, tensor in expected.state_dict().items():
        assert torch.equal(model.state_dict()[name], tensor), name
    raw = state["model"]["network.fc_layers.0.weight"]
    assert not torch.equal(model.state_dict()["network.fc_layers.0.weight"], raw)


def test_the_weights_say_what_they_are(finished: Path) -> None:
    certificate = json.loads((finished / "certificate.json").read_text())
    with safe_open(finished / "model.safetensors", "pt") as file:
        said = file.metadata()
    assert said["checkpoint_sha256"] == sha256(finished / "best_checkpoint.pt")
    assert (said["weights"], said["trainer"]) == ("averaged", "gat")
    assert said["certificate_digest"] == certificate["digest"]


def test_whoever_may_read_the_report_may_read_the_weights(finished: Path) -> None:
    assert (finished / "model.safetensors").stat().st_mode == (finished / "report.html").stat().st_mode


def test_the_card_says_what_the_run_s_files_say(finished: Path) -> None:
    card = (finished / "model_card.md").read_text()
    certificate = json.loads((finished / "certificate.json").read_text())
    metrics = json.loads((finished / "metrics.json").read_text())
    for file in certificate["files"]:
        assert f"| {file['capture']} | {file['vehicle'] or 'not named'} |" in card
        assert f"`{file['sha256']}` |" in card
    assert certificate["digest"] in card
    assert sha256(finished / "best_checkpoint.pt") in card
    windows = metrics["overall"]["windows"]
    assert f"| test | AUROC | {windows['auroc']:.4f} |" in card
    assert windows["no_interval"] in card
    raw = {"its raw weights": metrics["raw_weights"]["overall"]}
    for name, figures in (metrics["overall"]["controls"] | raw).items():
        assert f"| {name} | {figures['auroc']:.4f} |  | {figures['f1']:.4f} | {figures['difference']:+.4f} |" in card
    for name, part in metrics["overall"]["families"].items():
        assert f"| {part['events']['found']} of {part['events']['events']} |" in card
        missed = part["events"]["events"] - part["events"]["found"]
        assert (f"{missed} attack(s) of the kind {name}" in card) == (missed > 0)
    assert f"{metrics['calibration']['threshold']:.6g}" in card


def test_another_evaluation_replaces_them(run_folder: Path) -> None:
    before = (run_folder / "model_card.md").read_text()
    (run_folder / "model.safetensors").write_bytes(b"old")
    assert main(["evaluate", str(run_folder), "evaluation.target_fpr=0.2"]) == 0
    assert (run_folder / "model_card.md").read_text() != before
    assert (run_folder / "model.safetensors").stat().st_size > 1000


def test_raw_weights_are_scored_beside_the_averaged_ones(finished: Path) -> None:
    frame = read_scores(finished / "scores.parquet").frame
    run = open_run(finished)
    data, trainer = load_data(run.job.data), restored_trainer(run)
    load_weights(finished / "best_checkpoint.pt", trainer.model, which="raw")
    outputs = trainer.predict_on(PackedLoader(data.store, data.scored, batch_size=64))
    np.testing.assert_allclose(frame["raw_score"], torch.cat(outputs).numpy(), atol=1e-5)
    averaged, _ = window_scores(trainer, data.store, data.scored, 64)
    np.testing.assert_allclose(frame["score"], averaged, atol=1e-5)
    assert not np.allclose(frame["score"], frame["raw_score"], atol=1e-4)


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        ("README.md", "# Logs\n\nLicence: MIT (here),\nwith notice.\n\nMore.\n", "MIT (here), with notice."),
        ("readme.txt", "**License:** CC-BY 4.0\nChange made: names removed.\n", "CC-BY 4.0"),
        ("README", "No word of it.\nThe licence is unclear.\n", ""),
        ("LICENSE", "\n    # MIT License\n\nCopyright\n", "MIT License"),
        ("COPYING.txt", "GNU GENERAL PUBLIC LICENSE\n Version 3\n", "GNU GENERAL PUBLIC LICENSE"),
        ("metadata.json", '{"License": "CC0-1.0"}', "CC0-1.0"),
        ("broken.json", '{"License": ', ""),
        ("list.json", '["License"]', ""),
        ("notes.md", "Licence: of something else\n", ""),
    ],
)  # fmt: skip
def test_a_licence_is_what_is_stated_beside_the_logs(name: str, content: str, text: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content)
    (tmp_path / "drive.log").write_text("")
    for path in (tmp_path, tmp_path / "drive.log"):
        assert [(found.text, found.source) for found in stated_licences(path)] == ([(text, name)] if text else [])


def test_without_a_stated_licence_the_card_says_so(finished: Path) -> None:
    assert "Licence of the data: none is stated beside the logs." in (finished / "model_card.md").read_text()
