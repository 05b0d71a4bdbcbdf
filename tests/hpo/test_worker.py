"""Workers of one study: nothing lost, nothing doubled, whoever dies."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
import pytest

from credit_like.config import ConfigError, UserError
from credit_like.hpo import Worker, best_trial, importances, open_study
from tests.hpo import searching
from tests.hpo.searching import settings, value

TRIALS = 12
#: One worker dies in its first trial from the third on; the other waits for that before it takes the sixth.
DIES, WAITS = 2, -5


def search(folder: Path, trials: int, dies_at: int = -1, storage: str = "") -> subprocess.Popen[str]:
    command = [sys.executable, searching.__file__, str(folder), str(trials), str(dies_at), storage]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def ended(folder: Path, storage: str = "") -> list[optuna.trial.FrozenTrial]:
    return open_study("made", folder, settings(TRIALS), "min", {"what": "a parabola"}, storage).get_trials()


def test_a_killed_workers_trial_is_taken_up_by_the_other(tmp_path: Path) -> None:
    processes = [search(tmp_path, TRIALS, WAITS), search(tmp_path, TRIALS, DIES)]
    said = [process.communicate(timeout=120)[0] for process in processes]
    codes = [process.returncode for process in processes]
    assert codes == [0, -9], said

    trials = ended(tmp_path)
    assert [trial.number for trial in trials] == list(range(TRIALS))
    assert {trial.state.name for trial in trials} == {"COMPLETE"}
    attempts = Counter(len((tmp_path / f"progress_{n}").read_text().split()) for n in range(TRIALS))
    assert attempts == {1: TRIALS - 1, 2: 1}
    assert "gone on with" in said[0]


def test_workers_never_draw_the_same(tmp_path: Path) -> None:
    for process in [search(tmp_path, TRIALS), search(tmp_path, TRIALS)]:
        assert process.wait(timeout=120) == 0
    assert len({trial.params["x"] for trial in ended(tmp_path)}) == TRIALS


def run_here(folder: Path, objective: Any, trials: int = 5, **others: Any) -> optuna.Study:
    chosen = settings(trials, **others)
    study = open_study("here", folder, chosen, "min", {})
    Worker(study, folder, chosen, objective, say=lambda line: None).run()
    return study


def test_every_kind_of_value_reaches_the_trial(tmp_path: Path) -> None:
    seen: list[Mapping[str, Any]] = []

    def objective(trial: Any, values: Mapping[str, Any], begun: bool) -> float:
        seen.append(dict(values))
        return value(values)

    study = run_here(tmp_path, objective, trials=12)
    assert {type(v["x"]) for v in seen} == {float}
    assert {type(v["n"]) for v in seen} == {int}
    assert all(v["kind"] in ("a", [1, 2], None) for v in seen)
    best = best_trial(study)
    assert best is not None
    assert best.value == min(value(v) for v in seen)
    assert set(importances(study)) == {"x", "n", "kind"}


def test_it_goes_on_to_a_larger_number_and_no_further(tmp_path: Path) -> None:
    for trials in (2, 5, 5, 3):
        study = run_here(tmp_path, lambda trial, values, begun: value(values), trials=trials)
    assert len(study.trials) == 5


def test_a_failed_trial_is_kept_with_its_reason_and_the_study_goes_on(tmp_path: Path) -> None:
    def objective(trial: Any, values: Mapping[str, Any], begun: bool) -> float:
        if trial.number == 1:
            raise RuntimeError("no memory")
        return value(values)

    study = run_here(tmp_path, objective)
    states = [trial.state.name for trial in study.trials]
    assert states == ["COMPLETE", "FAIL", "COMPLETE", "COMPLETE", "COMPLETE"]
    assert study.trials[1].user_attrs["reason"] == "no memory"
    assert "RuntimeError: no memory" in (tmp_path / "failures" / "trial_1.txt").read_text()


def test_a_study_whose_trials_all_fail_stops(tmp_path: Path) -> None:
    def objective(trial: Any, values: Mapping[str, Any], begun: bool) -> float:
        raise UserError("the disk is full")

    with pytest.raises(UserError, match="all of the first 3 trials failed, the last with: the disk is full"):
        run_here(tmp_path, objective)


def test_pruned_trials_are_told_as_pruned(tmp_path: Path) -> None:
    def objective(trial: Any, values: Mapping[str, Any], begun: bool) -> float:
        for step in range(5):
            trial.report(trial.number, step)
            if trial.should_prune():
                raise optuna.TrialPruned("hopeless")
        return float(trial.number)

    study = run_here(tmp_path, objective, trials=6, pruner_options={"n_startup_trials": 2})
    assert [trial.state.name for trial in study.trials] == ["COMPLETE"] * 2 + ["PRUNED"] * 4


def test_an_interrupted_trial_is_gone_on_with_and_is_no_mishap(tmp_path: Path) -> None:
    begun_before: list[bool] = []

    def objective(trial: Any, values: Mapping[str, Any], begun: bool) -> float:
        begun_before.append(begun)
        if len(begun_before) <= 3:
            raise KeyboardInterrupt
        return value(values)

    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            run_here(tmp_path, objective, trials=1, retries=0)
    study = run_here(tmp_path, objective, trials=1, retries=0)
    assert begun_before == [False, True, True, True]
    assert [trial.state.name for trial in study.trials] == ["COMPLETE"]


def test_a_trial_that_kills_each_worker_is_given_up(tmp_path: Path) -> None:
    for _ in range(4):  # the first time, and three retries
        process = search(tmp_path, 1, dies_at=0)
        assert process.wait(timeout=60) == -9
    process = search(tmp_path, 1)
    assert process.communicate(timeout=60)[0].strip() == "trial 1 failed: its worker was killed 4 times"
    assert [trial.state.name for trial in ended(tmp_path)] == ["FAIL"]


def test_two_spaces_under_one_name_are_refused(tmp_path: Path) -> None:
    open_study("one", tmp_path, settings(3), "min", {"trainer.epochs": 3, "space.lr": [0, 1]})
    open_study("one", tmp_path, settings(9), "min", {"trainer.epochs": 3, "space.lr": [0, 1]})
    with pytest.raises(ConfigError) as refused:
        open_study("one", tmp_path, settings(3), "max", {"trainer.epochs": 4, "space.lr": [0, 1]})
    assert str(refused.value) == (
        "the study 'one' was begun with other settings:\n"
        "  direction: begun with 'minimize', now 'maximize'\n"
        "  trainer.epochs: begun with 3, now 4\n"
        "Trials of both would not be comparable: name another --study, or go on with the settings it was begun with"
    )


@pytest.mark.parametrize(
    ("storage", "message"),
    [
        ("postgres://me:secret@localhost/x", r"--storage postgres://me:\*\*\*@localhost/x is no database URL"),
        ("file.log", "--storage 'file.log' is no database URL; it begins with one of sqlite://, postgresql://"),
        ("postgresql+nodriver://localhost/x", "cannot be reached|driver is not installed"),
        ("sqlite:////nowhere/at/all.db", "--storage sqlite:////nowhere/at/all.db cannot be reached: .*unable to open"),
    ],
)
def test_a_storage_that_does_not_work(storage: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message) as refused:
        open_study("one", tmp_path / "new", settings(3), "min", {}, storage)
    assert not list(tmp_path.iterdir())  # no folder of a study that never was
    assert "secret" not in str(refused.value)


def test_a_database_serves_as_well(tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path / 'study.db'}"
    processes = [search(tmp_path, TRIALS, WAITS, storage), search(tmp_path, TRIALS, DIES, storage)]
    assert [process.wait(timeout=120) for process in processes] == [0, -9]
    assert {trial.state.name for trial in ended(tmp_path, storage)} == {"COMPLETE"}
