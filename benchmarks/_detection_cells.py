"""One cell of the detection benchmark: a model trained on one division of real captures with one seed, and judged."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from applications._data import Data, load_data
from applications._job import load_job
from applications._run import CONFIG, METRICS, SCORES, read_json, to_json, write_text
from applications.evaluate import evaluate_run
from applications.train import train
from credit_like.can import read_dataset, write_log
from credit_like.config import UserError
from credit_like.evaluation import EvaluationSettings, Scores, evaluate, read_scores
from credit_like.graphs.plan import VALIDATION, is_test

#: The public sets that hold attacks, and the vehicles that they were recorded in.
SETS = {
    "daga_v40": "Volvo V40",
    "ralliart_hcrl_format": "Mitsubishi Ralliart",
    "camaro_ctt_format": "Chevrolet Camaro",
    "nissan350z_road_format": "Nissan 350Z",
    "crysys_s11": "CrySyS car",
}
KNOWN, NEW_ATTACK, NEW_VEHICLE = "known", "unseen attack", "unseen vehicle"

#: Every model gets the division of this configuration's split settings.
REFERENCE = "gat"

#: Experts of a model that learns from other runs: its configuration's key and the model whose run it is.
EXPERTS = {"rl_fusion": {"gat": "gat", "anomaly": "dgi_ocgin"}}

_SETTINGS, _ROUNDS = EvaluationSettings(bootstrap_rounds=100), ("evaluation.bootstrap_rounds=100",)


@dataclass(frozen=True)
class Division:
    """Captures of ``sets``, of which ``held`` (an attack family or a set) is kept from training."""

    setting: str
    sets: tuple[str, ...]
    held: str = ""

    @property
    def name(self) -> str:
        """``"unseen attack: daga_v40, dos"``; of an unseen vehicle the vehicle's set alone."""
        shown = [self.held] if self.setting == NEW_VEHICLE else [*self.sets, *([self.held] if self.held else [])]
        return f"{self.setting}: {', '.join(shown)}"

    @property
    def folder(self) -> str:
        return re.sub(r"\W+", "_", self.name)

    @property
    def held_out(self) -> dict[str, list[str]]:
        """The settings of the split that keep ``held`` from training."""
        return {
            "hold_out_attacks": [self.held] if self.setting == NEW_ATTACK else [],
            "hold_out_vehicles": [self.held] if self.setting == NEW_VEHICLE else [],
        }

    def judges(self, split: str) -> bool:
        """Whether the windows of a test set are those that this division is about."""
        parts = {KNOWN: "", NEW_ATTACK: "known_vehicle_unknown_attack", NEW_VEHICLE: "unknown_vehicle"}
        return is_test(split) and parts[self.setting] in split


@dataclass(frozen=True)
class Plan:
    """Where captures and runs are, and what is changed of the shipped configurations."""

    captures: Path
    work: Path
    overrides: tuple[str, ...] = ()

    def logs(self, division: Division) -> Path:
        """The captures of a division."""
        if division.setting != NEW_VEHICLE:
            return self.captures / division.sets[0]
        return self.work / ("vehicles_" + "_".join(sorted(division.sets)))

    def cell(self, division: Division, model: str, seed: int) -> Path:
        """The folder of a run; ``result.json`` in it is the cell."""
        changes = hashlib.sha256("\n".join(self.overrides).encode()).hexdigest()[:8] if self.overrides else "shipped"
        return self.work / "runs" / changes / division.folder / f"{model}-{seed}"


def read_division(plan: Plan, division: Division) -> Data:
    """Captures, plan and store of a division, which all models share: split as the GAT's configuration says."""
    job, _ = load_job(REFERENCE, _overrides(plan, division, REFERENCE, 0))
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        return load_data(job.data)


