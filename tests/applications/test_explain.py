"""credit-like explain, and the explanations that an evaluation leaves in the run folder."""

from __future__ import annotations

import json
import re
from pathlib import Path

import polars as pl
import pytest

from applications.__main__ import main
from applications.explain import is_explanation
from credit_like.evaluation import read_scores

Output = pytest.CaptureFixture[str]


def test_an_evaluation_explains_its_top_alarms(finished: Path) -> None:
    found = json.loads((finished / "explanations.json").read_text())["explanations"]
    scores = read_scores(finished / "scores.parquet").frame
    threshold = json.loads((finished / "metrics.json").read_text())["calibration"]["threshold"]
    assert found
    for entry in found:
        row = scores.filter(
            pl.col("capture") == entry["capture"],
            pl.col("row_start") == entry["row_start"],
            pl.col("split") == entry["split"],
        )
        assert row["score"].to_list() == pytest.approx([entry["score"]], abs=1e-5)
        assert entry["score"] > threshold - 1e-5
        assert entry["fidelity"]["draws"] == 20
    assert '<section id="explanations"' in (finished / "report.html").read_text()


def test_any_window_can_be_explained(finished: Path, tmp_path: Path, capsys: Output) -> None:
    row = read_scores(finished / "scores.parquet").frame.sort("score").row(-1, named=True)
    time, output = (row["t_start"] + row["t_end"]) / 2, tmp_path / "why.json"
    argv = ["explain", str(finished), "--capture", row["capture"], "--time", repr(time), "-o", str(output)]
    output.write_text('{"schema_version": 1, "explanations": []}')  # an earlier one, which is replaced
    assert main(argv) == 0
    assert is_explanation(output)
    entry = json.loads(output.read_text())["explanations"][0]
    assert (entry["capture"], entry["row_start"], entry["split"]) == (row["capture"], row["row_start"], row["split"])
    assert entry["score"] == pytest.approx(row["score"], abs=1e-5)
    assert any(abs(frame["t"] - time) < 0.05 for frame in entry["frames"])
    shown = capsys.readouterr().out
    assert f"{row['capture']}, bus 0, {row['t_start']:.3f} to {row['t_end']:.3f} s ({row['split']}): score " in shown
    assert re.search(r"^0x[0-9A-F]+ +\d+ +[\d.e-]+ +[+-][\d.]+ +\d+ of \d+$", shown, re.MULTILINE)
    assert re.search(r"^0x[0-9A-F]+ > 0x[0-9A-F]+ +\d+ +[\d.e-]+ +[+-][\d.]+$", shown, re.MULTILINE)
    attacks = [frame["attack"] for frame in entry["frames"]]
    assert any(attacks)  # the window that scores highest
    assert len(re.findall(r"^ +[\d.]+  attack 0x", shown, re.MULTILINE)) == sum(attacks)
    assert f"{entry['ids'][0]['attack_frames']} of {entry['ids'][0]['frames']}\n" in shown
    assert re.search(r"Without the first 3 ids of the list the score changes by .[\d.]+ log-odds, without", shown)
    assert f"\n{len(entry['ids'])} of {entry['ids_in_window']} ids of the window\n" in shown
    assert entry["ids"][0]["id"] in shown


def test_what_a_gat_attends_to_is_shown_on_request(
    finished: Path, anomaly: Path, tmp_path: Path, capsys: Output
) -> None:
    row = read_scores(finished / "scores.parquet").frame.row(0, named=True)
    argv = ["--capture", row["capture"], "--time", repr(row["t_start"]), "-o", str(tmp_path / "why.json")]
    assert main(["explain", str(finished), *argv, "--attention"]) == 0
    shown = capsys.readouterr().out
    assert re.search(r"^without the id .* attention$", shown, re.MULTILINE)
    assert re.search(r"^0x[0-9A-F]+ > 0x[0-9A-F]+ +\d+ +[\d.e-]+ +[+-][\d.]+ +[01]\.\d{3}$", shown, re.MULTILINE)
    entry = json.loads((tmp_path / "why.json").read_text())["explanations"][0]
    assert all(0 <= x["attention"] <= 1 for x in [*entry["ids"], *entry["transitions"]])
    assert main(["explain", str(anomaly), *argv, "--attention"]) == 1
    assert "DGIOCGINTrainer, which has no attention_step; a run of gat has one" in capsys.readouterr().err


def test_a_dbc_file_names_what_is_explained(finished: Path, tmp_path: Path, capsys: Output) -> None:
    found = json.loads((finished / "explanations.json").read_text())["explanations"][0]
    known = found["ids"][0]["id"]
    (tmp_path / "car.dbc").write_text(
        f'VERSION ""\nBU_: E\nBO_ {int(known, 16)} Known: 8 E\n SG_ First : 0|8@1+ (1,0) [0|255] "V" E\n'
    )
    argv = ["--capture", found["capture"], "--time", repr(found["frames"][0]["t"]), "--dbc", str(tmp_path / "car.dbc")]
    assert main(["explain", str(finished), *argv]) == 0
    assert f"{known} Known" in capsys.readouterr().out


def test_what_cannot_be_explained_says_why(finished: Path, tmp_path: Path, capsys: Output) -> None:
    capture = read_scores(finished / "scores.parquet").frame["capture"][0]
    for argv, message in {
        ("--capture", capture[:-1], "--time", "0"): f"(did you mean {capture!r}?)",
        ("--capture", capture, "--time", "-5"): f"no window of {capture} is at that time; its windows are from",
        ("--capture", capture, "--time", "0", "--dbc", str(tmp_path / "no.dbc")): "there is no such file",
    }.items():
        assert main(["explain", str(finished), *argv]) == 1
        assert message in capsys.readouterr().err
