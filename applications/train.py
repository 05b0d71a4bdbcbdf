"""credit-like train CONF [key=value ...] [--resume] [--trainer module:Class]: logs -> a detector and its report."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

from applications._cli import add_conf, parse_conf, parser, run
from applications._data import Data, certify, fit_inputs, load_data, require_both_classes
from applications._fit import fit
from applications._job import Job, load_job
from applications._registry import JobTrainer
from applications._run import (
    CONFIG,
    FACTS,
    environment,
    nothing_left_behind,
    require_free,
    require_same_data,
    require_same_job,
    to_json,
    write_run,
    write_text,
)
from applications._summary import data_summary
from applications.evaluate import add_controls, evaluate_run
from credit_like.training import BaseTrainer, Stopped
from credit_like.training.device import choose_device


def main(argv: list[str]) -> None:
    made = parser(
        "train",
        "Train a detector and judge it on held-out traffic. The run folder, save_loc, gets config.yml,\n"
        "training_log.csv, checkpoints, tensorboard, certificate.json, scores.parquet, metrics.json and report.html.",
    )
    add_conf(made)
    made.add_argument("--resume", action="store_true", help="go on with the run in save_loc")
    made.add_argument(
        "--trainer", metavar="module:Class", help="a BaseTrainer subclass of yours; its module is imported"
    )
    made.add_argument("--no-evaluate", action="store_true", help="train only; `credit-like evaluate RUN` does the rest")
    add_controls(made)
    options, source, overrides = parse_conf(made, argv)
    job, cls = load_job(source, overrides, options.trainer)
    flags = [f"--trainer {options.trainer}"] * bool(options.trainer) + ["--no-evaluate"] * options.no_evaluate
    flags += ["--controls all"] * (options.controls == "all")
    data = train(job, cls, resume=options.resume, flags=flags)
    if not options.no_evaluate:
        evaluate_run(job.save_loc, data, trainer=options.trainer, controls=options.controls)


def train(job: Job, cls: type[JobTrainer], *, resume: bool = False, flags: Sequence[str] = ()) -> Data:
    """Run the job up to its last epoch; returns the data, so that an evaluation need not read it again.

    ``flags`` are those of the command line that the advice on how to go on must repeat.

    Raises UserError when the run folder is taken, when a resume does not fit it, or when the data cannot be used;
    KeyboardInterrupt or Stopped, with how to go on, when it is stopped.
    """
    choose_device(job.trainer.device)  # a GPU that is not there is known before the logs are read
    if resume:
        require_same_job(job)
    else:
        require_free(job.save_loc)
    with nothing_left_behind(job.save_loc):
        data = load_data(job.data)
        print(data_summary(data))
        require_both_classes(data)
        vocabulary, scaler = fit_inputs(data, job.data)
        certificate = certify(data, vocabulary, scaler)
        if resume:
            require_same_data(job, certificate)
    write_run(job, certificate)

    started = time.perf_counter()
    try:
        trainer = fit(job, cls, data, vocabulary, scaler, resume=resume)
    except (KeyboardInterrupt, Stopped) as stop:
        command = " ".join(["credit-like train", str(job.save_loc / CONFIG), "--resume", *flags])
        raise type(stop)(f"go on with `{command}`") from stop
    seconds = time.perf_counter() - started
    write_text(
        job.save_loc / FACTS, to_json({"environment": environment(), "throughput": throughput(trainer, seconds)})
    )
    return data


def throughput(trainer: BaseTrainer, seconds: float) -> dict[str, str]:
    """How long this call of ``fit`` took, validation and checkpoints included."""
    return {
        "device": str(trainer.device),
        "training time of the last call": f"{seconds:.1f} s",
        "windows trained on, all calls": f"{trainer.step_state.samples_seen:,.0f}",
    }


if __name__ == "__main__":
    sys.exit(run(main))
