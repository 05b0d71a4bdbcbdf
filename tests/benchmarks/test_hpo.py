"""What docs/tuning.md says of the pruner is what benchmarks/hpo.py measured with the settings that are shipped."""

from __future__ import annotations

import json
from pathlib import Path

from applications._job import load_job
from benchmarks import hpo


def test_the_figures_are_of_the_shipped_pruner_and_stand_on_the_page() -> None:
    report = json.loads(hpo.RESULTS.read_text())
    shipped = load_job("gat")[0].hpo
    assert (report["pruner"], report["pruner_options"], report["trials"]) == (
        shipped.pruner,
        shipped.pruner_options,
        shipped.trials,
    )
    assert report["epochs_saved"] >= report["target"]
    assert report["worse_by"] <= report["noise"]
    saved = sorted(search["epochs_saved"] for search in report["searches"])
    page = (Path(__file__).parents[2] / "docs" / "tuning.md").read_text()
    assert f"saves {report['epochs_saved']:.0%} of the epochs of {report['trials']} trials" in page
    assert f"({saved[0]:.0%} to {saved[-1]:.0%} in three searches)" in page
    assert f"standard deviation\nof {report['noise']:.3f}" in page
    assert hpo.shown(report).endswith(f"{report['noise']:.4f}")
