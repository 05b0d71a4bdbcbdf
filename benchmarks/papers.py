"""python benchmarks/papers.py gat --planetoid FOLDER --name cora --seeds 10: published models, made of our parts.

Likewise ``dgi``, and ``ocgin --tu FOLDER --outlier-class 0``. Without arguments every paper whose data is at hand. Each
writes its part of benchmarks/results/papers.json, or of the ``--results FILE``; ten seeds of ``gat`` on Cora take a
quarter of an hour on one core.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import statistics
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

if not __package__:  # called by its path
    sys.path.insert(0, str(Path(__file__).parents[1]))

import torch

from benchmarks._captures import CAPTURES
from benchmarks._planetoid import read_planetoid
from benchmarks._timing import machine, table
from credit_like.config import UserError

RESULTS = Path(__file__).parent / "results" / "papers.json"

#: Accuracies of the papers, mean and std over their own runs, and what ours is to reach.
PUBLISHED = {("gat", "cora"): (0.830, 0.007), ("dgi", "cora"): (0.823, 0.006)}
TARGETS = {("gat", "cora"): 0.823, ("dgi", "cora"): 0.815}

#: One run of a paper: seed -> its figure.
Run = Callable[[int], float]


def main(argv: Sequence[str] | None = None) -> None:
    made = argparse.ArgumentParser(prog="benchmarks/papers.py", description=(__doc__ or "").partition("\n")[2])
    papers = made.add_subparsers(dest="paper")
    for name in ("gat", "dgi"):
        paper = papers.add_parser(name)
        paper.add_argument("--planetoid", type=Path, required=True, help="folder that holds the files ind.NAME.*")
        paper.add_argument("--name", default="cora", help="NAME of the files")
    paper = papers.add_parser("ocgin")
    paper.add_argument("--tu", type=Path, required=True, help="folder of a graph classification set in the TU format")
    paper.add_argument("--outlier-class", type=int, default=0, help="the class that training does not see")
    for paper in papers.choices.values():
        paper.add_argument("--seeds", type=int, default=10)
        paper.add_argument("--results", type=Path, default=RESULTS, help="the JSON that gets the figures")
    given = made.parse_args(argv)
    try:
        if given.paper is None:
            _all_at_hand()
        elif given.paper == "ocgin":
            run = partial(_module("ocgin").run, given.tu, given.outlier_class)
            name = f"{given.tu.resolve().name}, outlier class {given.outlier_class}"
            report("ocgin", name, "auroc", run, given.seeds, given.results)
        else:
            run = partial(_module(given.paper).run, read_planetoid(given.planetoid, given.name))
            report(given.paper, given.name, "accuracy", run, given.seeds, given.results)
    except UserError as error:
        sys.exit(f"error: {error}")


def _all_at_hand() -> None:
    folder = CAPTURES / "cora"
    if not folder.is_dir():
        print("the citation graph Cora is not at hand, so no paper is repeated")
        return
    for paper in ("gat", "dgi"):
        if importlib.util.find_spec(f"benchmarks._paper_{paper}"):
            main([paper, "--planetoid", str(folder), "--name", "cora"])


def _module(paper: str) -> Any:
    return importlib.import_module(f"benchmarks._paper_{paper}")


def report(paper: str, data: str, figure: str, run: Run, seeds: int, results: Path | None = None) -> dict[str, Any]:
    """Run ``seeds`` seeds from 0, print each, and put mean, spread and each one so far into ``results``."""
    if seeds < 1:
        raise UserError(f"--seeds must be at least 1; got {seeds}")
    where, path = machine(), results or RESULTS
    each: list[float] = []
    for seed in range(seeds):
        each.append(round(float(run(seed)), 4))
        print(f"{paper} on {data}, seed {seed}: {figure} {each[-1]:.4f}", flush=True)
        found: dict[str, Any] = {
            "figure": figure,
            "mean": round(statistics.mean(each), 4),
            "std": round(statistics.stdev(each), 4) if seed else None,
            "seeds": each,
            "machine": where,
        }
        if (paper, data) in PUBLISHED:
            mean, std = PUBLISHED[paper, data]
            found |= {"published": {"mean": mean, "std": std}, "target": TARGETS[paper, data]}
        known = json.loads(path.read_text()) if path.is_file() else {}
        known.setdefault(paper, {})[data] = found
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(known, indent=2) + "\n")  # each time: a run may take an hour
    print(shown(known))
    return found


def shown(results: dict[str, Any]) -> str:
    """Every paper's line: ours, its spread over seeds, and what the paper says."""
    rows = [
        (
            f"{paper} on {data}",
            found["figure"],
            str(len(found["seeds"])),
            f"{found['mean']:.4f}",
            "" if found["std"] is None else f"{found['std']:.4f}",
            f"{found['published']['mean']:.3f}" if "published" in found else "",
            f"{found['target']:.3f}" if "target" in found else "",
        )
        for paper, sets in results.items()
        for data, found in sets.items()
    ]
    return table(("paper", "figure", "seeds", "ours", "std", "published", "to reach"), rows)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
