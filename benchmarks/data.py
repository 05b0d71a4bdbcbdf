"""python -m benchmarks.data [--full]: logs to frames to graphs to batches, beside what one would use otherwise.

Every figure is the best of several rounds, peers are timed in turn in the same process, and ratios are of those bests.
Stores of 1 to 10 million frames show how time and memory grow; ``--full`` goes on to 50 million (10 GB of disk, a few
minutes more). Writes benchmarks/results/data.json.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from torch_geometric.data import Data, InMemoryDataset
from torch_geometric.loader import DataLoader

from benchmarks._captures import CAPTURES
from benchmarks._graph_building import numpy_loop, pandas_loop, polars_node_features
from benchmarks._growth import MILLION, growth
from benchmarks._parsing import polars_candump, polars_csv, python_can, write_python_can_csv
from benchmarks._timing import best, machine, table
from credit_like.can import Capture, FrameTable, SourceFile, read_log, simulate, write_candump, write_ctt_csv
from credit_like.graphs import GraphStore, PackedLoader, Segment, SplitPlan, WindowSettings, build_graphs
from credit_like.verification.reference import reference_graph

RESULTS = Path(__file__).parent / "results" / "data.json"
DAGA = "daga_v40/clean/V40_03.can.zip"
WINDOW = 100
BATCH = 256
GRAPHS = 6000
#: Frames of the logs, and of the part of them that python-can is given.
LOGGED, FEW = MILLION, 60_000
GROWTH = (MILLION, 3 * MILLION, 10 * MILLION)

Figures = dict[str, float]


class InMemory(InMemoryDataset):
    """PyG's own packed data set."""

    def __init__(self, graphs: list[Data]) -> None:
        super().__init__()
        self._data, self.slices = self.collate(graphs)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.data", description=(__doc__ or "").partition(": ")[2])
    parser.add_argument("--full", action="store_true", help="also a store of 50 million frames")
    options = parser.parse_args(argv)
    where = machine()
    frames = simulate("sedan", 620, seed=1)[:LOGGED]
    candump, csv = parsing(frames)
    building = graphs_of(frames)
    batches = batches_of(frames)
    daga = zip_to_store()
    report = {
        "machine": where,
        "frames_per_second": {"candump": candump, "csv": csv, "graphs": building},
        "graphs_per_second": batches,
        "ratios": {
            "candump": ratios(candump),
            "csv": ratios(csv),
            "graphs": ratios(building),
            "batches": ratios(batches),
        },
        "daga_zip_to_store_seconds": daga,
        "growth": growth([*GROWTH, *([50 * MILLION] if options.full else [])]),
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(report, indent=2) + "\n")
    print(shown(report))


def parsing(frames: FrameTable) -> tuple[Figures, Figures]:
    """Frames a second out of a candump log and out of a CSV."""
    with tempfile.TemporaryDirectory() as scratch:
        candump, csv, few_candump, few_csv = (Path(scratch) / name for name in ("a.log", "a.csv", "few.log", "few.csv"))
        write_candump(frames, candump)
        write_ctt_csv(frames, csv)
        write_candump(frames[:FEW], few_candump)
        write_python_can_csv(frames[:FEW], few_csv)
        seconds = best(
            4,
            ours_candump=lambda: read_log(candump),
            polars_candump=lambda: polars_candump(candump),
            ours_csv=lambda: read_log(csv),
            polars_csv=lambda: polars_csv(csv),
        )
        slow = best(2, candump=lambda: python_can(few_candump), csv=lambda: python_can(few_csv))
    found: list[Figures] = [
        {
            "ours": round(len(frames) / seconds[f"ours_{name}"]),
            "polars_without_checks": round(len(frames) / seconds[f"polars_{name}"]),
            "python_can": round(FEW / slow[name]),
        }
        for name in ("candump", "csv")
    ]
    return found[0], found[1]