def write_vehicles(plan: Plan, sets: Sequence[str]) -> None:
    """The captures of several sets in one folder, each set named as the vehicle of its captures; once."""
    folder = plan.logs(Division(NEW_VEHICLE, tuple(sets), sets[0]))
    if folder.is_dir():
        return
    unfinished = folder.with_name(folder.name + ".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    for name in sets:
        (unfinished / name).mkdir(parents=True)
        for capture in read_dataset(plan.captures / name, progress=False).captures:
            log = unfinished / name / (re.sub(r"\W+", "_", capture.name) + ".csv")
            write_log(replace(capture, vehicle=name), log, "can_train_and_test")
    unfinished.rename(folder)


def families(data: Data) -> list[str]:
    """Attack families that some window holds frames of, sorted."""
    table = data.store.windows
    return sorted({table.families[number] for number in table.family[table.label == 1].tolist()})


def judged(plan: Plan, division: Division, data: Data, model: str, seed: int) -> dict[str, Any]:
    """Train, or go on with, a run, and give its figures; ``{"refused": why}`` where this division cannot train it.

    What is printed goes to ``output.txt`` in the run's folder.
    """
    folder = plan.cell(division, model, seed)
    folder.parent.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    with (
        open(folder.with_suffix(".txt"), "a", encoding="utf-8") as output,
        contextlib.redirect_stdout(output),
        contextlib.redirect_stderr(output),
    ):
        try:
            job, cls = load_job(model, [*_overrides(plan, division, model, seed), *plan.overrides])
            resume = (folder / CONFIG).is_file()
            evaluate_run(folder, train(job, cls, resume=resume, data=data), overrides=_ROUNDS)
        except UserError as error:
            return {"refused": str(error).splitlines()[0]}
    return {"seconds": time.perf_counter() - started, **figures(folder, division)}


def figures(folder: Path, division: Division) -> dict[str, Any]:
    """The figures of a judged run over the windows that the division is about, its controls' beside them."""
    metrics, scores = read_json(folder / METRICS), read_scores(folder / SCORES)
    wanted = [name for name in scores.test_sets if division.judges(name)]
    rows = scores.frame.filter(pl.col("split").is_in([VALIDATION, *wanted]))
    renamed = pl.when(pl.col("split") == VALIDATION).then(pl.col("split")).otherwise(pl.lit("test")).alias("split")
    again = evaluate(
        Scores(rows.with_columns(renamed), scores.intervals),
        _SETTINGS,
        metrics["calibration_captures"],
        metrics["groups"],
    )
    found, raw = again["overall"], again["raw_weights"]
    return {
        "model": _kept(found["windows"]),
        "raw_weights_auroc": None if raw is None else raw["overall"]["auroc"],
        "events": found["events"]["events"],
        "found": found["events"]["found"],
        "attack_windows": found["windows"]["attack"],
        "benign_windows": found["windows"]["benign"],
        "controls": {name: _kept(part) for name, part in found["controls"].items()},
        "families": {name: part["windows"]["auroc"] for name, part in found["families"].items()},
    }


def _kept(part: dict[str, Any]) -> dict[str, float | None]:
    return {name: part[name] for name in ("auroc", "f1", "recall", "fpr")}


def _overrides(plan: Plan, division: Division, model: str, seed: int) -> list[str]:
    reference, _ = load_job(REFERENCE)
    split = reference.data.split.model_dump(mode="json") | division.held_out
    experts = {name: plan.cell(division, other, seed) for name, other in EXPERTS.get(model, {}).items()}
    return [
        f"data.path={plan.logs(division)}",
        f"data.store={plan.work / 'stores'}",
        *(f"data.split.{name}={json.dumps(value)}" for name, value in split.items()),
        f"save_loc={plan.cell(division, model, seed)}",
        f"trainer.seed={seed}",
        "trainer.use_tensorboard=false",
        *(f"experts.{name}={path}" for name, path in experts.items()),
    ]


def work_through(
    plan: Plan, division: Division, models: Sequence[str], seeds: Sequence[int], until: float
) -> dict[str, str]:
    """Run the cells of a division that have no result yet, beginning none after ``until`` (``time.time()``).

    Returns what became of each.
    """
    wanted = [(seed, model) for seed in seeds for model in models]
    results = {cell: plan.cell(division, cell[1], cell[0]) / "result.json" for cell in wanted}
    told = {f"{model}, seed {seed}": "kept" for seed, model in wanted if results[seed, model].is_file()}
    missing = [cell for cell in wanted if not results[cell].is_file()]
    if not missing or time.time() >= until:
        return told
    try:
        data = read_division(plan, division)
    except UserError as error:
        return told | {"all": f"refused: {error}"}
    for seed, model in missing:
        if time.time() >= until:
            break
        found = judged(plan, division, data, model, seed)
        told[f"{model}, seed {seed}"] = found.get("refused") or f"AUROC {found['model']['auroc']}"
        refused = plan.cell(division, model, seed).with_suffix(".refused")
        refused.unlink(missing_ok=True)
        if "refused" in found:  # tried again the next time: nothing of a run is there
            refused.write_text(found["refused"] + "\n", encoding="utf-8")
        else:
            write_text(results[seed, model], to_json(found))
    return told


def one_thread() -> None:
    """So small models wait for one another's threads; a process a core is faster."""
    import torch

    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
