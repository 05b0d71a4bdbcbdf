"""python -m benchmarks.hpo: the same search with and without a pruner: epochs that it saves, and what that costs.

The space of ``conf/gat.yml`` on the drives of ``credit-like demo --quick``. A random sampler with one seed gives both
searches the same configurations, so that all that differs is what the pruner ends early. The noise is the spread of the
best configuration's value over seeds. Writes benchmarks/results/hpo.json.
"""

from __future__ import annotations

import contextlib
import io
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from applications._cli import run
from applications._job import load_job
from applications.demo import ATTACKS, QUICK
from applications.train import train
from applications.tune import comparable
from applications.tune import main as tune
from benchmarks._timing import machine, table
from credit_like.can import write_simulated_dataset
from credit_like.config import UserError
from credit_like.hpo import best_trial, open_study
from credit_like.training import read_checkpoint

RESULTS = Path(__file__).parent / "results" / "hpo.json"
TRIALS, EPOCHS, SEEDS = 16, 8, 3
PRUNERS = {"NopPruner": "{}", "MedianPruner": "{n_startup_trials: 4, n_warmup_steps: 1}"}
#: The share of epochs that a median pruner is to save.
TARGET = 0.3


def main() -> None:
    where = machine()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_simulated_dataset(
            folder / "logs", drives=QUICK.drives, seconds=QUICK.seconds, attacks=ATTACKS, progress=False
        )
        searches = {pruner: searched(folder, pruner) for pruner in PRUNERS}
        noise = statistics.stdev(retrained(folder, seed) for seed in range(SEEDS))
    every, pruned = (searches[pruner] for pruner in PRUNERS)
    report = {
        "machine": where,
        "target": TARGET,
        "trials": TRIALS,
        "epochs_a_trial": EPOCHS,
        "searches": searches,
        "epochs_saved": round(1 - pruned["epochs"] / every["epochs"], 3),
        "seconds_saved": round(1 - pruned["seconds"] / every["seconds"], 3),
        "worse_by": round(pruned["best_valid_loss"] - every["best_valid_loss"], 6),
        "std_of_the_best_over_seeds": round(noise, 6),
    }
    RESULTS.write_text(json.dumps(report, indent=2) + "\n")
    print(shown(report))


def arguments(folder: Path) -> list[str]:
    return [f"data.path={folder / 'logs'}", f"data.store={folder / 'stores'}", f"trainer.epochs={EPOCHS}"]


def searched(folder: Path, pruner: str) -> dict[str, Any]:
    """What a search with one pruner came to."""
    given = [
        *arguments(folder),
        "trainer.use_tensorboard=false",
        "hpo.sampler=RandomSampler",
        f"hpo.pruner={pruner}",
        f"hpo.pruner_options={PRUNERS[pruner]}",
        f"save_loc={folder / 'run'}",
    ]
    started = time.perf_counter()
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        code = run(tune, ["gat", "--study", pruner, "--trials", str(TRIALS), *given])
    if code:
        raise UserError(f"the search with {pruner} failed:\n{said.getvalue()}")
    seconds = time.perf_counter() - started
    job, _ = load_job("gat", [*given, f"hpo.trials={TRIALS}"])
    study = open_study(pruner, folder / pruner, job.hpo, "min", comparable(job))
    states = [trial.state.name.lower() for trial in study.trials]
    best = best_trial(study)
    return {
        "epochs": sum(len(trial.intermediate_values) for trial in study.trials),
        "completed": states.count("complete"),
        "pruned": states.count("pruned"),
        "failed": states.count("fail"),
        "best_trial": None if best is None else best.number,
        "best_valid_loss": None if best is None else best.value,
        "seconds": round(seconds, 1),
    }


def retrained(folder: Path, seed: int) -> float:
    """The best configuration of the search without pruning, from another seed: its best validation loss."""
    own = folder / f"seed_{seed}"
    best = folder / "NopPruner" / "best.yml"
    job, cls = load_job(best, [f"trainer.seed={seed + 1}", f"save_loc={own}"])
    with contextlib.redirect_stdout(io.StringIO()):
        train(job, cls)
    return float(read_checkpoint(own / "best_checkpoint.pt")["patience"]["best_value"])


def shown(report: dict[str, Any]) -> str:
    """The report as text."""
    rows = [
        (
            pruner,
            str(found["epochs"]),
            str(found["pruned"]),
            f"{found['best_valid_loss']:.4f}",
            f"{found['seconds']:.0f}",
        )
        for pruner, found in report["searches"].items()
    ]
    where = report["machine"]
    return (
        f"{table(('pruner', 'epochs', 'pruned', 'best valid_loss', 'seconds'), rows)}\n"
        f"epochs saved: {report['epochs_saved']:.0%} (to reach: {report['target']:.0%}); the best is worse by "
        f"{report['worse_by']:.4f}, its own spread over seeds is {report['std_of_the_best_over_seeds']:.4f}\n"
        f"{where['cores']} cores, load average {where['load_average_before']} before the start"
    )


if __name__ == "__main__":
    main()
