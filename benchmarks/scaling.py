"""python -m benchmarks.scaling: one GAT trained by several processes, and what docs/scale.md needs to go on from there.

Processes that torchrun starts train ``conf/gat.yml`` on a store of simulated drives: together in each mode, with the
same batch in all (so the same result) or the same batch each, and apart, each a run of its own. The last shows what the
machine gives to so many busy processes: where two cores are two threads of one, nothing can double. One thread a
process; GPUs where there are some. All take turns, and of each the fastest epoch of all rounds counts. Then how long
summing gradients takes, and bytes: of a frame in a log, in memory and in a store, and of a checkpoint. Writes
benchmarks/results/scaling.json and the tables of docs/scale.md; five minutes.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

from applications._data import load_data
from applications._job import load_job
from applications.demo import ATTACKS, QUICK
from applications.ingest import main as ingest
from benchmarks._pages import filled
from benchmarks._scale_page import PAGE, SCALING_HEAD, scaling_rows, tables
from benchmarks._timing import machine, table
from credit_like.can import COLUMNS, write_simulated_dataset

RESULTS = Path(__file__).parent / "results" / "scaling.json"
MODES = ("ddp", "fsdp")
BATCH, ROUNDS = 128, 3
#: Bytes that are summed beside those of the model's gradients: a word, for the latency, and what fills a connection.
SUMMED = (4, 1 << 20, 1 << 24, 1 << 26)


def main() -> None:
    where = machine()
    most = torch.cuda.device_count() if torch.cuda.is_available() else 2
    counts = [count for count in (1, 2, 4, 8) if count <= most]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        logs = folder / "logs"
        write_simulated_dataset(logs, drives=QUICK.drives, seconds=QUICK.seconds, attacks=ATTACKS, progress=False)
        sizes = bytes_a_frame(logs)
        runs = trained(logs, folder, counts)
        alone = runs["1 none 128"]
        sums = summed(folder, max(counts), [*SUMMED, 4 * alone["parameters"]]) if max(counts) > 1 else None
    report = {
        "machine": where,
        "device": alone["device"],
        "training": rows(runs),
        "all_reduce": sums,
        "bytes_a_frame": sizes,
        "parameters": alone["parameters"],
        "checkpoint_bytes": alone["checkpoint_bytes"],
        "process_mb": alone["process_mb"],
    }
    RESULTS.write_text(json.dumps(report, indent=2) + "\n")
    if sums is not None:
        PAGE.write_text(filled(PAGE.read_text(), tables(RESULTS.parent)))
    print(shown(report))


def trained(logs: Path, folder: Path, counts: list[int]) -> dict[str, dict[str, Any]]:
    """By "processes mode batch": what the processes of each kind of run report, its seconds the least of all epochs."""
    kinds = [(1, "none", BATCH)]
    for count in counts:
        if count > 1:
            kinds.append((count, "apart", BATCH))
            kinds += [(count, mode, batch) for mode in MODES for batch in (BATCH, count * BATCH)]
    found: dict[str, dict[str, Any]] = {}
    for round_number in range(ROUNDS):
        for count, mode, batch in kinds:
            own = folder / f"{count}_{mode}_{batch}_{round_number}"
            own.mkdir()
            launch(count, "benchmarks._shared_training", str(logs), str(own), mode, str(batch))
            reports = [json.loads((own / f"report_{rank}.json").read_text()) for rank in range(count)]
            # Who begins together waits for the slowest; the first epoch compiles.
            epochs = [max(together) for together in zip(*(r["epoch_seconds"] for r in reports), strict=True)]
            seconds = min(epochs[1:])
            name = f"{count} {mode} {batch}"
            before = found.get(name, {"seconds": seconds})
            found[name] = reports[0] | {"mode": mode, "batch": batch, "seconds": min(seconds, before["seconds"])}
    return found


def launch(processes: int, module: str, *arguments: str) -> None:
    """``python -m module arguments`` in so many processes, one thread each. Raises RuntimeError where they fail."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, "-m", module, *arguments], env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{module} {' '.join(arguments)} failed:\n{done.stderr}")


def rows(runs: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Each kind of run with its windows a second, and its efficiency: its share of so many times one process's, and of
    what as many processes reach apart."""
    speed = {name: run["windows"] / run["seconds"] for name, run in runs.items()}
    alone = speed[f"1 none {BATCH}"]
    return [
        {
            "processes": run["processes"],
            "mode": run["mode"],
            "batch": run["batch"],
            "milliseconds_a_step": round(1e3 * run["seconds"] / run["batches"], 2),
            "windows_per_second": round(speed[name]),
            "efficiency": round(speed[name] / alone / run["processes"], 3),
            "efficiency_of_machine": round(speed[name] / speed.get(f"{run['processes']} apart {BATCH}", alone), 3),
        }
        for name, run in runs.items()
    ]


def summed(folder: Path, processes: int, sizes: list[int]) -> dict[str, Any]:
    """Microseconds of an all-reduce of each number of bytes, and the megabytes a second of the largest."""
    launch(processes, "benchmarks._all_reduce", str(folder / "sums.json"), *map(str, sizes))
    found = json.loads((folder / "sums.json").read_text())
    seconds = {int(size): value for size, value in found["seconds"].items()}
    largest = max(seconds)
    return {
        "backend": found["backend"],
        "processes": processes,
        "microseconds": {str(size): round(1e6 * value, 1) for size, value in seconds.items()},
        "latency_microseconds": round(1e6 * seconds[min(seconds)], 1),
        "megabytes_per_second": round(largest / seconds[largest] / 1e6, 1),
    }


def bytes_a_frame(logs: Path) -> dict[str, float]:
    """Bytes of a frame in text logs, in one Parquet file, in memory and in the graph store, with graph sizes."""
    job, _ = load_job("gat", [f"data.path={logs}", f"data.store={logs.parent / 'stores'}"])
    data, parquet = load_data(job.data), logs.parent / "frames.parquet"
    with contextlib.redirect_stdout(io.StringIO()):
        ingest([str(logs), "-o", str(parquet)])
    frames = sum(len(capture.frames) for capture in data.captures)
    in_memory = sum(getattr(capture.frames, name).nbytes for capture in data.captures for name in COLUMNS)
    store = sum(file.stat().st_size for file in data.store.folder.iterdir())
    windows = len(data.store)
    return {
        "log": round(sum(file.stat().st_size for file in logs.rglob("*") if file.is_file()) / frames, 1),
        "parquet": round(parquet.stat().st_size / frames, 1),
        "memory": round(in_memory / frames, 1),
        "store": round(store / windows / job.data.window.window, 1),
        "nodes_a_window": round(len(data.store.key) / windows, 1),
        "edges_a_window": round(data.store.edge_index.shape[1] / windows, 1),
    }


def shown(report: dict[str, Any]) -> str:
    """The report as text."""
    text = [f"on {report['device']}", table(SCALING_HEAD, scaling_rows(report))]
    sums = report["all_reduce"]
    if sums is not None:
        text.append(
            f"all-reduce by {sums['backend']}: {sums['latency_microseconds']:.0f} us for a word, "
            f"{sums['microseconds'][str(4 * report['parameters'])]:.0f} us for the gradients, "
            f"{sums['megabytes_per_second']:.0f} MB/s for the largest"
        )
    sizes = report["bytes_a_frame"]
    text.append(", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in sizes.items()))
    where = report["machine"]
    text.append(f"{where['cores']} cores, load average {where['load_average_before']} before the start")
    return "\n".join(text)


if __name__ == "__main__":
    main()
