"""credit-like tune CONF --study NAME [--trials N] [--workers W] [--storage URL] [key=value ...]: search settings."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from applications import _arguments
from applications._cli import EXIT_STOPPED, run
from applications._data import certify, fit_inputs, learning_windows, load_data
from applications._fit import fit, fit_fusion
from applications._fusion import is_fusion, load_fusion_data, open_experts
from applications._job import Job, job_schema, load_job
from applications._registry import JobTrainer, learns_from_benign
from applications._run import write_text
from applications._study import finish, study_summary
from applications._summary import data_summary
from applications._workers import run_workers
from credit_like.config import ConfigError, UserError, dump_config, flat, read_config
from credit_like.hpo import Worker, check_space, open_study, overrides_of
from credit_like.hpo.study import LOCKS
from credit_like.training import BaseTrainer
from credit_like.training.device import choose_device
from credit_like.training.trial import trial_folder

if TYPE_CHECKING:
    import optuna

#: What trains one trial: (its job, the trial, whether it was begun before).
Learn = Callable[[Job, "optuna.Trial", bool], BaseTrainer]

#: Settings under which the trials of one study remain comparable, whatever they are; by how they begin.
FREE = ("save_loc", "hpo.", "evaluation.", "data.store", "loader.eval_batch_size", "trainer.device")


def main(argv: list[str]) -> int | None:
    options, source, overrides = _arguments.tune(argv)
    if options.trials is not None:
        overrides = [*overrides, f"hpo.trials={options.trials}"]
    if Path(options.study).name != options.study or options.study in ("", ".", ".."):
        raise ConfigError(f"--study is a name and not a path; got {options.study!r}. save_loc says where its folder is")
    job, cls = load_job(source, overrides, options.trainer)
    check_search(job, source, overrides, cls)
    folder = job.save_loc.parent / options.study
    require_study_folder(folder)
    study = open_study(
        options.study, folder, job.hpo, job.trainer.training_metric_direction, comparable(job), options.storage
    )
    choose_device(job.trainer.device)
    learn = learner(job, cls)
    if options.workers > 1:
        stopped = run_workers(argv, options.workers, folder, study, job.hpo.trials)
    else:
        stopped = False

        def objective(trial: optuna.Trial, values: Mapping[str, Any], begun: bool) -> float:
            given = [*overrides, *overrides_of(values), f"save_loc={str(folder)!r}"]
            tried, _ = load_job(source, given, options.trainer)
            own = trial_folder(folder, trial.number)
            own.mkdir(parents=True, exist_ok=True)
            write_text(own / "config.yml", dump_config(tried))
            return value_of(learn(tried, trial, begun))

        Worker(study, folder, job.hpo, objective).run()
    finish(
        study,
        folder,
        job,
        lambda changes: load_job(source, [*overrides, *changes], options.trainer)[0],
        options.storage,
    )
    print(study_summary(study, folder, job))
    return EXIT_STOPPED if stopped else None


def check_search(job: Job, source: str, overrides: list[str], cls: type[JobTrainer]) -> None:
    """Raises ConfigError where the search makes no sense; one message, before anything is read or written."""
    if not job.hpo.space:
        raise ConfigError(
            f"{source} has no hpo.space: say which settings to search, for example\n"
            "  hpo:\n    space:\n      optimizer.lr: {type: float, low: 1e-4, high: 1e-2, log: true}"
        )
    metric = job.trainer.training_metric or "valid_loss"
    if not metric.startswith("valid_") or job.trainer.skip_validation:
        raise ConfigError(
            f"a search needs a metric of the validation windows; trainer.training_metric is {metric!r}"
            + ", and trainer.skip_validation is set" * job.trainer.skip_validation
            + ". A setting chosen by test windows would make every figure of them worthless; name valid_auroc, say"
        )
    losses = [name for name in job.hpo.space if name.startswith(("trainer.loss", "trainer.focal", "trainer.teacher"))]
    if losses and metric == "valid_loss":
        raise ConfigError(
            f"hpo.space varies {', '.join(losses)}, which changes what valid_loss means: the trials would not be "
            "comparable. Compare them by trainer.training_metric=valid_auroc trainer.training_metric_direction=max"
        )
    check_space(job.hpo.space, read_config(source, overrides), job_schema(cls))


def require_study_folder(folder: Path) -> None:
    """Raises UserError when ``folder`` holds something, and that is no study."""
    if folder.is_dir() and any(folder.iterdir()) and not (folder / LOCKS).is_dir():
        raise UserError(f"{folder} holds files that are no study; choose another --study, or another save_loc")


def comparable(job: Job) -> dict[str, Any]:
    """What all trials of a study share, by dotted name; their space among it."""
    flattened = flat(job.model_dump(mode="json"))
    facts = {name: value for name, value in flattened.items() if not name.startswith(FREE)}
    facts = {name: value for name, value in facts.items() if name not in job.hpo.space}
    return facts | {f"hpo.space.{name}": p.model_dump(mode="json") for name, p in job.hpo.space.items()}


def learner(job: Job, cls: type[JobTrainer]) -> Learn:
    """What trains a trial; the data is read here, once. Raises UserError for data that cannot be used."""
    if is_fusion(cls):
        fused, _ = load_fusion_data(job, open_experts(job), None)
        return lambda tried, trial, begun: fit_fusion(tried, cls, fused, resume=begun, trial=trial)
    data = load_data(job.data)
    print(data_summary(data))
    learning_windows(data, benign_only=learns_from_benign(cls))
    inputs: dict[str, Any] = {}

    def learn(tried: Job, trial: optuna.Trial, begun: bool) -> BaseTrainer:
        key = tried.data.scaler.model_dump_json()
        if key not in inputs:
            vocabulary, scaler = fit_inputs(data, tried.data)
            inputs[key] = vocabulary, scaler, certify(data, vocabulary, scaler)
        return fit(tried, cls, data, *inputs[key], resume=begun, trial=trial)

    return learn


def value_of(trainer: BaseTrainer) -> float:
    """The best value of the training metric over the epochs. Raises UserError where none was finite."""
    if trainer.patience.best_epoch < 0:
        raise UserError(f"no epoch had a finite {trainer.training_metric}")
    return trainer.patience.best_value


if __name__ == "__main__":
    sys.exit(run(main))
