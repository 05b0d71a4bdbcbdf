"""Injected attacks take the place of recorded ones in training, and never reach a test set."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from applications._data import Data, certify, fit_inputs
from applications._job import load_job
from benchmarks._detection_cells import INJECTED, KNOWN, STEPS, Division, Plan, budget, read_division
from credit_like.graphs.plan import is_test


@pytest.fixture(scope="module")
def plan(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Plan:
    if not (real_data / "nissan350z_road_format").is_dir():
        pytest.skip(f"no nissan350z_road_format in {real_data}")
    return Plan(real_data, tmp_path_factory.mktemp("work"))


def families(data: Data, split: str) -> set[str]:
    table = data.store.windows
    return {table.families[number] for number in table.family[data.windows(split, 1)]}


def test_training_holds_injected_attacks_alone_and_the_tests_are_as_recorded(plan: Plan) -> None:
    known = read_division(plan, Division(KNOWN, ("nissan350z_road_format",)))
    data = read_division(plan, Division(INJECTED, ("nissan350z_road_format",)))
    assert families(known, "train") == {"fuzzing", "masquerade", "spoofing"}
    for split in data.plan.split_names:
        if is_test(split):
            old, new = known.store.windows[known.windows(split)], data.store.windows[data.windows(split)]
            assert np.array_equal(old.t_start, new.t_start)
            assert np.array_equal(old.label, new.label)
        else:
            assert families(data, split)
            assert all(name.startswith("injected_") for name in families(data, split))
    job, _ = load_job("gat", [f"data.path={plan.captures / 'nissan350z_road_format'}"])
    certify(data, *fit_inputs(data, job.data))  # raises where a split repeats another's traffic


def test_every_set_gets_about_the_same_steps(plan: Plan) -> None:
    data = read_division(plan, Division(KNOWN, ("nissan350z_road_format",)))
    job, cls = load_job("gat", ["data.path=logs"])
    given = dict(change.split("=") for change in budget(job, cls, data))
    batches = -(-len(data.windows("train")) // job.loader.batch_size)
    assert int(given["trainer.epochs"]) * batches <= STEPS + batches
    assert given["trainer.batches_per_epoch"] == "0"
    large = job.model_copy(update={"loader": job.loader.model_copy(update={"batch_size": 1})})
    given = dict(change.split("=") for change in budget(large, cls, data))
    assert int(given["trainer.epochs"]) * int(given["trainer.batches_per_epoch"]) == pytest.approx(STEPS, rel=0.1)
    fusion, policy = load_job("rl_fusion", ["data.path=logs"])
    assert budget(fusion, policy, data) == []
