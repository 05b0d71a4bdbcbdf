"""python -m benchmarks.detection: every model and every control on the real captures, by seed, attack and vehicle.

Needs the real captures (``CREDIT_LIKE_DATA``). Three questions: how well are attacks found that training has seen;
those of a family that it has not seen; and those in a vehicle that it has not seen. A cell (division, model, seed) is
kept in ``--work``, so that a run that was stopped, or had only ``--minutes``, goes on; delete that folder after a
change of the models. What is asked for is written to benchmarks/results/detection.json, beside what stands there of
other divisions, or of models with more seeds, and its tables into docs/detection.md. Everything takes hours, one set
and one seed a minute: ``--sets crysys_s11 --seeds 1``.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from applications._registry import registered_trainers
from benchmarks._captures import CAPTURES
from benchmarks._detection_cells import (
    EXPERTS,
    INJECTED,
    KNOWN,
    NEW_ATTACK,
    NEW_VEHICLE,
    SETS,
    VARIANTS,
    Division,
    Plan,
    families,
    one_thread,
    read_division,
    work_through,
    write_vehicles,
)
from benchmarks._detection_page import with_tables
from benchmarks._timing import machine

RESULTS = Path(__file__).parent / "results" / "detection.json"
PAGE = Path(__file__).parents[1] / "docs" / "detection.md"
MODELS = ("gat", "dgi_ocgin", "rl_fusion", "either", "gat_transfer", "gat_plain")
DIVISIONS = (KNOWN, NEW_ATTACK, NEW_VEHICLE, INJECTED)


def main(argv: list[str] | None = None) -> None:
    options = _options(argv)
    there = [name for name in options.sets if (CAPTURES / name).is_dir()]
    if not there:
        print(f"detection: no real captures at {CAPTURES}; set CREDIT_LIKE_DATA to the folder that holds them")
        return
    models = [name for name in options.models if VARIANTS.get(name, (name,))[0] in registered_trainers()]
    for name in set(options.models) - set(models):
        print(f"detection: no trainer is registered as {name}; left out", flush=True)
    plan = Plan(CAPTURES, options.work, tuple(options.overrides))
    seeds, until = list(range(options.seeds)), time.time() + 60 * (options.minutes or 1e9)
    wanted = divisions(plan, there, options.divisions)
    with ProcessPoolExecutor(options.jobs, get_context("spawn"), one_thread) as pool:
        waiting = {pool.submit(work_through, plan, part, models, seeds, until): part for part in wanted}
        try:
            for done in as_completed(waiting):
                for cell, what in done.result().items():
                    print(f"{waiting[done].name}: {cell}: {what}", flush=True)
        except BaseException:
            pool.shutdown(cancel_futures=True)  # Ctrl-C stops what runs, resumable; nothing else shall begin then
            raise
    report = {
        "machine": machine(),
        "models": models,
        "overrides": options.overrides,
        "divisions": [found for part in wanted if (found := gathered(plan, part, models, seeds))],
    }
    if options.results.is_file():
        report = merged(json.loads(options.results.read_text("utf-8")), report)
    options.results.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    options.page.write_text(with_tables(options.page.read_text(encoding="utf-8"), report), encoding="utf-8")
    left = sum(not (plan.cell(d, m, s) / "result.json").is_file() for d in wanted for m in models for s in seeds)
    print(f"{len(report['divisions'])} divisions -> {options.results}, {options.page}; cells without a result: {left}")


def divisions(plan: Plan, sets: Sequence[str], settings: Sequence[str]) -> list[Division]:
    """Known attacks of every set, each family and each vehicle left out in turn, injected attacks in every set."""
    found = [Division(KNOWN, (name,)) for name in sets if KNOWN in settings]
    for name in sets if NEW_ATTACK in settings else ():
        kinds = families(read_division(plan, Division(KNOWN, (name,))))
        found += [Division(NEW_ATTACK, (name,), kind) for kind in kinds if len(kinds) > 1]
    if NEW_VEHICLE in settings and len(sets) > 1:
        write_vehicles(plan, sets)
        found += [Division(NEW_VEHICLE, tuple(sets), name) for name in sets]
    return found + [Division(INJECTED, (name,)) for name in sets if INJECTED in settings]


def merged(before: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
    """``now``, and of ``before`` what it lacks: other divisions, and models that have more seeds there.

    Of runs with other ``overrides`` nothing is taken over.
    """
    if before["overrides"] != now["overrides"]:
        return now
    known = {_name(division): division for division in before["divisions"]}
    for division in now["divisions"]:
        old = known.get(_name(division), division)
        models = division["models"]
        more = {name: part for name, part in old["models"].items() if part["seeds"] > _seeds_of(models.get(name))}
        refused = {name: why for name, why in old["refused"].items() if name not in models}
        known[_name(division)] = {
            **division,
            "models": {name: part for name in MODELS if (part := (models | more).get(name))},
            "refused": {name: why for name, why in (refused | division["refused"]).items() if name not in more},
        }
    names = {name for part in (before, now) for name in part["models"]}
    ordered = sorted(known.values(), key=lambda division: DIVISIONS.index(division["setting"]))
    return {**now, "models": sorted(names, key=MODELS.index), "divisions": ordered}


def _name(division: dict[str, Any]) -> tuple[Any, ...]:
    return division["setting"], *division["sets"], division["held_out"]


def _seeds_of(part: dict[str, Any] | None) -> int:
    return 0 if part is None else int(part["seeds"])


def gathered(plan: Plan, division: Division, models: Iterable[str], seeds: Sequence[int]) -> dict[str, Any] | None:
    """The results of a division over its seeds; None where there is none yet."""
    cells: dict[str, list[dict[str, Any]]] = {}
    refused = {}
    for model in models:
        folders = [plan.cell(division, model, seed) for seed in seeds]
        cells[model] = [json.loads(p.read_text("utf-8")) for f in folders if (p := f / "result.json").is_file()]
        why = [path.read_text("utf-8").strip() for f in folders if (path := f.with_suffix(".refused")).is_file()]
        if why and not cells[model]:
            refused[model] = why[0]
    first = next((cell for part in cells.values() for cell in part), None)
    if first is None:
        return None
    return {
        "setting": division.setting,
        "sets": list(division.sets),
        "held_out": division.held,
        "windows": {"attack": first["attack_windows"], "benign": first["benign_windows"]},
        "events": first["events"],
        "models": {name: _over_seeds(part) for name, part in cells.items() if part},
        "refused": refused,
        "controls": first["controls"],
    }


def _over_seeds(cells: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Mean and standard deviation (over seeds, n - 1) of what a model's cells hold."""
    named = {
        "auroc": [cell["model"]["auroc"] for cell in cells],
        "f1": [cell["model"]["f1"] for cell in cells],
        "recall": [cell["model"]["recall"] for cell in cells],
        "fpr": [cell["model"]["fpr"] for cell in cells],
        "raw_weights_auroc": [cell["raw_weights_auroc"] for cell in cells],
        "events_found": [cell["found"] for cell in cells],
        "cpu_seconds": [cell["cpu_seconds"] for cell in cells],
        "validation_auroc": [cell["validation_auroc"] for cell in cells],
    }
    kinds = sorted({kind for cell in cells for kind in cell["families"]})
    return {
        "seeds": len(cells),
        **{name: spread(values) for name, values in named.items()},
        "families": {kind: spread([cell["families"].get(kind) for cell in cells]) for kind in kinds},
    }


