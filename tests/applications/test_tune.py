"""`credit-like tune`: from a configuration with a search space to the best one, which trains to the same value."""

from __future__ import annotations

import csv
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest

from applications.__main__ import main
from credit_like.config import read_config
from credit_like.hpo.study import JOURNAL

SPACE = (
    "hpo.space={optimizer.lr: {type: float, low: 1e-3, high: 3e-2, log: true}, "
    "trainer.grad_max_norm: {type: categorical, choices: [0.5, 1.0]}}"
)
#: No pruning, unless a test says so.
QUIET = ("hpo.pruner=NopPruner", "hpo.pruner_options={}", SPACE)


@pytest.fixture
def search(job: list[str], tmp_path: Path) -> Callable[..., list[str]]:
    def arguments(*more: str) -> list[str]:
        return ["tune", *job, *QUIET, f"save_loc={tmp_path / 'gat'}", "--study", "mine", *more]

    return arguments


def trials_of(folder: Path) -> list[optuna.trial.FrozenTrial]:
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(folder / JOURNAL)))
    return optuna.load_study(study_name="mine", storage=storage).get_trials()


def best_in_log(log: Path, metric: str = "valid_loss") -> float:
    with log.open() as file:
        return min(float(row[metric]) for row in csv.DictReader(file))


