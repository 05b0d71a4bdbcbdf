"""python -m benchmarks.evaluation: judging a detector on a million frames, from logs on disk to the report.

Eleven simulated drives with attacks, of which a tenth is for training (one epoch: how good the detector is does not
matter here); the rest, a million frames and more, is scored and judged. Timed are the whole of ``credit-like evaluate``
with the graph store at hand, in a process that has imported everything, and ``credit-like report`` alone. Writes
benchmarks/results/evaluation.json.
"""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from typing import Any

from applications._job import load_job
from applications.evaluate import evaluate_run
from applications.report import report_run
from applications.train import train
from benchmarks._timing import machine, table
from credit_like.can import write_simulated_dataset
from credit_like.evaluation import read_scores

RESULTS = Path(__file__).parent / "results" / "evaluation.json"
DRIVES, SECONDS = 11, 64.0
ATTACKS = ("dos", "fuzzing", "spoofing", "replay", "suspension", "masquerade")
ROUNDS = 2


def main() -> None:
    where = machine()
    with tempfile.TemporaryDirectory() as scratch:
        run = trained(Path(scratch))
        seconds: dict[str, list[float]] = {"evaluate": [], "report": []}
        for _ in range(ROUNDS):
            for name, action in (("evaluate", evaluate_run), ("report", report_run)):
                started = time.perf_counter()
                action(run)
                seconds[name].append(time.perf_counter() - started)
        scores = read_scores(run / "scores.parquet").frame
        size = (run / "report.html").stat().st_size
    report = {
        "machine": where,
        "frames_judged": int((scores["row_stop"] - scores["row_start"]).sum()),
        "windows_judged": scores.height,
        "seconds": {name: round(min(values), 1) for name, values in seconds.items()},
        "report_megabytes": round(size / 1e6, 2),
    }
    RESULTS.write_text(json.dumps(report, indent=2) + "\n")
    print(shown(report))


def trained(folder: Path) -> Path:
    """The run folder of a detector that saw a tenth of the drives."""
    logs, run = folder / "logs", folder / "run"
    write_simulated_dataset(logs, drives=DRIVES, seconds=SECONDS, attacks=ATTACKS, seed=3, progress=False)
    split = [f"data.split.{name}={share}" for name, share in (("train", 0.1), ("validation", 0.2), ("test", 0.7))]
    changes = [f"data.path={json.dumps(str(logs))}", f"data.store={json.dumps(str(folder / 'stores'))}", *split]
    job, cls = load_job("gat", [*changes, f"save_loc={json.dumps(str(run))}", "trainer.epochs=1"])
    train(job, cls)
    return run


def shown(report: dict[str, Any]) -> str:
    """The report as text."""
    rows = [(name, f"{value:.1f}") for name, value in report["seconds"].items()]
    where = report["machine"]
    return (
        f"{report['frames_judged']:,} frames in {report['windows_judged']:,} windows\n"
        f"{table(('verb', 'seconds'), rows)}\n"
        f"{where['cores']} cores, load average {where['load_average_before']} before the start"
    )


if __name__ == "__main__":
    main()
