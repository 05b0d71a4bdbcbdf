"""The realism page: its tables are those of the measured figures, and these are of the simulator as it is."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
import pytest

from benchmarks._realism_page import tables_of, with_tables
from benchmarks._traffic import FEATURES, capture_figures, window_features
from benchmarks.realism import DRIVES, PAGE, RESULTS, SECONDS, distances, rounded, same_vehicles
from credit_like.can import VEHICLES, FrameTable, simulate

AGAIN = "run `python -m benchmarks.realism` where the real captures are, and commit what it writes"


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    return json.loads(RESULTS.read_text("utf-8"))


def test_the_tables_of_the_page_are_the_measured_figures(report: dict[str, Any]) -> None:
    page = PAGE.read_text("utf-8")
    assert sorted(re.findall(r"<!-- table: (\w+) -->", page)) == sorted(tables_of(report))
    assert with_tables(page, report) == page, AGAIN
    prose = re.sub(r"<!-- table.*?<!-- end -->", "", page, flags=re.DOTALL)
    assert not re.findall(r"\d\.\d|\d ?%", prose), (
        "a measured figure outside of the tables would not be kept up to date"
    )


@pytest.mark.parametrize("vehicle", VEHICLES)
def test_the_figures_are_of_the_simulator_as_it_is(report: dict[str, Any], vehicle: str) -> None:
    now = rounded(capture_figures(simulate(vehicle, SECONDS, 0), VEHICLES[vehicle].bitrate))
    assert report["traffic"][f"simulated {vehicle}"] == pytest.approx(now, rel=0.02), AGAIN


def test_what_the_page_says_in_words_holds(report: dict[str, Any]) -> None:
    real = [row for name, row in report["traffic"].items() if not name.startswith("simulated")]
    for vehicle in ("sedan", "van"):
        for figure, value in report["traffic"][f"simulated {vehicle}"].items():
            known = [row[figure] for row in real]
            if figure not in ("seconds", "back to back", "shorter than the frame"):
                assert 0.95 * min(known) <= value <= 1.05 * max(known), (vehicle, figure)
    distance = report["distance"]
    farthest = max(value for name, value in distance.items() if not name.startswith("simulated"))
    assert max(distance["simulated sedan"], distance["simulated van"]) < farthest < distance["simulated truck"]
    ideal, erring = report["auroc"]["ideal logger"], report["auroc"]["loggers that err"]
    assert min(row["same vehicles"] for row in (*ideal.values(), *erring.values())) > 0.98
    assert min(report["yardsticks"]["one real car from the others"].values()) > 0.98
    assert ideal["timing"]["new vehicles"] > 0.9
    assert erring["all"]["new vehicles"] < 0.6


def hand_made() -> FrameTable:
    """Two ids in turn every 10 ms, one constant and one that counts in its first byte."""
    n = 100
    payload = np.zeros((n, 8), np.uint8)
    payload[0::2, :2] = (0xFF, 0x01)
    payload[1::2, 0] = np.arange(n // 2)
    return FrameTable.build(
        np.arange(n) * 0.01, np.resize(np.array([0x200, 0x100], np.int32), n), payload, np.full(n, 2, np.uint8)
    )


def test_features_of_a_window_made_by_hand() -> None:
    found = dict(zip(FEATURES, window_features(hand_made(), 500_000), strict=True))
    expected = {
        "frames a second": 100,
        "gap, median": 0.01,
        "longest gap": 0.01,
        "back to back": 0,
        "shorter than the frame": 0,
        "jitter of an id": 0,
        "median period of an id": 0.02,
        "ids": 2,
        "id entropy": 1,
        "share of the busiest id": 0.5,
        "share of ids seen once": 0,
        "same id twice running": 0,
        "mean length": 2,
        "full length": 0,
        "0xFF bytes": 0.25,
        "frames that differ from the id's last": 0.5,
        "bytes that differ in those": 1,
        "constant bytes": 0.75,
        "ids with a counter": 0.5,
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-9)


def test_features_know_no_ids_and_no_clock() -> None:
    frames = hand_made()
    other = FrameTable.build(frames.t + 1e6, frames.id + 0x111, frames.payload, frames.length)
    assert np.allclose(window_features(frames, 500_000)[11:], window_features(other, 500_000)[11:])


def test_a_window_of_one_id_and_of_empty_payloads_has_features() -> None:
    n = 100
    empty = FrameTable.build(
        np.arange(n) * 1e-3, np.full(n, 5, np.int32), np.zeros((n, 8), np.uint8), np.zeros(n, np.uint8)
    )
    assert np.isfinite(window_features(empty, 500_000)).all()
    each = FrameTable.build(empty.t, np.arange(n, dtype=np.int32), empty.payload, empty.length)
    assert np.isfinite(window_features(each, 500_000)).all()


def test_trees_find_what_is_there_and_nothing_else() -> None:
    rng = np.random.default_rng(0)
    negative = [rng.normal(size=(100, 3)) for _ in range(2)]
    assert same_vehicles(negative, [rng.normal(size=(100, 3)) + 4]) > 0.98
    assert 0.3 < same_vehicles(negative, [rng.normal(size=(100, 3))]) < 0.7


def test_distances() -> None:
    cars = {"a": np.zeros((3, 2)), "b": np.full((3, 2), 2.0)}
    found = distances(cars, {"s": np.full((3, 2), 5.0)})
    assert found == {"a": 2, "b": 2, "simulated s": 3}
    assert DRIVES >= 4, "each logger that errs gets a drive"
