"""python -m benchmarks.data: frames to graphs and graphs to batches, side by side with what one would use otherwise.

Every figure is the best of several rounds, peers are timed in turn in the same process, and ratios are of those bests.
Writes benchmarks/results/data.json.
"""

from __future__ import annotations

import json
import os
import platform
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import polars as pl
import torch
from torch_geometric.data import Data, InMemoryDataset
from torch_geometric.loader import DataLoader

from credit_like.can import Capture, FrameTable, SourceFile, read_log
from credit_like.can.simulator import simulate
from credit_like.graphs import GraphStore, PackedLoader, Segment, SplitPlan, WindowSettings, build_graphs
from tests.graphs.reference import reference_graph

RESULTS = Path(__file__).parent / "results" / "data.json"
DAGA = "daga_v40/clean/V40_03.can.zip"
WINDOW = 100
BATCH = 256
GRAPHS = 6000


class InMemory(InMemoryDataset):
    """PyG's own packed data set."""

    def __init__(self, graphs: list[Data]) -> None:
        super().__init__()
        self._data, self.slices = self.collate(graphs)


def main() -> None:
    simulated = simulate("sedan", 600, seed=1)
    frames = simulated[: len(simulated) // WINDOW * WINDOW]
    starts = np.arange(0, len(frames), WINDOW)
    build_graphs(frames, starts[:1], WINDOW)  # compiles
    seconds = best(
        5,
        ours=lambda: build_graphs(frames, starts, WINDOW),
        polars_node_features=lambda: polars_node_features(frames),
    )
    build = {name: len(frames) / value for name, value in seconds.items()}
    few = starts[:20]
    build["python_loop"] = (
        len(few) * WINDOW / best(1, loop=lambda: [reference_graph(frames, s, WINDOW) for s in few])["loop"]
    )

    with tempfile.TemporaryDirectory() as scratch:
        plan = SplitPlan((Segment("drive", "train", 0, len(frames)),), "groups", (("drive",),))
        drive = Capture("drive", frames, SourceFile("", "", "simulated", "", len(frames)))
        folders = (Path(scratch) / str(number) for number in range(3))
        settings = WindowSettings(window=WINDOW)
        stored = best(3, store=lambda: GraphStore.build(next(folders), [drive], plan, settings, progress=False))
        build["store_on_disk"] = len(frames) / stored["store"]
        store = GraphStore.open(Path(scratch) / "0")
        indices = np.arange(min(GRAPHS, len(store)))
        graphs = [store.graph(int(i)) for i in indices]
        loaders: dict[str, Iterable[object]] = {
            "ours": PackedLoader(store, indices, BATCH, shuffle=True),
            "pyg_list_of_data": DataLoader(graphs, BATCH, shuffle=True),
            "pyg_in_memory_dataset": DataLoader(InMemory(graphs), BATCH, shuffle=True),
        }
        seconds = best(5, **{name: lambda loader=loader: sum(1 for _ in loader) for name, loader in loaders.items()})
    load = {name: len(indices) / value for name, value in seconds.items()}

    report = {
        "machine": {"processor": platform.machine(), "cores": os.cpu_count(), "torch_threads": torch.get_num_threads()},
        "frames_per_second": {name: round(value) for name, value in build.items()},
        "graphs_per_second": {name: round(value) for name, value in load.items()},
        "ratios": {
            "build_to_polars_node_features": round(build["ours"] / build["polars_node_features"], 1),
            "build_to_python_loop": round(build["ours"] / build["python_loop"], 1),
            "batches_to_pyg_list_of_data": round(load["ours"] / load["pyg_list_of_data"], 1),
            "batches_to_pyg_in_memory_dataset": round(load["ours"] / load["pyg_in_memory_dataset"], 1),
        },
        "daga_zip_to_store_seconds": zip_to_store(),
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report, indent=2))


def best(rounds: int, **actions: Callable[[], object]) -> dict[str, float]:
    """Least seconds of each action; the actions take turns."""
    least = dict.fromkeys(actions, float("inf"))
    for _ in range(rounds):
        for name, action in actions.items():
            started = time.perf_counter()
            action()
            least[name] = min(least[name], time.perf_counter() - started)
    return least


def polars_node_features(frames: FrameTable) -> pl.DataFrame:
    """31 of the 36 node features as one group-by: no entropy, clustering, degrees, and moments of short payloads."""
    n = len(frames)
    table = pl.DataFrame(
        {
            "window": np.arange(n, dtype=np.int32) // WINDOW,
            "late": (np.arange(n) % WINDOW >= WINDOW // 2),
            "id": frames.id,
            "t": frames.t,
            "length": frames.length,
            **{f"b{k}": frames.payload[:, k] for k in range(8)},
            "word": frames.payload.view(np.uint64)[:, 0],
        }
    )
    byte = pl.col([f"b{k}" for k in range(8)]).cast(pl.Float64)
    gap = pl.col("t").diff()
    return table.group_by("window", "id").agg(
        byte.mean().name.suffix("_mean"),
        byte.std(ddof=0).name.suffix("_std"),
        (byte.max() - byte.min()).name.suffix("_range"),
        byte.skew().name.suffix("_skew"),
        byte.kurtosis().name.suffix("_kurtosis"),
        pl.len().alias("count"),
        pl.col("late").mean(),
        (pl.col("word").diff() != 0).mean().alias("change_rate"),
        gap.mean().alias("gap_mean"),
        gap.std(ddof=0).alias("gap_std"),
        pl.col("length").mean(),
    )


def zip_to_store() -> float | None:
    """Seconds from the published archive of a real drive (245,144 frames) to a ready store, without imports; None
    where the real captures are not at hand."""
    log = Path(os.environ.get("CREDIT_LIKE_DATA", Path(__file__).parents[2] / "shared" / "data")) / DAGA
    if not log.is_file():
        return None
    with tempfile.TemporaryDirectory() as scratch:
        started = time.perf_counter()
        captures = read_log(log)
        plan = SplitPlan(tuple(Segment(c.name, "train", 0, len(c.frames)) for c in captures), "groups", ())
        GraphStore.build(Path(scratch) / "store", captures, plan, WindowSettings(window=WINDOW), progress=False)
        return round(time.perf_counter() - started, 2)


if __name__ == "__main__":
    main()
