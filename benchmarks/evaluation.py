"""python -m benchmarks.evaluation: judging a detector on a million frames, from logs on disk to the report.

Eleven simulated drives with attacks, of which a tenth is for training (one epoch: how good the detector is does not
matter here); the rest, a million frames and more, is scored and judged. Timed are the whole of ``credit-like evaluate``
with the graph store at hand, in a process that has imported everything, ``credit-like report`` alone, and
``credit-like verify`` of a run on the recorded V40 drive, which CREDIT_LIKE_DATA=FOLDER holds under ``daga_v40``.
Beside the seconds on the wall stand those of this process on all cores, which another job disturbs less. Writes
benchmarks/results/evaluation.json.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from applications._job import load_job
from applications.evaluate import evaluate_run
from applications.report import report_run
from applications.train import train
from applications.verify import verify_run
from benchmarks._captures import CAPTURES, missing
from benchmarks._timing import machine, table
from credit_like.can import write_simulated_dataset
from credit_like.evaluation import read_scores

RESULTS = Path(__file__).parent / "results" / "evaluation.json"
DRIVES, SECONDS = 11, 64.0
ATTACKS = ("dos", "fuzzing", "spoofing", "replay", "suspension", "masquerade")
ROUNDS = 2

Timed = Callable[[Path], object]


def main() -> None:
    where, drive = machine(), CAPTURES / "daga_v40"
    if missing("evaluation", drive):
        return
    with tempfile.TemporaryDirectory() as scratch:
        run, recorded = trained(Path(scratch)), trained_on_drive(drive, Path(scratch))
        verbs: dict[str, tuple[Timed, Path]] = {
            "evaluate": (evaluate_run, run),
            "report": (report_run, run),
            "verify": (verify_run, recorded),
        }
        seconds: dict[str, list[float]] = {name: [] for name in verbs}
        cpu_seconds: dict[str, list[float]] = {name: [] for name in verbs}
        for _ in range(ROUNDS):
            for name, (action, judged) in verbs.items():
                started, used = time.perf_counter(), time.process_time()
                action(judged)
                seconds[name].append(time.perf_counter() - started)
                cpu_seconds[name].append(time.process_time() - used)
        scores = read_scores(run / "scores.parquet").frame
        size = (run / "report.html").stat().st_size
    report = {
        "machine": where,
        "frames_judged": int((scores["row_stop"] - scores["row_start"]).sum()),
        "windows_judged": scores.height,
        "seconds": {name: round(min(values), 1) for name, values in seconds.items()},
        "cpu_seconds": {name: round(min(values), 1) for name, values in cpu_seconds.items()},
        "report_megabytes": round(size / 1e6, 2),
    }
    RESULTS.write_text(json.dumps(report, indent=2) + "\n")
    print(shown(report))


def trained(folder: Path) -> Path:
    """The run folder of a detector that saw a tenth of the drives."""
    logs, run = folder / "logs", folder / "run"
    write_simulated_dataset(logs, drives=DRIVES, seconds=SECONDS, attacks=ATTACKS, seed=3, progress=False)
    shares = {"train": 0.1, "fusion": 0.0, "validation": 0.2, "test": 0.7}
    split = [f"data.split.{name}={share}" for name, share in shares.items()]
    changes = [f"data.path={json.dumps(str(logs))}", f"data.store={json.dumps(str(folder / 'stores'))}", *split]
    job, cls = load_job("gat", [*changes, f"save_loc={json.dumps(str(run))}", "trainer.epochs=1"])
    train(job, cls)
    return run


def trained_on_drive(drive: Path, folder: Path) -> Path:
    """The run folder of a detector of the recorded drive, judged."""
    run = folder / "recorded"
    changes = [f"data.path={json.dumps(str(drive))}", f"data.store={json.dumps(str(folder / 'stores'))}"]
    job, cls = load_job("gat", [*changes, f"save_loc={json.dumps(str(run))}", "trainer.epochs=1"])
    train(job, cls)
    evaluate_run(run)
    return run


def shown(report: dict[str, Any]) -> str:
    """The report as text."""
    rows = [(name, f"{value:.1f}", f"{report['cpu_seconds'][name]:.1f}") for name, value in report["seconds"].items()]
    where = report["machine"]
    return (
        f"{report['frames_judged']:,} frames in {report['windows_judged']:,} windows\n"
        f"{table(('verb', 'seconds', 'CPU seconds'), rows)}\n"
        f"{where['cores']} cores, load average {where['load_average_before']} before the start"
    )


if __name__ == "__main__":
    main()
