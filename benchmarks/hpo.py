"""python -m benchmarks.hpo: the same search with and without a pruner: epochs that it saves, and what that costs.

The space, the pruner and the number of trials of ``conf/gat.yml`` on the drives of ``credit-like demo --quick``. A
random sampler with one seed gives both searches the same configurations, so that all that differs is what the pruner
ends early; so for three seeds. The noise is the spread of the best configurations' values over seeds of training. It
counts epochs, which no other load changes. Writes benchmarks/results/hpo.json; fifteen minutes.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import statistics
import tempfile
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
EPOCHS = 8
#: Far apart: the sampler of trial n has the seed of the search plus n.
SEARCH_SEEDS = (0, 1000, 2000)
TRAINING_SEEDS = (1, 2, 3)
#: The share of epochs that a median pruner is to save.
TARGET = 0.3


def main() -> None:
    where = machine()
    shipped, _ = load_job("gat")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_simulated_dataset(
            folder / "logs", drives=QUICK.drives, seconds=QUICK.seconds, attacks=ATTACKS, progress=False
        )
        searches = [compared(folder, seed) for seed in SEARCH_SEEDS]
    saved = [search["epochs_saved"] for search in searches]
    report = {
        "machine": where,
        "target": TARGET,
        "pruner": shipped.hpo.pruner,
        "pruner_options": shipped.hpo.pruner_options,
        "trials": shipped.hpo.trials,
        "epochs_a_trial": EPOCHS,
        "searches": searches,
        "epochs_saved": round(statistics.mean(saved), 3),
        "epochs_saved_least": min(saved),
        "worse_by": round(statistics.mean(search["worse_by"] for search in searches), 6),
        "noise": round(math.sqrt(statistics.mean(search["std_over_training_seeds"] ** 2 for search in searches)), 6),
    }
    RESULTS.write_text(json.dumps(report, indent=2) + "\n")
    print(shown(report))


def compared(folder: Path, seed: int) -> dict[str, Any]:
    """One search with the shipped pruner and one without."""
    every = searched(folder, f"all_{seed}", seed, ["hpo.pruner=NopPruner", "hpo.pruner_options={}"])
    pruned = searched(folder, f"pruned_{seed}", seed, [])
    best = folder / f"all_{seed}" / "best.yml"
    again = [retrained(best, folder / f"again_{seed}_{training}", training) for training in TRAINING_SEEDS]
    return {
        "seed": seed,
        "without": every,
        "with": pruned,
        "epochs_saved": round(1 - pruned["epochs"] / every["epochs"], 3),
        "worse_by": pruned["best_valid_loss"] - every["best_valid_loss"],
        "std_over_training_seeds": round(statistics.stdev(again), 6),
    }


def searched(folder: Path, name: str, seed: int, pruner: list[str]) -> dict[str, Any]:
    """What the search ``name`` came to."""
    given = [
        f"data.path={folder / 'logs'}",
        f"data.store={folder / 'stores'}",
        f"trainer.epochs={EPOCHS}",
        "trainer.use_tensorboard=false",
        "hpo.sampler=RandomSampler",
        f"hpo.seed={seed}",
        *pruner,
        f"save_loc={folder / 'run'}",
    ]
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        code = run(tune, ["gat", "--study", name, *given])
    if code:
        raise UserError(f"the search {name} failed:\n{said.getvalue()}")
    job, _ = load_job("gat", given)
    study = open_study(name, folder / name, job.hpo, "min", comparable(job))
    states = [trial.state.name.lower() for trial in study.trials]
    best = best_trial(study)
    if best is None or best.value is None or "fail" in states:
        raise UserError(f"the search {name} has failed trials:\n{said.getvalue()}")
    return {
        "epochs": sum(len(trial.intermediate_values) for trial in study.trials),
        "completed": states.count("complete"),
        "pruned": states.count("pruned"),
        "best_trial": best.number,
        "best_valid_loss": best.value,
    }


def retrained(best: Path, own: Path, seed: int) -> float:
    """The best validation loss of the configuration ``best``, trained from another seed."""
    job, cls = load_job(best, [f"trainer.seed={seed}", f"save_loc={own}"])
    with contextlib.redirect_stdout(io.StringIO()):
        train(job, cls)
    return float(read_checkpoint(own / "best_checkpoint.pt")["patience"]["best_value"])


def shown(report: dict[str, Any]) -> str:
    """The report as text."""
    rows = [
        (
            str(search["seed"]),
            str(search["without"]["epochs"]),
            str(search["with"]["epochs"]),
            str(search["with"]["pruned"]),
            f"{search['epochs_saved']:.0%}",
            f"{search['without']['best_valid_loss']:.4f}",
            f"{search['with']['best_valid_loss']:.4f}",
        )
        for search in report["searches"]
    ]
    head = ("seed of the search", "epochs", "with pruner", "pruned", "saved", "best valid_loss", "with pruner")
    return (
        f"{table(head, rows)}\n"
        f"{report['pruner']} {report['pruner_options']}, {report['trials']} trials: it saves "
        f"{report['epochs_saved']:.0%} of the epochs (to reach: {report['target']:.0%}); its best is worse by "
        f"{report['worse_by']:.4f}, where the best's own spread over seeds of training is {report['noise']:.4f}"
    )


if __name__ == "__main__":
    main()