def spread(values: Sequence[float | None]) -> dict[str, float] | None:
    """``{"mean", "std"}``; None where a value is undefined."""
    known = [value for value in values if value is not None]
    if len(known) < len(values) or not known:
        return None
    return {"mean": statistics.fmean(known), "std": statistics.stdev(known) if len(known) > 1 else 0.0}


def _options(argv: list[str] | None) -> argparse.Namespace:
    made = argparse.ArgumentParser(
        prog="python -m benchmarks.detection", description=(__doc__ or "").partition(": ")[2]
    )
    made.add_argument("--seeds", type=int, default=5, metavar="N", help="seeds 0 to N - 1 (default 5)")
    made.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS), help="default: all")
    made.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS), help="default: all")
    made.add_argument("--divisions", nargs="+", choices=DIVISIONS, default=list(DIVISIONS), help="default: all")
    made.add_argument("--minutes", type=float, default=0, help="begin no cell after so long; 0: no limit")
    made.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1), help="processes (default 2)")
    made.add_argument("--work", type=Path, default=Path(".cache/detection"), help="folder of stores and runs")
    made.add_argument("--results", type=Path, default=RESULTS, help="default: benchmarks/results/detection.json")
    made.add_argument("--page", type=Path, default=PAGE, help="default: docs/detection.md")
    made.add_argument("--override", dest="overrides", action="append", default=[], metavar="key=value")
    options = made.parse_args(argv)
    for model, experts in EXPERTS.items():
        lacking = set(experts.values()) - set(options.models)
        if model in options.models and lacking:
            made.error(f"{model} learns from {', '.join(sorted(lacking))}: name them in --models too")
    options.models.sort(key=MODELS.index)  # experts come first
    return options


if __name__ == "__main__":
    main()
