"""credit-like train rl_fusion: two finished runs are fused, judged and used, or it is said why not."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from applications.__main__ import main
from applications._deployed import FusionDetector
from applications._fusion import EXPERTS, following, open_experts, require_same_experts
from applications._job import load_job
from applications._run import open_run
from applications.verify import claims_of, experts_of, verify_run
from credit_like.can import read_dataset, write_simulated_dataset
from credit_like.config import ConfigError
from credit_like.evaluation import read_scores, write_scores
from credit_like.evaluation.fusion import COMPARED
from credit_like.evaluation.report.fusion import fusion
from credit_like.graphs import GraphStore, check_certificate
from credit_like.training import read_checkpoint, write_checkpoint
from credit_like.training.checkpoint import file_digest
from credit_like.verification.certificate_checks import CertificateChecks
from credit_like.verification.fusion_checks import FusionChecks
from credit_like.verification.graphs_again import GraphsAgain
from tests.applications.conftest import SMALL

Output = pytest.CaptureFixture[str]

#: An agent and a schedule that train in a second; they come after ``rl_fusion`` on the command line.
QUICK = (
    "trainer.epochs=3",
    "trainer.use_tensorboard=false",
    "model.hidden=[16]",
    "loader.batch_size=32",
    "evaluation.bootstrap_rounds=100",
)


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five simulated drives, long enough for attacks in every split."""
    folder = tmp_path_factory.mktemp("logs")
    write_simulated_dataset(
        folder, drives=5, seconds=20, attacks=("dos", "fuzzing", "suspension"), seed=3, progress=False
    )
    return folder


@pytest.fixture(scope="module")
def expert_job(logs: Path, store: Path) -> list[str]:
    """A small detector; all but ``save_loc``."""
    return ["gat", f"data.path={logs}", f"data.store={store}", *SMALL, "trainer.epochs=1"]