def graphs_of(frames: FrameTable) -> Figures:
    """Frames a second into graphs with all 47 features; what the peers make is in _graph_building.py."""
    frames = frames[: len(frames) // WINDOW * WINDOW]
    starts = np.arange(0, len(frames), WINDOW)
    build_graphs(frames, starts[:1], WINDOW)  # compiles
    seconds = best(
        4,
        ours=lambda: build_graphs(frames, starts, WINDOW),
        polars_node_features=lambda: polars_node_features(frames, WINDOW),
    )
    found = {name: len(frames) / value for name, value in seconds.items()}
    few = starts[:200]
    loops = {
        "numpy_loop": lambda: numpy_loop(frames, few, WINDOW),
        "pandas_loop": lambda: pandas_loop(frames, few[:50], WINDOW),
        "python_loop": lambda: [reference_graph(frames, start, WINDOW) for start in few[:20]],
    }
    for name, windows in (("numpy_loop", 200), ("pandas_loop", 50), ("python_loop", 20)):
        try:
            found[name] = windows * WINDOW / best(2, loop=loops[name])["loop"]
        except ImportError:
            print("pandas is not installed, so its loop is left out")
    return {name: round(value) for name, value in found.items()}


def batches_of(frames: FrameTable) -> Figures:
    """Graphs a second in shuffled batches."""
    with tempfile.TemporaryDirectory() as scratch:
        store = _store(Path(scratch) / "store", [Capture("drive", frames, SourceFile("", "", "", "", len(frames)))])
        indices = np.arange(min(GRAPHS, len(store)))
        graphs = [store.graph(int(i)) for i in indices]
        loaders: dict[str, Iterable[object]] = {
            "ours": PackedLoader(store, indices, BATCH, shuffle=True),
            "pyg_list_of_data": DataLoader(graphs, BATCH, shuffle=True),
            "pyg_in_memory_dataset": DataLoader(InMemory(graphs), BATCH, shuffle=True),
        }
        seconds = best(4, **{name: lambda loader=loader: sum(1 for _ in loader) for name, loader in loaders.items()})
    return {name: round(len(indices) / value) for name, value in seconds.items()}


def zip_to_store() -> float | None:
    """Seconds from the published archive of a real drive (245,144 frames) to a ready store, as the first thing that a
    process does after its imports, the least of three processes; compiled code comes from numba's cache. None where the
    real captures are not at hand."""
    log = CAPTURES / DAGA
    if not log.is_file():
        return None
    command = [sys.executable, "-m", "benchmarks._zip_to_store", str(log), str(WINDOW)]
    return min(float(subprocess.run(command, check=True, capture_output=True).stdout) for _ in range(3))


def _store(folder: Path, captures: list[Capture]) -> GraphStore:
    plan = SplitPlan(tuple(Segment(c.name, "train", 0, len(c.frames)) for c in captures), "groups", ())
    return GraphStore.build(folder, captures, plan, WindowSettings(window=WINDOW), progress=False)


def ratios(figures: Figures) -> Figures:
    """How many times the speed of each peer ours is."""
    return {name: round(figures["ours"] / value, 1) for name, value in figures.items() if name != "ours"}


def shown(report: dict[str, Any]) -> str:
    """The report as text: a line a comparison, then how a store grows."""
    compared = {
        "candump to frames": report["frames_per_second"]["candump"],
        "CSV to frames": report["frames_per_second"]["csv"],
        "frames to graphs": report["frames_per_second"]["graphs"],
        "graphs to batches": report["graphs_per_second"],
    }
    rows = []
    for what, figures in compared.items():
        for number, (peer, value) in enumerate(figures.items()):
            if peer == "ours":
                rows.append((what, f"{value:,}", "", "", ""))
                continue
            own = rows.pop() if number == 1 else ("", "", "", "", "")
            rows.append((own[0], own[1], peer.replace("_", " "), f"{value:,}", f"{figures['ours'] / value:.1f}"))
    lines = [table(("a second", "ours", "peer", "its", "times"), rows), ""]
    if report["daga_zip_to_store_seconds"] is not None:
        lines.append(
            f"a real drive of 245,144 frames, from its zip to a store: {report['daga_zip_to_store_seconds']} s"
        )
    steps = [
        (
            f"{row['million_frames']:g}",
            f"{row['seconds']:.1f}",
            f"{row['seconds'] / row['million_frames']:.2f}",
            f"{row['mb_peak']:.0f}",
        )
        for row in report["growth"]
    ]
    lines.append(table(("million frames", "seconds to a store", "a million", "peak MB"), steps))
    where = report["machine"]
    lines.append(f"{where['cores']} cores, load average {where['load_average_before']} before the start")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