def test_the_best_configuration_run_alone_gives_the_same_value(
    search: Callable[..., list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(search("--trials", "3")) == 0
    said = capsys.readouterr().out
    folder = tmp_path / "mine"
    trials = trials_of(folder)
    assert [trial.state.name for trial in trials] == ["COMPLETE"] * 3
    assert [len(trial.intermediate_values) for trial in trials] == [2] * 3
    for trial in trials:
        assert trial.value == best_in_log(folder / "trial_results" / f"training_log_{trial.number}.csv")
        own = read_config(folder / "trial_results" / f"trial_{trial.number}" / "config.yml")
        assert own.get("optimizer", "lr") == trial.params["optimizer.lr"]

    best = min(trials, key=lambda trial: trial.value or 0.0)
    assert f"best: trial {best.number + 1}, valid_loss {best.value:.6g}" in said
    assert main(["train", str(folder / "best.yml"), "--no-evaluate"]) == 0
    assert best_in_log(folder / "best" / "training_log.csv") == pytest.approx(best.value, rel=1e-6)


def test_the_page_holds_every_trial_and_cannot_be_injected(search: Callable[..., list[str]], tmp_path: Path) -> None:
    assert main([*search("--trials", "2")[:-3], "<b>x", "--trials", "2"]) == 0
    page = (tmp_path / "<b>x" / "study.html").read_text()
    assert "<b>x" not in page
    assert page.count("completed trial") >= 2
    assert re.search(r"Trial [12] is the best: valid_loss", page)
    for heading in ("History", "What mattered", "Trials", "How it was searched"):
        assert f">{heading}</h2>" in page
    assert "http://" not in page.replace("http://www.w3.org", "")


def test_a_second_call_goes_on_and_a_third_has_nothing_to_do(
    search: Callable[..., list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for trials, expected in (("1", 1), ("2", 2), ("2", 2)):
        assert main(search("--trials", trials)) == 0
        assert len(trials_of(tmp_path / "mine")) == expected
    capsys.readouterr()


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert main(arguments) == 2
    return capsys.readouterr().err


def test_what_makes_no_search(
    search: Callable[..., list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "conf/gat.yml has no hpo.space: say which" in refused(search("hpo.space={}"), capsys).replace(
        "gat has", "conf/gat.yml has"
    )
    said = refused(search("trainer.training_metric=test_auroc"), capsys)
    assert "a search needs a metric of the validation windows; trainer.training_metric is 'test_auroc'" in said
    said = refused(search("hpo.space={trainer.loss: {type: categorical, choices: [focal, weighted]}}"), capsys)
    assert "varies trainer.loss, which changes what valid_loss means" in said
    said = refused(search("hpo.space={optimizer.lrr: {type: float, low: 1e-3, high: 1e-2}}"), capsys)
    assert "optimizer.lrr: unknown key (did you mean 'lr'?)" in said
    said = refused(search("hpo.space={optimizer.lr: {type: float, low: -1, high: 1e-2}}"), capsys)
    assert "optimizer.lr: expected a value greater than 0, received -1" in said
    said = refused(search("--workers", "0"), capsys)
    assert "--workers: expected an integer, at least 1; got '0'" in said
    said = refused([*search()[:-1], "a/b"], capsys)
    assert "--study is a name and not a path; got 'a/b'" in said
    assert not (tmp_path / "mine").exists()


def test_another_space_under_the_same_name_is_refused(
    search: Callable[..., list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(search("--trials", "1")) == 0
    capsys.readouterr()
    said = refused(search("hpo.space={optimizer.lr: {type: float, low: 1e-3, high: 5e-2}}", "--trials", "1"), capsys)
    assert "the study 'mine' was begun with other settings:" in said
    assert "hpo.space.optimizer.lr: begun with" in said
    said = refused(search("trainer.epochs=3"), capsys)
    assert "trainer.epochs: begun with 2, now 3" in said


def test_a_folder_that_is_no_study_is_left_alone(
    search: Callable[..., list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years of work")
    assert main(search()) == 1
    assert "holds files that are no study; choose another --study" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.tex"]


def test_a_shipped_space_fits_its_schema() -> None:
    from applications._job import job_schema, load_job
    from credit_like.hpo import SearchSettings, check_space

    for name in ("gat", "gat_student", "dgi_ocgin", "rl_fusion"):
        more = ["experts.gat=a", "experts.anomaly=b"] if name == "rl_fusion" else []
        job, cls = load_job(name, more)
        assert isinstance(job.hpo, SearchSettings)
        check_space(job.hpo.space, read_config(name, more), job_schema(cls))


#: A worker that dies in the third epoch of the fourth trial that it sees, once.
DEADLY = """
import os, signal, sys
from pathlib import Path
import applications.tune as tune

mark, train = Path(sys.argv.pop(1)), tune.fit
def fit(job, cls, *rest, trial, **others):
    report = trial.report
    def dying(value, step):
        report(value, step)
        if trial.number >= 3 and step == 1:
            try:
                mark.touch(exist_ok=False)
            except FileExistsError:
                return
            os.kill(os.getpid(), signal.SIGKILL)
    trial.report = dying
    return train(job, cls, *rest, trial=trial, **others)
tune.fit = fit
from applications._cli import run
sys.exit(run(tune.main, sys.argv[1:]))
"""


@pytest.mark.slow
def test_two_workers_one_killed_end_all_trials_once(search: Callable[..., list[str]], tmp_path: Path) -> None:
    script = tmp_path / "deadly.py"
    script.write_text(DEADLY)
    more = ("--trials", "20", "trainer.epochs=4", "hpo.pruner=MedianPruner", "hpo.pruner_options={n_startup_trials: 4}")
    command = [sys.executable, str(script), str(tmp_path / "died"), *search(*more)[1:]]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.getcwd()}
    workers = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for _ in range(2)
    ]
    said = [worker.communicate(timeout=1200)[0] for worker in workers]
    assert sorted(worker.returncode for worker in workers) == [-9, 0], said

    trials = trials_of(tmp_path / "mine")
    states = [trial.state.name for trial in trials]
    assert [trial.number for trial in trials] == list(range(20))
    assert set(states) <= {"COMPLETE", "PRUNED"}, said
    assert states.count("PRUNED") >= 1
    assert [trial.user_attrs["attempts"] for trial in trials].count(2) == 1
    for trial in trials:
        log = tmp_path / "mine" / "trial_results" / f"training_log_{trial.number}.csv"
        assert len(log.read_text().splitlines()) == 1 + len(trial.intermediate_values)

    best = min((t for t in trials if t.state.name == "COMPLETE"), key=lambda trial: trial.value or 0.0)
    assert main(["train", str(tmp_path / "mine" / "best.yml"), "--no-evaluate"]) == 0
    assert best_in_log(tmp_path / "mine" / "best" / "training_log.csv") == pytest.approx(best.value, rel=1e-5)


@pytest.mark.slow
def test_ctrl_c_stops_all_workers_and_the_same_command_goes_on(
    search: Callable[..., list[str]], tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "applications.tune", *search("--trials", "60", "--workers", "2")[1:]]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    results = tmp_path / "mine" / "trial_results"
    while process.poll() is None and not list(results.glob("training_log_*.csv")):
        signal.sigtimedwait([], 0.2)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=300)[0]
    assert process.returncode == 75, said
    assert "stopped; the same command goes on with the study in" in said
    assert not subprocess.run(["pgrep", "-f", str(tmp_path)], capture_output=True, text=True).stdout
    begun = trials_of(tmp_path / "mine")
    assert 0 < len(begun) < 60

    assert main(search("--trials", str(len(begun)))) == 0
    assert {trial.state.name for trial in trials_of(tmp_path / "mine")} == {"COMPLETE"}
