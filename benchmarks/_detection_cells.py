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

from applications._data import Data, learning_windows, load_data
from applications._fusion import is_fusion
from applications._job import Job, load_job
from applications._registry import JobTrainer, learns_from_benign
from applications._run import CONFIG, open_run, to_json, write_text
from applications.train import train
from benchmarks._detection_figures import figures
from benchmarks._detection_injected import with_injected
from credit_like.can import read_dataset, write_log
from credit_like.config import UserError
from credit_like.graphs.plan import is_test

#: The public sets that hold attacks, and the vehicles that they were recorded in.
SETS = {
    "daga_v40": "Volvo V40",
    "ralliart_hcrl_format": "Mitsubishi Ralliart",
    "camaro_ctt_format": "Chevrolet Camaro",
    "nissan350z_road_format": "Nissan 350Z",
    "crysys_s11": "CrySyS car",
}
KNOWN, NEW_ATTACK, NEW_VEHICLE = "known", "unseen attack", "unseen vehicle"
INJECTED = "injected attacks"

#: Every model gets the division of this configuration's split settings.
REFERENCE = "gat"

#: Experts of a model that learns from other runs: its configuration's key and the model whose run it is.
EXPERTS = {model: {"gat": "gat", "anomaly": "dgi_ocgin"} for model in ("rl_fusion", "either")}

#: Models that are another one's configuration with something changed.
VARIANTS = {
    "either": ("rl_fusion", ("trainer.deploy=either", "trainer.epochs=1")),  # what is learnt does not matter then
    "gat_transfer": ("gat", ("model.own_traffic=false", "model.id_encoder=none", "data.scaler.relative=false")),
    "gat_plain": ("gat", ("model.own_traffic=false",)),
}

#: Optimizer steps of a run on graphs, about, and the most epochs that a small set may take for them.
STEPS, MOST_EPOCHS = 400, 30


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
        parts = {KNOWN: "", INJECTED: "", NEW_ATTACK: "known_vehicle_unknown_attack", NEW_VEHICLE: "unknown_vehicle"}
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

    def controls(self, division: Division) -> Path:
        """The folder of the controls' scores of a division, which no model and no seed changes."""
        return self.work / "controls" / division.folder


def read_division(plan: Plan, division: Division) -> Data:
    """Captures, plan and store of a division, which all models share: split as the GAT's configuration says."""
    job, _ = load_job(REFERENCE, _overrides(plan, division, REFERENCE, 0))
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        data = load_data(job.data)
    if division.setting == INJECTED:
        return with_injected(data, job.data.window, plan.work / "stores" / division.folder)
    return data


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

    What is printed goes to a text file beside the run's folder.
    """
    folder = plan.cell(division, model, seed)
    folder.parent.mkdir(parents=True, exist_ok=True)
    started = time.process_time()
    with (
        open(folder.with_suffix(".txt"), "a", encoding="utf-8") as output,
        contextlib.redirect_stdout(output),
        contextlib.redirect_stderr(output),
    ):
        try:
            shipped, variant = VARIANTS.get(model, (model, ()))
            changes = [*_overrides(plan, division, model, seed), *variant]
            changes += budget(*load_job(shipped, changes), data)
            job, cls = load_job(shipped, [*changes, *plan.overrides])
            known = train(job, cls, resume=(folder / CONFIG).is_file(), data=data)
            found = figures(open_run(folder), known, division.judges, plan.controls(division))
        except UserError as error:
            return {"refused": str(error).splitlines()[0]}
    return {"cpu_seconds": time.process_time() - started, **found}


def budget(job: Job, cls: type[JobTrainer], data: Data) -> list[str]:
    """The overrides that give a run on graphs about ``STEPS`` optimizer steps, whatever the size of its set.

    The captures of a large set repeat one drive, so that an epoch is cut short there; a small one has so few batches
    that the shipped number of epochs would end before anything was learnt. Patience grows with the epochs.
    """
    if is_fusion(cls):
        return []
    rows, _ = learning_windows(data, benign_only=learns_from_benign(cls))
    batches = -(-len(rows) // job.loader.batch_size)
    drawn = min(batches, STEPS // job.trainer.epochs)
    epochs = min(-(-STEPS // drawn), MOST_EPOCHS)
    patience = -(-job.trainer.stopping_patience * epochs // job.trainer.epochs)
    return [
        f"trainer.epochs={epochs}",
        f"trainer.stopping_patience={patience}",
        f"trainer.batches_per_epoch={drawn if drawn < batches else 0}",
    ]


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
