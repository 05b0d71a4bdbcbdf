"""The data benchmark: peers do the work that they are said to do, and figures come out as a table."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks._graph_building import numpy_loop, pandas_loop, polars_node_features
from benchmarks._growth import build, growth, write_columns
from benchmarks._parsing import polars_candump, polars_csv, python_can, write_python_can_csv
from benchmarks._timing import best, table
from benchmarks._zip_to_store import seconds
from benchmarks.data import RESULTS, ratios, shown
from credit_like.can import FrameTable, read_log, simulate, write_candump, write_ctt_csv
from credit_like.graphs import NODE_FEATURES, GraphStore, build_graphs

WINDOW = 100


@pytest.fixture(scope="module")
def frames() -> FrameTable:
    return simulate("sedan", 2, seed=1)[: 20 * WINDOW]


@pytest.mark.parametrize(("write", "read"), [(write_candump, polars_candump), (write_ctt_csv, polars_csv)])
def test_bare_polars_reads_the_same_frames(frames: FrameTable, tmp_path: Path, write: object, read: object) -> None:
    path = tmp_path / "log"
    write(frames, path)  # type: ignore[operator]
    table, ours = read(path), read_log(path)[0].frames  # type: ignore[operator]
    assert np.allclose(table["t"], ours.t, atol=1e-9)
    assert np.array_equal(table["id"], ours.id)
    assert np.array_equal(table["length"], ours.length)
    assert np.array_equal(table["word"].to_numpy().astype(">u8").view(np.uint8).reshape(-1, 8), ours.payload)


def test_python_can_reads_all_frames(frames: FrameTable, tmp_path: Path) -> None:
    write_candump(frames, tmp_path / "a.log")
    write_python_can_csv(frames, tmp_path / "a.csv")
    assert python_can(tmp_path / "a.log") == python_can(tmp_path / "a.csv") == len(frames)


def test_peers_make_the_features_that_we_make(frames: FrameTable) -> None:
    starts = np.arange(0, len(frames), WINDOW)
    graphs = build_graphs(frames, starts, WINDOW)
    ours = {name: graphs.x[:, k] for k, name in enumerate(NODE_FEATURES)}
    grouped = polars_node_features(frames, WINDOW).sort("window", "id")
    looped = np.concatenate(numpy_loop(frames, starts, WINDOW))
    assert len(grouped) == len(looped) == len(graphs.key)
    for k in range(8):
        assert np.allclose(grouped[f"b{k}_mean"], ours[f"byte{k}_mean"], atol=1e-3)
        assert np.allclose(looped[:, k], ours[f"byte{k}_mean"], atol=1e-3)
        assert np.allclose(looped[:, 8 + k], ours[f"byte{k}_std"], atol=1e-3)
    assert np.allclose(looped[:, 24], ours["message_count"])
    assert np.allclose(looped[:, 25], ours["interarrival_mean"], atol=1e-6)
    assert np.allclose(looped[:, 26], ours["interarrival_std"], atol=1e-6)
    assert np.allclose(looped[:, 27], ours["change_rate"], atol=1e-6)


def test_the_pandas_loop_makes_the_same(frames: FrameTable) -> None:
    pytest.importorskip("pandas", reason="pandas is no dependency")
    starts = np.arange(0, len(frames), WINDOW)[:3]
    for ours, theirs in zip(numpy_loop(frames, starts, WINDOW), pandas_loop(frames, starts, WINDOW), strict=True):
        values = theirs.to_numpy()  # type: ignore[attr-defined]
        assert np.allclose(values[:, :24], ours[:, :24])
        assert np.allclose(values[:, 24], ours[:, 24])


def test_growth_builds_a_store_from_mapped_columns(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_columns(tmp_path, 20_050)
    assert build(tmp_path, 20_050) > 0
    assert float(capsys.readouterr().out) > 50, "MB of this process"
    store = GraphStore.open(tmp_path / "store")
    assert len(store) == 200
    assert (store.windows.t_stop > store.windows.t_start).all()


@pytest.mark.slow
def test_growth_watches_a_store_being_built() -> None:
    (found,) = growth([20_000])
    assert found["million_frames"] == 0.02
    assert found["seconds"] > 0
    assert 50 < found["mb_before"] <= found["mb_peak"]


def test_a_log_becomes_a_store_in_a_process_of_its_own(tmp_path: Path) -> None:
    write_ctt_csv(simulate("sedan", 20, seed=1), tmp_path / "drive.csv")
    assert seconds(tmp_path / "drive.csv", WINDOW) > 0
    assert [file.name for file in tmp_path.iterdir()] == ["drive.csv"]


def test_the_actions_take_turns() -> None:
    seen: list[str] = []
    found = best(2, a=lambda: seen.append("a"), b=lambda: seen.append("b"))
    assert seen == ["a", "b", "a", "b"]
    assert set(found) == {"a", "b"}


def test_a_report_is_shown_as_tables() -> None:
    report = json.loads(RESULTS.read_text())
    text = shown(report)
    assert f"{report['frames_per_second']['graphs']['ours']:,}" in text
    assert "polars node features" in text
    assert all(len(line) < 100 for line in text.splitlines())
    for what, figures in report["frames_per_second"].items():
        assert ratios(figures) == report["ratios"][what]
    assert table(("a", "b"), [("x", "10")]) == "a   b\n-  --\nx  10"
