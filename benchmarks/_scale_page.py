"""The tables of docs/scale.md: what was measured here, what is assumed of GPUs and machines, and what follows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from credit_like.graphs._gather import _SHARE_OF_GPU
from credit_like.graphs.windows import WINDOW_DTYPE

PAGE = Path(__file__).parents[1] / "docs" / "scale.md"
FRAMES, GPUS = (200_000_000, 10_000_000_000), (1, 8, 64)
WINDOW, EPOCHS, TRAINED, SCORED = 100, 12, 0.5, 0.4  # conf/gat.yml

#: Nothing of this could be measured here: name -> (value, unit, where one's own comes from).
ASSUMED: dict[str, tuple[float, str, str]] = {
    "G": (40_000, "windows/s", "training on one GPU; `python -m benchmarks.models --device cuda` prints it"),
    "B": (1_024, "windows", "of a step on one GPU; `loader.batch_size` is B times the GPUs"),
    "N": (10, "GB/s", "summing gradients between GPUs; `python -m benchmarks.scaling` prints it"),
    "L": (50, "us", "latency of one message between machines"),
    "R": (2, "GB/s", "random reads of a machine from the disk with the store"),
    "M": (512, "GB", "memory of a machine, which has 8 GPUs"),
    "V": (80, "GB", "memory of a GPU"),
}
GPUS_A_MACHINE = 8


def constants(folder: Path) -> dict[str, float]:
    """What the benchmarks measured, of ``benchmarks/results``."""
    data, models, scaling = (
        json.loads((folder / f"{name}.json").read_text()) for name in ("data", "models", "scaling")
    )
    largest = data["growth"][-1]
    sizes = scaling["bytes_a_frame"]
    return {
        "log": sizes["log"],
        "parquet": sizes["parquet"],
        "memory": sizes["memory"],
        "store": sizes["store"],
        "read": data["frames_per_second"]["candump"]["ours"],
        "build": largest["million_frames"] * 1e6 / largest["seconds"],
        "gather": data["graphs_per_second"]["ours"],
        "score": models["models"]["gatv2, cat"]["inference_graphs_per_second"]["ours"],
        "train": models["models"]["gatv2, cat"]["training_graphs_per_second"]["ours"],
        "gradients": 4 * scaling["parameters"],
        "checkpoint": scaling["checkpoint_bytes"],
        "process": scaling["process_mb"] * 1e6,
        "word": scaling["all_reduce"]["latency_microseconds"] * 1e-6,
        "sum": scaling["all_reduce"]["megabytes_per_second"] * 1e6,
    }


def data_of(frames: int, c: dict[str, float]) -> dict[str, float]:
    """Bytes and hours of so many frames, before training."""
    return {
        "windows": frames / WINDOW,
        "log": frames * c["log"],
        "parquet": frames * c["parquet"],
        "store": frames * c["store"],
        "memory": frames * c["memory"] + c["process"],
        "read_hours": frames / c["read"] / 3600,
        "build_hours": frames / c["build"] / 3600,
        "score_hours": SCORED * frames / WINDOW / c["score"] / 3600,
    }


def training_of(frames: int, gpus: int, c: dict[str, float]) -> dict[str, Any]:
    """What training on so many frames by so many GPUs takes.

    A step is B / G of work, a sum of the gradients around a ring of the GPUs, and the engine's own message, which
    gloo carries in the seconds of a word that were measured here.
    """
    g, b, n, latency, r, m, v = (value for value, _, _ in ASSUMED.values())
    here = min(gpus, GPUS_A_MACHINE)
    work = b / g
    ring = 2 * (gpus - 1) * (latency * 1e-6 + c["gradients"] / gpus / (n * 1e9))
    told = ring + c["word"] if gpus > 1 else 0.0
    resident = frames * c["store"] <= _SHARE_OF_GPU * v * 1e9
    reading = 0.0 if resident else here * b * WINDOW * c["store"] / (r * 1e9)
    step = max(work + told, reading)
    a_window = WINDOW_DTYPE.itemsize + 5 * 8  # the table, and the loader's indices, sizes, order and borders
    memory = here * (frames * c["memory"] + frames / WINDOW * a_window + c["process"])
    return {
        "memory": memory,
        "fits": memory <= m * 1e9,
        "resident": resident,
        "work": work,
        "told": told,
        "reading": reading,
        "efficiency": work / step,
        "hours": EPOCHS * TRAINED * frames / WINDOW / (b * gpus) * step / 3600,
    }


def tables(folder: Path) -> dict[str, str]:
    """By the name of the table, as docs/scale.md has them."""
    c = constants(folder)
    measured = [
        ("a frame in a text log, in Parquet", f"{c['log']:.0f} B, {c['parquet']:.1f} B", "scaling"),
        ("a frame in memory, in the graph store", f"{c['memory']:.0f} B, {c['store']:.0f} B", "scaling"),
        ("frames read from a text log", f"{c['read'] / 1e6:.1f} million/s", "data"),
        ("frames made a store, by one process", f"{c['build'] / 1e6:.1f} million/s", "data"),
        ("windows gathered into batches", f"{c['gather']:,.0f}/s", "data"),
        ("windows trained on, scored (2 threads)", f"{c['train']:,.0f}/s, {c['score']:,.0f}/s", "models"),
        ("gradients, checkpoint of the GAT", f"{size(c['gradients'])}, {size(c['checkpoint'])}", "scaling"),
        ("a process, its logs left out", size(c["process"]), "scaling"),
        ("gloo within a machine: a word, a long sum", f"{1e6 * c['word']:.0f} us, {size(c['sum'])}/s", "scaling"),
    ]
    assumed = [(name, f"{value:g} {unit}", what) for name, (value, unit, what) in ASSUMED.items()]
    before = {frames: data_of(frames, c) for frames in FRAMES}
    lines = [
        ("windows", *(f"{found['windows']:,.0f}" for found in before.values())),
        ("text logs", *(size(found["log"]) for found in before.values())),
        ("one Parquet file", *(size(found["parquet"]) for found in before.values())),
        ("graph store", *(size(found["store"]) for found in before.values())),
        ("memory of each process that reads them", *(size(found["memory"]) for found in before.values())),
        ("time to read", *(hours(found["read_hours"]) for found in before.values())),
        ("time to build the store, one process", *(hours(found["build_hours"]) for found in before.values())),
        ("time to score validation and test, 2 threads", *(hours(f["score_hours"]) for f in before.values())),
    ]
    trained = [(frames, gpus, training_of(frames, gpus, c)) for frames in FRAMES for gpus in GPUS]
    shared = [
        (
            f"{frames / 1e6:,.0f} million",
            str(gpus),
            size(t["memory"]) + ("" if t["fits"] else " (too much)"),
            "GPU" if t["resident"] else "disk",
            f"{1e3 * t['work']:.1f}",
            f"{1e3 * t['told']:.1f}",
            f"{1e3 * t['reading']:.1f}",
            f"{t['efficiency']:.0%}",
            hours(t["hours"]),
        )
        for frames, gpus, t in trained
    ]
    heads = ("frames", "GPUs", "memory a machine", "store on", "ms work", "ms told", "ms read", "efficiency", "time")
    return {
        "scaling": _scaling(folder),
        "measured": _markdown(("what", "measured", "benchmarks."), measured, 0),
        "assumed": _markdown(("", "assumed", "what it is"), assumed, 0),
        "data": _markdown(("", *(f"{frames / 1e6:,.0f} million frames" for frames in FRAMES)), lines),
        "training": _markdown(heads, shared),
    }


SCALING_HEAD = ("processes, mode", "batch of all", "ms a step", "windows/s", "of so many times one", "of as many apart")


def scaling_rows(report: dict[str, Any]) -> list[tuple[str, ...]]:
    """The cells below ``SCALING_HEAD``, a row a measured way to train."""
    return [
        (
            f"{row['processes']} {row['mode']}",
            f"{row['batch']}",
            f"{row['milliseconds_a_step']:.1f}",
            f"{row['windows_per_second']:,}",
            f"{row['efficiency']:.0%}",
            f"{row['efficiency_of_machine']:.0%}",
        )
        for row in report["training"]
    ]


def _scaling(folder: Path) -> str:
    report = json.loads((folder / "scaling.json").read_text())
    where = report["machine"]
    load = f"{where['cores']} cores, load average {where['load_average_before']} before the start"
    load += (
        ": other work ran beside it, so read rows against each other only." if where["load_average_before"] > 1 else "."
    )
    return f"{_markdown(SCALING_HEAD, scaling_rows(report))}\n\n{load}"


def _markdown(head: tuple[str, ...], rows: Sequence[tuple[str, ...]], numbers: int = 1) -> str:
    """A table whose columns but the first are numbers, or with ``numbers=0`` text."""
    lines = [head, ("---", *(("---:" if numbers else "---"),) * (len(head) - 1)), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def size(count: float) -> str:
    for unit, step in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= step:
            return f"{count / step:.3g} {unit}"
    return f"{count:.0f} B"


def hours(value: float) -> str:
    return f"{60 * value:.1f} min" if value < 1 else f"{value:.1f} h"
