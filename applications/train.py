"""credit-like train CONF [key=value ...] [--resume] [--trainer module:Class]: logs -> a detector and its report."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext

from applications import _arguments
from applications._cli import run
from applications._data import Data, certify, fit_inputs, learning_windows, load_data
from applications._fit import fit, fit_fusion
from applications._fusion import (
    EXPERTS,
    FusionData,
    expert_facts,
    is_fusion,
    load_fusion_data,
    open_experts,
    require_same_experts,
)
from applications._job import Job, load_job
from applications._registry import JobTrainer, learns_from_benign
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
from applications._teaching import open_lessons
from applications.evaluate import evaluate_run
from credit_like.config import ConfigError, flat
from credit_like.evaluation.report.words import count
from credit_like.training import BaseTrainer, Stopped
from credit_like.training.device import choose_device, environment_rank
from credit_like.training.distribution import Processes, join, leave
from credit_like.training.rendezvous import remember, remembered


def main(argv: list[str]) -> None:
    options, source, overrides = _arguments.train(argv)
    job, cls = load_job(source, overrides, options.trainer)
    flags = [f"--trainer {options.trainer}"] * bool(options.trainer) + ["--no-evaluate"] * options.no_evaluate
    flags += ["--controls all"] * (options.controls == "all")
    if job.trainer.mode != "none" and options.controls == "all" and not options.no_evaluate:
        raise ConfigError("--controls all trains alone: say --no-evaluate here, and then `credit-like evaluate RUN`")
    data = train(job, cls, resume=options.resume, flags=flags)
    leave()  # the other processes, if there are any: one is enough to judge
    if not options.no_evaluate and environment_rank() == 0:
        evaluate_run(job.save_loc, data, trainer=options.trainer, controls=options.controls)


def train(
    job: Job, cls: type[JobTrainer], *, resume: bool = False, flags: Sequence[str] = (), data: Data | None = None
) -> Data:
    """Run the job up to its last epoch; returns the data, so that an evaluation need not read it again.

    ``data`` saves reading the logs, where they were read for another run. ``flags`` are those of the command line that
    the advice on how to go on must repeat.

    Raises UserError when the run folder is taken, when a resume does not fit it, or when the data cannot be used;
    KeyboardInterrupt or Stopped, with how to go on, when it is stopped.
    """
    if job.trainer.mode != "none" and (is_fusion(cls) or learns_from_benign(cls)):
        raise ConfigError(
            f"trainer.mode is {job.trainer.mode}, but {cls.__name__} looks at all its windows at once and learns in "
            "one process; set trainer.mode: none"
        )
    if is_fusion(cls):
        return train_fusion(job, cls, resume=resume, flags=flags, data=data)
    device = choose_device(job.trainer.device)  # a GPU that is not there is known before the logs are read
    processes = join(job.trainer.mode, environment_rank(), device, job.trainer.process_timeout_s)
    with processes.failing_together():
        return _train(job, cls, processes, resume=resume, flags=flags, data=data)


def _train(
    job: Job, cls: type[JobTrainer], processes: Processes, *, resume: bool, flags: Sequence[str], data: Data | None
) -> Data:
    """``train`` in each of the processes; rank 0 alone writes."""
    processes.require_equal(flat(job.model_dump(mode="json")), "the configuration")
    resume = processes.main_does(lambda: _claimed(job, resume))
    with nothing_left_behind(job.save_loc) if processes.rank == 0 else nullcontext():
        if data is None:
            data = _load_in_turn(job, processes)
            print(data_summary(data))
        learning_windows(data, benign_only=learns_from_benign(cls))  # refused before anything is written
        vocabulary, scaler = fit_inputs(data, job.data)
        certificate = certify(data, vocabulary, scaler)
        open_lessons(job, certificate)
        if resume:
            processes.main_does(lambda: require_same_data(job, certificate))
    processes.main_does(lambda: write_run(job, certificate))

    with _timed(job, flags) as done:
        done(fit(job, cls, data, vocabulary, scaler, certificate, resume=resume, together=True))
    return data


def _claimed(job: Job, resume: bool) -> bool:
    """Whether the run goes on, once its folder may be used: as asked, or because torchrun began it and then started the
    processes again. One that was asked to stop stays so."""
    if remembered(f"stopped/{job.save_loc}"):
        raise Stopped(f"the run at {job.save_loc} was stopped, and torchrun's restart does not go on with it")
    resume |= remembered(f"begun/{job.save_loc}") and (job.save_loc / CONFIG).is_file()
    if resume:
        require_same_job(job)
    else:
        require_free(job.save_loc)
    remember(f"begun/{job.save_loc}")
    return resume


def _load_in_turn(job: Job, processes: Processes) -> Data:
    """Rank 0 builds the graph store, and the others open what it has built."""
    data = load_data(job.data) if processes.rank == 0 else None
    processes.gathered(None)
    return data if data is not None else load_data(job.data)


def train_fusion(
    job: Job, cls: type[JobTrainer], *, resume: bool = False, flags: Sequence[str] = (), data: Data | None = None
) -> FusionData:
    """Run a job whose trainer learns from two other runs: as ``train``, with what the experts say of each window.

    Raises UserError for experts that cannot be fused, besides what ``train`` raises.
    """
    choose_device(job.trainer.device)
    if resume:
        require_same_job(job)
    else:
        require_free(job.save_loc)
    with nothing_left_behind(job.save_loc):
        experts = open_experts(job)
        fused, certificate = load_fusion_data(job, experts, data)
        if data is None:
            print(data_summary(fused))
        if resume:
            require_same_data(job, certificate)
            require_same_experts(job.save_loc, experts)
    write_run(job, certificate)
    write_text(job.save_loc / EXPERTS, to_json(expert_facts(experts, fused.table)))

    with _timed(job, flags) as done:
        done(fit_fusion(job, cls, fused, resume=resume))
    return fused


@contextmanager
def _timed(job: Job, flags: Sequence[str]) -> Iterator[Callable[[BaseTrainer], None]]:
    """Training happens inside, and tells the trainer that has done it; how long it took is written down then.

    A stop says how to go on.
    """
    started = time.perf_counter()

    def done(trainer: BaseTrainer) -> None:
        if trainer.rank:
            return
        facts = {"environment": environment(), "throughput": throughput(trainer, time.perf_counter() - started)}
        write_text(job.save_loc / FACTS, to_json(facts))

    try:
        yield done
    except (KeyboardInterrupt, Stopped) as stop:
        remember(f"stopped/{job.save_loc}")
        command = " ".join(["credit-like train", str(job.save_loc / CONFIG), "--resume", *flags])
        raise type(stop)(f"go on with `{command}`") from stop


def throughput(trainer: BaseTrainer, seconds: float) -> dict[str, str]:
    """How long this call of ``fit`` took, validation and checkpoints included."""
    return {
        "device": str(trainer.device),
        "training time of the last call": f"{seconds:.1f} s",
        "windows trained on, all calls": count(trainer.step_state.samples_seen),
    }


if __name__ == "__main__":
    sys.exit(run(main))
