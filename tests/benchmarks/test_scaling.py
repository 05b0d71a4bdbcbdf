"""The scaling benchmark and docs/scale.md: its tables follow from what was measured and what is assumed."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from benchmarks import _scale_page, scaling
from benchmarks._pages import filled
from credit_like.can import write_simulated_dataset

RESULTS = scaling.RESULTS.parent
PAGE = _scale_page.PAGE.read_text()


def test_the_page_is_what_the_results_say() -> None:
    assert filled(PAGE, _scale_page.tables(RESULTS)) == PAGE
    assert set(re.findall(r"<!-- table: (\w+) -->", PAGE)) == set(_scale_page.tables(RESULTS))
    assert len(PAGE.splitlines()) <= 120  # two pages


def test_hours_are_frames_by_speed() -> None:
    """One GPU whose store fits: nothing but epochs x windows / speed."""
    c = _scale_page.constants(RESULTS)
    found = _scale_page.training_of(200_000_000, 1, c)
    assert found["resident"]
    assert found["fits"]
    assert found["hours"] == pytest.approx(12 * 0.5 * 2_000_000 / 40_000 / 3600)
    assert found["memory"] == pytest.approx(200e6 * c["memory"] + 2e6 * (46 + 40) + c["process"])
    many = _scale_page.training_of(10_000_000_000, 64, c)
    assert not many["resident"]
    assert not many["fits"]
    assert many["reading"] > many["work"] + many["told"]
    assert many["reading"] == pytest.approx(8 * 1024 * 100 * c["store"] / 2e9)
    assert many["hours"] == pytest.approx(
        12 * 0.5 * 1e8 / (64 * 1024) * max(many["work"] + many["told"], many["reading"]) / 3600
    )


def test_efficiency_is_a_share_of_one_process_and_of_as_many_apart() -> None:
    def run(processes: int, mode: str, seconds: float) -> dict[str, object]:
        windows = 1000 * (processes if mode == "apart" else 1)
        return {
            "processes": processes,
            "mode": mode,
            "batch": 128,
            "windows": windows,
            "batches": 8,
            "seconds": seconds,
        }

    runs = {"1 none 128": run(1, "none", 1.0), "2 apart 128": run(2, "apart", 1.6), "2 ddp 128": run(2, "ddp", 1.0)}
    alone, apart, ddp = scaling.rows(runs)
    assert (alone["efficiency"], alone["efficiency_of_machine"]) == (1.0, 1.0)
    assert (apart["windows_per_second"], apart["efficiency"], apart["efficiency_of_machine"]) == (1250, 0.625, 1.0)
    assert (ddp["windows_per_second"], ddp["efficiency"], ddp["efficiency_of_machine"]) == (1000, 0.5, 0.8)


def test_the_results_hold_every_mode() -> None:
    report = json.loads(scaling.RESULTS.read_text())
    kinds = {(row["processes"], row["mode"]) for row in report["training"]}
    assert {(1, "none"), (2, "apart"), *((2, mode) for mode in scaling.MODES)} <= kinds
    assert "all-reduce by gloo" in scaling.shown(report)


@pytest.mark.slow
def test_every_kind_of_run_reports(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    write_simulated_dataset(
        logs, drives=5, seconds=14, attacks=("dos", "fuzzing", "suspension"), seed=3, progress=False
    )
    for count, mode in ((1, "none"), (2, "apart"), (2, "ddp"), (2, "fsdp")):
        own = tmp_path / mode
        own.mkdir()
        scaling.launch(count, "benchmarks._shared_training", str(logs), str(own), mode, "64")
        reports = [json.loads(path.read_text()) for path in sorted(own.glob("report_*.json"))]
        assert [len(report["epoch_seconds"]) for report in reports] == [5] * count
        assert {report["processes"] for report in reports} == {count}
    sums = scaling.summed(tmp_path, 2, [4, 1 << 16])
    assert sums["backend"] == "gloo"
    assert sums["latency_microseconds"] > 0
