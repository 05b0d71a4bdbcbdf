"""credit-like compare: judged runs side by side, on the terminal and as a page; what cannot be compared is named."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from statistics import fmean, stdev

import pytest

from applications.__main__ import main
from applications.compare import is_comparison

Output = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def rival(job: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on the same data as ``finished``, smaller and trained for one epoch."""
    folder = tmp_path_factory.mktemp("runs") / "rival"
    assert main(["train", *job, "model.width=4", "trainer.epochs=1", f"save_loc={folder}"]) == 0
    return folder


def test_two_runs_are_put_side_by_side(finished: Path, rival: Path, tmp_path: Path, capsys: Output) -> None:
    page = tmp_path / "both.html"
    page.write_text("<title>a and b side by side</title>")  # an earlier comparison, which is replaced
    assert main(["compare", str(finished), str(rival), "-o", str(page)]) == 0
    assert is_comparison(page)
    assert not is_comparison(finished / "report.html")
    shown = capsys.readouterr().out
    for folder in (finished, rival):
        windows = json.loads((folder / "metrics.json").read_text())["overall"]["windows"]
        assert f"{windows['auroc']:.4f}" in shown
        assert f"{windows['recall']:.4f}" in shown
    assert "were tested on the same" in shown
    assert "AUROC" in shown
    assert f"report: {page}\n" in shown
    text = page.read_text()
    assert ">AUROC, raw weights<" in text
    for folder in (finished, rival):
        raw = json.loads((folder / "metrics.json").read_text())["raw_weights"]["overall"]
        assert f'data-value="{raw["auroc"]!r}"' in text
    assert "<code>model.width</code>" in text
    assert "<code>save_loc</code>" not in text


def test_runs_of_other_seeds_are_summed_up(rival: Path, job: list[str], tmp_path: Path, capsys: Output) -> None:
    other = tmp_path / "other"
    assert main(["train", *job, "model.width=4", "trainer.epochs=1", "trainer.seed=7", f"save_loc={other}"]) == 0
    capsys.readouterr()
    assert main(["compare", str(rival), str(other), "-o", str(tmp_path / "both.html")]) == 0
    aurocs = [json.loads((x / "metrics.json").read_text())["overall"]["windows"]["auroc"] for x in (rival, other)]
    shown = " ".join(capsys.readouterr().out.split())
    assert f"which differ in nothing else: AUROC {fmean(aurocs):.4f} \u00b1 {stdev(aurocs):.4f}," in shown


def test_runs_of_one_name_are_told_apart_by_their_folders(finished: Path, rival: Path, tmp_path: Path) -> None:
    for parent, run in (("a", finished), ("b", rival)):
        shutil.copytree(run, tmp_path / parent / "run")
    assert main(["compare", *(str(tmp_path / x / "run") for x in "ab"), "-o", str(tmp_path / "page.html")]) == 0
    text = (tmp_path / "page.html").read_text()
    assert '<a href="a/run/report.html">a/run</a>' in text
    assert '<a href="b/run/report.html">b/run</a>' in text


def test_a_run_that_cannot_be_compared_is_named(
    finished: Path, rival: Path, run_folder: Path, tmp_path: Path, capsys: Output
) -> None:
    certificate = json.loads((run_folder / "certificate.json").read_text())
    certificate["rows"]["embargo"] += 1
    (run_folder / "certificate.json").write_text(json.dumps(certificate))
    assert main(["compare", str(finished), str(rival), str(run_folder), "-o", str(tmp_path / "page.html")]) == 0
    reason = "the digest does not match the content: the certificate was changed after it was issued"
    assert f"not compared: run: {reason}" in capsys.readouterr().out
    assert main(["compare", str(finished), str(run_folder), "-o", str(tmp_path / "none.html")]) == 1
    assert f"error: no two of these runs can be compared:\n  run: {reason}\n" in capsys.readouterr().err
    assert not (tmp_path / "none.html").exists()


def test_what_is_no_comparison_says_why(finished: Path, run_folder: Path, tmp_path: Path, capsys: Output) -> None:
    assert main(["compare", str(finished), str(run_folder), "-o", str(tmp_path / "page.pdf")]) == 2
    assert "--output must end in .html; got " in capsys.readouterr().err
    assert main(["compare", str(finished)]) == 2
    assert capsys.readouterr().err == (
        "error: a comparison takes two runs or more: `credit-like compare RUN RUN ...`\n"
    )
    assert main(["compare", str(finished), str(finished)]) == 2
    assert f"{finished} is named twice; a run is not compared with itself" in capsys.readouterr().err
    assert main(["compare", str(finished), str(tmp_path)]) == 1
    assert f"{tmp_path} is not a run folder (no config.yml)" in capsys.readouterr().err
    (run_folder / "metrics.json").unlink()
    assert main(["compare", str(finished), str(run_folder)]) == 1
    assert f"{run_folder / 'metrics.json'} is missing" in capsys.readouterr().err