@pytest.fixture(scope="module")
def experts(expert_job: list[str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two detectors; that of another seed is in the place of an anomaly expert."""
    folder = tmp_path_factory.mktemp("experts")
    for number, name in enumerate(("gat", "anomaly")):
        argv = [*expert_job, f"save_loc={folder / name}", f"trainer.seed={number}", f"trainer.epochs={3 - 2 * number}"]
        assert main(["train", *argv, "--no-evaluate"]) == 0
    return {name: folder / name for name in ("gat", "anomaly")}


@pytest.fixture(scope="module")
def fusion_job(experts: dict[str, Path]) -> list[str]:
    return ["rl_fusion", *(f"experts.{name}={folder}" for name, folder in experts.items()), *QUICK]


@pytest.fixture(scope="module")
def fused(fusion_job: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a fusion that was trained and judged; only to be read."""
    folder = tmp_path_factory.mktemp("fusions") / "fused"
    assert main(["train", *fusion_job, f"save_loc={folder}"]) == 0
    return folder


def test_a_fusion_leaves_what_every_run_leaves_and_names_its_experts(fused: Path, experts: dict[str, Path]) -> None:
    there = {path.name for path in fused.iterdir()}
    assert there >= {"config.yml", "training_log.csv", "best_checkpoint.pt", "certificate.json", "scores.parquet"}
    assert there >= {"metrics.json", "report.html", EXPERTS}
    run = open_run(fused)
    assert (run.job.experts.gat, run.job.experts.anomaly) == (experts["gat"], experts["anomaly"])
    assert check_certificate(run.certificate) == []
    assert run.certificate == json.loads((experts["gat"] / "certificate.json").read_text())
    facts = json.loads((fused / EXPERTS).read_text())
    assert facts["columns"][:2] == ["anomaly/score", "gat/score"]
    assert len(facts["columns"]) == 10
    assert facts["experts"]["gat"]["trainer"] == "gat"


def test_its_policy_learns_from_no_window_that_an_expert_was_trained_on(fused: Path) -> None:
    certificate = json.loads((fused / "certificate.json").read_text())
    seen = read_checkpoint(fused / "checkpoint.pt")["step_state"]["samples_seen"]
    windows = certificate["counts"]["fusion"]
    usable = windows["attack"] + windows["benign"] - sum(windows["overlapping"].values())
    assert seen == 3 * usable
    assert certificate["disjointness"]["overlapping_rows"] == 0


def test_the_table_of_comparisons_stands_in_the_metrics(fused: Path) -> None:
    metrics = json.loads((fused / "metrics.json").read_text())
    fusion, scores = metrics["fusion"], read_scores(fused / "scores.parquet")
    for part in ("validation", "test"):
        assert list(fusion[part]) == list(COMPARED)
        assert fusion[part]["oracle"]["regret"] == 0
        for name in ("policy", "GAT alone", "anomaly alone", "fixed alpha 0.5", "best fixed alpha"):
            assert fusion[part][name]["regret"] >= 0, name
    windows = metrics["overall"]["windows"]
    assert (sum(fusion["benign_by_alpha"]), sum(fusion["attack_by_alpha"])) == (windows["benign"], windows["attack"])
    assert {"GAT alone", "anomaly alone"} <= set(scores.controls)
    in_use = {"policy": "policy", "gat": "GAT alone", "anomaly": "anomaly alone"}[fusion["rule"]]
    best = max(fusion["validation"][name]["reward"] for name in ("GAT alone", "anomaly alone"))
    assert fusion["validation"][in_use]["reward"] >= best
    assert fusion["test"][in_use]["auroc"] == pytest.approx(windows["auroc"])


def test_the_report_shows_the_table_and_the_alphas(fused: Path) -> None:
    text = (fused / "report.html").read_text()
    assert 'id="fusion"' in text
    for name in COMPARED:
        assert f">{name}<" in text
    assert "Windows by alpha" in text


def test_the_report_says_what_can_be_used_and_what_does_better(fused: Path) -> None:
    metrics = json.loads((fused / "metrics.json").read_text())
    used = {"policy": "policy", "gat": "GAT alone", "anomaly": "anomaly alone"}[metrics["fusion"]["rule"]]
    for name, row in metrics["fusion"]["test"].items():
        row["auroc"] = {used: 0.9, "small MLP": 0.95, "oracle": 0.99}.get(name, 0.8)
    text = re.sub("<[^>]*>", "", fusion(metrics))
    assert "Only the policy and the two experts alone are candidates for use" in text
    assert f"a higher AUROC on test than what is in use ({used}, 0.900): small MLP (0.950)." in text
    metrics["fusion"]["test"]["small MLP"]["auroc"] = 0.8
    assert "a higher AUROC on test" not in fusion(metrics)
    metrics["fusion"]["experts"]["anomaly"] = "dgi_ocgin"
    assert "Its own report ranks by the distance itself" in fusion(metrics)
    curves = re.findall(r'<ul class="legend">(.*?)</ul>', (fused / "report.html").read_text())
    assert any("GAT alone" in curve and "anomaly alone" in curve and "id look-up" in curve for curve in curves)


def test_the_card_names_the_experts_that_the_policy_needs(fused: Path, experts: dict[str, Path]) -> None:
    card = (fused / "model_card.md").read_text()
    for name, folder in experts.items():
        assert f"| {name} | gat | {folder.name} | `{file_digest(folder / 'best_checkpoint.pt')}` |" in card
    counts = json.loads((fused / "certificate.json").read_text())["counts"]
    learnt, first = (
        f"{counts[part]['benign']:,} benign and {counts[part]['attack']:,} attack" for part in ("fusion", "train")
    )
    assert f"- The policy was trained on {learnt} windows, which no expert was trained on" in card
    assert f"its experts on {first} windows at most" in card


def test_a_fusion_is_judged_again_with_the_same_figures(fused: Path, tmp_path: Path, capsys: Output) -> None:
    copy = shutil.copytree(fused, tmp_path / "copy")
    (copy / "metrics.json").unlink()
    assert main(["evaluate", str(copy)]) == 0
    assert json.loads((copy / "metrics.json").read_text()) == json.loads((fused / "metrics.json").read_text())
    assert read_scores(copy / "scores.parquet").frame.equals(read_scores(fused / "scores.parquet").frame)
    shown = capsys.readouterr().out
    assert "mean reward, regret, and F1 above 0.5, not above the run's threshold; in use: " in shown


def test_verify_computes_a_fusion_again_from_its_experts_on(fused: Path, capsys: Output) -> None:
    assert main(["verify", str(fused), "--sample", "8"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].startswith("everything holds (")
    expected = ["experts", "policy", "best epoch", "metrics: fusion"]
    expected += [f"{name}: {part}" for name in ("gat", "anomaly") for part in ("vocabulary", "scaler", "best epoch")]
    for name in expected:
        assert any(line.startswith(f"ok    {name} ") for line in lines), name
    (controls,) = (line for line in lines if line.startswith("ok    controls "))
    assert "GAT alone, anomaly alone, id look-up" in controls


METRICS: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "a reward": (lambda f: f["test"]["policy"].update(reward=9.0), "fusion.test.policy.reward is 9.0"),
    "a rival's figure": (lambda f: f["validation"]["small MLP"].update(auroc=0.1), "fusion.validation.small MLP.auroc"),
    "a row that is gone": (lambda f: f["test"].pop("oracle"), "fusion.test.oracle is missing"),
    "the rule in use": (lambda f: f.update(rule={"gat": "anomaly"}.get(f["rule"], "gat")), "fusion.rule is"),
    "the threshold": (lambda f: f.update(threshold=0.4), "fusion.threshold is 0.4"),
    "what an outcome is worth": (lambda f: f["rewards"].update(false_negative=0.0), "fusion.rewards.false_negative"),
    "the alphas chosen": (lambda f: f["benign_by_alpha"].reverse(), "at another alpha than the policy gives them"),
    "the best fixed alpha": (lambda f: f.update(best_fixed_alpha=0.77), "fusion.best_fixed_alpha is 0.77"),
    "who the experts are": (lambda f: f["experts"].update(gat="oracle"), "fusion.experts.gat is 'oracle'"),
    "something new": (lambda f: f.update(praise=1), "not verified: fusion.praise"),
}


@pytest.mark.slow
def test_a_touched_comparison_is_found(fused: Path, evidence: FusionChecks) -> None:
    for name, (edit, words) in METRICS.items():
        metrics = json.loads((fused / "metrics.json").read_text())
        edit(metrics["fusion"])
        evidence.claims = dataclasses.replace(evidence.claims, metrics=metrics)
        problems = evidence.metrics().problems
        assert len(problems) == 1, name
        assert words in problems[0], name


@pytest.fixture(scope="module")
def evidence(fused: Path) -> FusionChecks:
    """The checks of the fusion beyond those that every run has; what they compute of its logs is computed once."""
    run = open_run(fused)
    detector, claims, dataset = FusionDetector(run), claims_of(run), read_dataset(run.job.data.path)
    logs = CertificateChecks(claims.certificate, claims.data, dataset.captures, dataset.duplicates)
    experts = experts_of(detector)
    return FusionChecks(claims, logs, GraphsAgain(logs), detector, experts)


def test_a_touched_expert_or_policy_is_found(fused: Path, evidence: FusionChecks) -> None:
    assert evidence.certificates()[1] == evidence.policy()[1] == []
    gat = evidence.experts["gat"]
    for edit in ({"embargo": 9.0}, {"vocabulary": {**gat.certificate["vocabulary"], "digest": "0" * 64}}):
        touched = dataclasses.replace(gat, certificate={**gat.certificate, **edit})
        evidence.experts = {**evidence.experts, "gat": touched}
        assert "gat: the digest is not that of its content" in evidence.certificates()[1][0]
    evidence.experts = {**evidence.experts, "gat": gat}
    detector = FusionDetector(open_run(fused))
    for name in ("mean", "scale", "points"):
        detector.buffers[name][0] += 0.1
        evidence.detector = detector
        assert evidence.policy()[1] == [
            f"{name}: 1 of {detector.buffers[name].numel()} values are not those of the fusion windows"
        ]
        detector = FusionDetector(open_run(fused))
    evidence.detector = detector


@pytest.mark.slow
def test_touched_scores_of_a_fusion_are_found(fused: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(fused, tmp_path / "copy")
    scores = read_scores(copy / "scores.parquet")
    for column, check in (("score", "scores"), ("raw_score", "raw scores"), ("control/GAT alone", "controls")):
        write_scores(copy / "scores.parquet", scores.frame.with_columns(pl.col(column) + 0.1), scores.intervals)
        (found,) = verify_run(copy, only=[check], sample=5)
        assert f"{column} is " in found.problems[0]


def test_a_fusion_names_the_runs_that_can_be_explained(
    fused: Path, experts: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["explain", str(fused), "--capture", "any", "--time", "1"]) == 1
    said = f"{fused} mixes the scores of two runs, and sees no ids; explain those: "
    assert capsys.readouterr().err == f"error: {said}{experts['gat']} and {experts['anomaly']}\n"


def test_new_logs_are_scored_by_both_experts_and_the_rule_in_use(fused: Path, logs: Path, tmp_path: Path) -> None:
    drive = sorted((logs / "drives").glob("*.csv"))[0]
    assert main(["predict", str(fused), str(drive), "-o", str(tmp_path / "alarms.parquet")]) == 0
    table, known = pl.read_parquet(tmp_path / "alarms.parquet"), read_scores(fused / "scores.parquet").frame
    same = table.join(known.filter(pl.col("capture").str.ends_with(drive.stem)), on="t_start", suffix="_known")
    if same.height:  # the drive is one of validation or test
        assert np.allclose(same["score"], same["score_known"])
    assert table["score"].is_between(0, 1).all()


def test_a_fusion_in_two_parts_ends_like_one_in_one(fused: Path, fusion_job: list[str], tmp_path: Path) -> None:
    parts = [*fusion_job, f"save_loc={tmp_path / 'parts'}", "--no-evaluate"]
    assert main(["train", *parts, "trainer.num_epoch=1"]) == 0
    assert main(["train", *parts, "--resume"]) == 0
    assert (tmp_path / "parts" / "training_log.csv").read_text() == (fused / "training_log.csv").read_text()


def refused(argv: list[str], tmp_path: Path, capsys: Output) -> str:
    """What is said when a job is refused, before anything is left behind."""
    folder = tmp_path / "refused"
    assert main(["train", *argv, f"save_loc={folder}"]) == 1
    assert not folder.exists()
    return capsys.readouterr().err


def test_experts_of_other_splits_are_refused(
    expert_job: list[str], fusion_job: list[str], tmp_path: Path, capsys: Output
) -> None:
    other = ["data.split.train=0.45", "data.split.fusion=0.15"]
    assert main(["train", *expert_job, *other, f"save_loc={tmp_path / 'other'}", "--no-evaluate"]) == 0
    error = refused([*fusion_job, f"experts.anomaly={tmp_path / 'other'}"], tmp_path, capsys)
    assert "the split certificates of the two experts differ" in error
    assert "  data.split.train: gat 0.5, anomaly 0.45\n  data.split.fusion: gat 0.1, anomaly 0.15\n" in error


def test_experts_with_other_windows_are_refused(
    expert_job: list[str], fusion_job: list[str], tmp_path: Path, capsys: Output
) -> None:
    assert main(
        ["train", *expert_job, "data.window.window=60", f"save_loc={tmp_path / 'o'}", "--no-evaluate"]
    ) == 0  # fmt: skip
    error = refused([*fusion_job, f"experts.anomaly={tmp_path / 'o'}"], tmp_path, capsys)
    assert "  data.window.window: gat 100, anomaly 60\n" in error
    error = refused([*fusion_job, "data.window.window=60"], tmp_path, capsys)
    assert "the fusion must see the windows of its experts, but it is asked for others:\n" in error
    assert "  data.window.window: experts 100, here 60\n" in error


def test_runs_that_cannot_be_experts_are_refused(
    fused: Path, experts: dict[str, Path], fusion_job: list[str], tmp_path: Path, capsys: Output
) -> None:
    missing, finished = tmp_path / "nowhere", experts["gat"]
    assert f"experts.gat: there is no run at {missing}" in refused(
        [*fusion_job, f"experts.gat={missing}"], tmp_path, capsys
    )
    error = refused([*fusion_job, f"experts.anomaly={fused}"], tmp_path, capsys)
    assert f"experts.anomaly: {fused} was trained by 'rl_fusion', which has no expert_outputs" in error
    error = refused([*fusion_job, f"experts.anomaly={finished}"], tmp_path, capsys)
    assert f"experts.gat and experts.anomaly are the same run, {finished}" in error
    copy = shutil.copytree(experts["anomaly"], tmp_path / "untrained")
    (copy / "best_checkpoint.pt").unlink()
    error = refused([*fusion_job, f"experts.anomaly={copy}"], tmp_path, capsys)
    assert f"{copy} has no best_checkpoint.pt" in error


def test_an_expert_whose_outputs_are_no_numbers_is_refused(
    experts: dict[str, Path], fusion_job: list[str], tmp_path: Path, capsys: Output
) -> None:
    broken = shutil.copytree(experts["anomaly"], tmp_path / "broken")
    state = read_checkpoint(broken / "best_checkpoint.pt")
    for part in (state["model"], state["ema"]["shadow"]):
        part["network.fc_layers.1.bias"].fill_(float("nan"))
    (broken / "best_checkpoint.pt").unlink()
    write_checkpoint(broken / "best_checkpoint.pt", {k: v for k, v in state.items() if k != "format_version"})
    error = refused([*fusion_job, f"experts.anomaly={broken}"], tmp_path, capsys)
    assert "the anomaly expert's 'score' is not a finite number for" in error


def test_an_expert_that_was_trained_on_is_not_the_one_that_was_fused(
    fused: Path, experts: dict[str, Path], tmp_path: Path, capsys: Output
) -> None:
    copy, expert = shutil.copytree(fused, tmp_path / "copy"), shutil.copytree(experts["anomaly"], tmp_path / "expert")
    moved = f"experts.anomaly={expert}"
    require_same_experts(copy, open_experts(open_run(copy, overrides=[moved]).job))  # it may lie elsewhere
    state = read_checkpoint(expert / "best_checkpoint.pt")
    (expert / "best_checkpoint.pt").unlink()
    write_checkpoint(expert / "best_checkpoint.pt", {**state, "epoch": 7})
    assert main(["evaluate", str(copy), moved]) == 1
    assert (
        f"{expert / 'best_checkpoint.pt'} has changed since the policy in {copy} was trained" in capsys.readouterr().err
    )


def test_its_data_are_those_of_its_experts_but_for_what_is_said(
    fusion_job: list[str], experts: dict[str, Path]
) -> None:
    gat = open_run(experts["gat"]).job.data
    source, *overrides = fusion_job
    assert load_job(source, overrides)[0].data == gat
    other, _ = load_job(source, [*overrides, "data.path=elsewhere", "data.window.window=60"])
    window = gat.window.model_copy(update={"window": 60})
    assert other.data == gat.model_copy(update={"path": Path("elsewhere"), "window": window})


def test_before_there_are_experts_the_data_are_those_of_the_shipped_gat() -> None:
    fusion, _ = load_job("rl_fusion")
    gat, _ = load_job("gat")
    assert fusion.data == gat.data
    assert fusion.data.split.fusion > 0


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("data=7", "data"),
        ("experts.gat=[1]", "experts.gat"),
        ("experts=3", "experts"),
        ("data.windows=3", "data.windows"),
        ("experts.gat=$NO_SUCH_FOLDER/gat", "NO_SUCH_FOLDER"),
    ],
)
def test_what_is_no_such_section_is_named(override: str, said: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(said)):
        load_job("rl_fusion", [override])


def test_what_follows_is_the_next_window_of_the_same_bus_and_split(experts: dict[str, Path], store: Path) -> None:
    digest = json.loads((experts["gat"] / "certificate.json").read_text())["store"]["digest"]
    stores = [GraphStore.open(path.parent) for path in store.glob("*/manifest.json")]
    opened = next(one for one in stores if one.digest == digest)
    rows = np.flatnonzero(np.arange(len(opened)) % 7 != 3)
    after, table = following(opened, rows), opened.windows
    assert 0 < (after < 0).sum() < len(rows)
    known = np.flatnonzero(after >= 0)
    first, second = rows[known], rows[after[known]]
    for column in (table.capture, table.bus, table.split):
        assert (column[first] == column[second]).all()
    assert (table.t_start[second] >= table.t_stop[first]).all()
